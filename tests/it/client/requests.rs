//! Requests whose framing, host, target or size is invalid.

use crate::harness::h2;
use crate::harness::in_process::{Shim, cdn, config, site};
use crate::harness::recorder::{Recorder, all_answers, forwarded, recorded, refused, refused_kindly, sorted};
use crate::harness::wire::{get, get_with, header, status};

fn post(headers: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nhost: www.example.com\r\n{headers}\r\n{body}")
}

/// RFC 9112 §6.3 would let us drop the length and close the connection afterwards. However, a client that sends both
/// fields is probably an attacker.
#[test]
fn r01_length_and_chunks() {
    let smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: www.example.com\r\n\r\n";
    for headers in [
        "content-length: 4\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 0\r\n",
    ] {
        refused(post(headers, smuggled), 400);
    }
}

#[test]
fn r02_lengths_that_differ_or_are_no_number() {
    for headers in [
        "content-length: 1\r\ncontent-length: 2\r\n",
        "content-length: +1\r\n",
        "content-length: -1\r\n",
        "content-length: 1, 2\r\n",
        "content-length: 1, 1\r\n",
        "content-length: 0x1\r\n",
        "content-length: \r\n",
        "content-length: 1 1\r\n",
        "content-length: 99999999999999999999\r\n",
    ] {
        refused(post(headers, "x"), 400);
    }
    // Equal lines are merged into one.
    let (origin, shim) = recorded();
    assert_eq!(shim.request(&post("content-length: 1\r\ncontent-length: 1\r\n", "x")).1, "ok");
    let bytes = origin.bytes();
    assert_eq!(bytes.matches("content-length: 1\r\n").count(), 1, "{bytes}");
    assert!(bytes.ends_with("\r\n\r\nx"), "{bytes}");
}

#[test]
fn r03_transfer_codings_other_than_chunked() {
    for headers in [
        "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding: chunked, chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n",
    ] {
        refused(post(headers, "0\r\n\r\n"), 501);
    }
    // The last coding is not chunked, so the end of this body is unknown.
    for headers in [
        "transfer-encoding: chunked, gzip\r\n",
        "transfer-encoding: gzip\r\n",
        "transfer-encoding: identity\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding: chunked;x\r\n",
        "transfer-encoding: \x0bchunked\r\n",
    ] {
        refused(post(headers, "0\r\n\r\n"), 400);
    }
}

#[test]
fn r04_what_no_parser_should_accept() {
    refused("POST / HTTP/1.0\r\nhost: www.example.com\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400);
    refused(get_with("/", "x: 1\r\n folded\r\n"), 400);
    refused(get_with("/", "x: a\0b\r\n"), 400);
    refused(get_with("/", "x: a\rb\r\n"), 400);
    refused(get_with("/", "transfer-encoding : chunked\r\n"), 400);
    refused(get_with("/", " x: 1\r\n"), 400);
    refused(get_with("/", "x\r\n"), 400);
    refused(get_with("/", ": 1\r\n"), 400);
    refused(get_with("/", "x[]: 1\r\n"), 400);
    refused("GET / HTTP/1.1 \r\nhost: www.example.com\r\n\r\n", 400);
    refused("GET /a b HTTP/1.1\r\nhost: www.example.com\r\n\r\n", 400);
    refused("GET / HTTP/1.2\r\nhost: www.example.com\r\n\r\n", 400);
    refused("GET / http/1.1\r\nhost: www.example.com\r\n\r\n", 400);
    refused("G(T / HTTP/1.1\r\nhost: www.example.com\r\n\r\n", 400);
    refused(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400);
}

#[test]
fn r05_bare_line_feeds_are_written_anew() {
    let (origin, shim) = recorded();
    let (head, _) = shim.request("GET /a HTTP/1.1\nhost: www.example.com\nx-a: 1\n\n");
    assert_eq!(status(&head), 200);
    assert_eq!(sorted(&origin.bytes()), sorted(&forwarded("GET /a", "x-a: 1\r\n", "")));
    assert_eq!(origin.bytes().matches('\n').count(), origin.bytes().matches("\r\n").count());
}

/// The origin never receives the end of such a body, and its connection is not used again.
#[test]
fn r06_broken_chunks() {
    for chunks in [
        "0x1\r\na\r\n0\r\n\r\n",
        "+1\r\na\r\n0\r\n\r\n",
        "-1\r\na\r\n0\r\n\r\n",
        "\r\na\r\n0\r\n\r\n",
        "1 1\r\na\r\n0\r\n\r\n",
        "g\r\na\r\n0\r\n\r\n",
        "10000000000000000\r\na\r\n0\r\n\r\n",
        "1\na\r\n0\r\n\r\n",
        "1\r\nab\r\n0\r\n\r\n",
        "1\r\na\n0\r\n\r\n",
        "1\r\na\rx0\r\n\r\n",
    ] {
        let (origin, shim) = recorded();
        // The first chunk is valid, so that the request is in progress when the broken one arrives.
        let request =
            post("transfer-encoding: chunked\r\n", &format!("2\r\nok\r\n{chunks}{}", get("/smuggled")));
        let answer = all_answers(&shim, request);
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{chunks:?}: {answer}");
        assert_eq!(status(&answer), 400, "{chunks:?}: {answer}");
        assert_eq!(shim.request(&get("/after")).1, "ok");
        let bytes = origin.bytes();
        assert!(!bytes.contains("0\r\n\r\n") && !bytes.contains("smuggled"), "{chunks:?}: {bytes}");
        assert!(origin.connections() <= 2 && bytes.contains("GET /after"), "{chunks:?}: {bytes}");
        assert!(!bytes.split("----\n").any(|one| one.contains("POST") && one.contains("/after")), "{bytes}");
    }
}

#[test]
fn r07_chunk_extensions_end_here_and_are_bounded() {
    let (origin, shim) = recorded();
    let request = post("transfer-encoding: chunked\r\n", "2;a=b;c=\"d\"\r\nok\r\n0;e\r\n\r\n");
    assert_eq!(shim.request(&request).1, "ok");
    assert!(origin.bytes().ends_with("\r\n\r\n2\r\nok\r\n0\r\n\r\n"), "{}", origin.bytes());

    let (origin, shim) = recorded();
    let many = format!("1;{}\r\na\r\n", "x".repeat(1000)).repeat(40);
    let answer = all_answers(&shim, post("transfer-encoding: chunked\r\n", &format!("{many}0\r\n\r\n")));
    assert_eq!(status(&answer), 400, "{answer}");
    assert!(!origin.bytes().contains("0\r\n\r\n"));
}

#[test]
fn r08_hosts() {
    refused("GET / HTTP/1.1\r\n\r\n", 400);
    refused("GET / HTTP/1.0\r\n\r\n", 400);
    let hosts = |lines: &str| format!("GET / HTTP/1.1\r\n{lines}\r\n");
    refused(hosts("host: www.example.com\r\nhost: www.example.com\r\n"), 400);
    refused(hosts("host: www.example.com\r\nhost: other.test\r\n"), 400);
    for host in [
        "",
        "www.example.com, other.test",
        "www.example.com/x",
        "www.example.com:80:80",
        "user@www.example.com",
        "www.example.com:99999",
        "www.example.com?",
        "www.example.com#",
        "[::1",
        "www..example.com",
        "www.example.com\x7f",
    ] {
        refused(hosts(&format!("host: {host}\r\n")), 400);
    }
    refused_kindly(&hosts("host: other.test\r\n"), 421);
    // Other spellings of the host of the site are served.
    for host in ["WWW.Example.COM", "www.example.com:8080", "www.example.com."] {
        let (origin, shim) = recorded();
        assert_eq!(shim.request(&hosts(&format!("host: {host}\r\n"))).1, "ok");
        assert!(origin.bytes().contains("\r\nhost: origin.test\r\n"), "{}", origin.bytes());
    }
}

#[test]
fn r09_the_host_of_the_target() {
    let (origin, shim) = recorded();
    let absolute = "GET http://www.example.com/a HTTP/1.1\r\nhost: www.example.com\r\n\r\n";
    assert_eq!(shim.request(absolute).1, "ok");
    assert_eq!(sorted(&origin.bytes()), sorted(&forwarded("GET /a", "", "")));
    refused("GET http://www.example.com/ HTTP/1.1\r\nhost: other.test\r\n\r\n", 400);
    refused("GET http://other.test/ HTTP/1.1\r\nhost: www.example.com\r\n\r\n", 400);
    refused("GET http://www.example.com/ HTTP/1.1\r\n\r\n", 400);
    // In HTTP/2, `:authority` and `host` may differ.
    for (authority, host, expected) in [
        ("www.example.com", None, 200),
        ("www.example.com", Some("www.example.com"), 200),
        ("www.example.com", Some("other.test"), 400),
        ("other.test", Some("www.example.com"), 400),
    ] {
        let (origin, shim) = recorded();
        let mut client = h2::Client::connect(shim.address());
        let mut headers = h2::request("GET", "/", authority);
        if let Some(host) = host {
            headers.push(("host", host.to_owned()));
        }
        client.request(1, &headers, true);
        assert_eq!(client.status(1), expected, "{authority} {host:?}");
        assert_eq!(origin.connections(), usize::from(expected == 200));
        assert!(!origin.bytes().contains("other.test"));
    }
}

#[test]
fn r10_the_request_never_chooses_the_origin() {
    for target in
        ["ftp://www.example.com/", "file:///etc/passwd", "gopher://www.example.com/", "javascript:alert(1)"]
    {
        refused(format!("GET {target} HTTP/1.1\r\nhost: www.example.com\r\n\r\n"), 400);
    }
    // A path that looks like an authority does not change the origin, and its bytes are forwarded unchanged.
    for target in ["//169.254.169.254/latest", "/http://169.254.169.254/", "/@other.test/"] {
        let (origin, shim) = recorded();
        assert_eq!(shim.request(&get(target)).1, "ok");
        assert!(origin.bytes().starts_with(&format!("GET {target} HTTP/1.1\r\n")), "{}", origin.bytes());
    }
    refused_kindly("GET http://169.254.169.254/latest HTTP/1.1\r\nhost: 169.254.169.254\r\n\r\n", 421);
}

#[test]
fn r11_connect_and_trace() {
    refused_kindly("TRACE / HTTP/1.1\r\nhost: www.example.com\r\n\r\n", 405);
    refused(
        "CONNECT www.example.com:443 HTTP/1.1\r\nhost: www.example.com:443\r\nconnection: close\r\n\r\n",
        405,
    );
    for method in ["TRACE", "CONNECT"] {
        let (origin, shim) = recorded();
        let mut client = h2::Client::connect(shim.address());
        let headers = match method {
            "CONNECT" => {
                vec![(":method", "CONNECT".to_owned()), (":authority", "www.example.com:443".to_owned())]
            }
            _ => h2::request(method, "/", "www.example.com"),
        };
        client.request(1, &headers, true);
        assert_eq!(client.status(1), 405);
        assert_eq!(origin.connections(), 0);
    }
}

#[test]
fn r12_options_for_the_whole_server() {
    let (origin, shim) = recorded();
    assert_eq!(shim.request("OPTIONS * HTTP/1.1\r\nhost: www.example.com\r\n\r\n").1, "ok");
    assert_eq!(sorted(&origin.bytes()), sorted(&forwarded("OPTIONS *", "", "")));
    refused("GET * HTTP/1.1\r\nhost: www.example.com\r\n\r\n", 400);
}

#[test]
fn r13_targets_that_are_no_path() {
    for target in ["a", "a/b", "www.example.com", "www.example.com:80", "?x", "*x"] {
        refused(format!("GET {target} HTTP/1.1\r\nhost: www.example.com\r\n\r\n"), 400);
    }
}

/// The origin gets the path as it was written. Rules and tags use its normalised form.
#[test]
fn r14_paths_pass_unchanged_and_are_judged_by_their_meaning() {
    use origin_shim::rewrite::pattern::PathPattern;
    use origin_shim::rewrite::{CdnType, Rule};
    let origin = Recorder::start();
    let mut www = site(&[origin.address]);
    www.cdns = vec![cdn(CdnType::Varnish)];
    www.policy.rules = vec![Rule {
        path: PathPattern::new("/account/**").unwrap(),
        edge_ttl: Some(std::time::Duration::ZERO),
        browser_ttl: None,
        allow_override: false,
        tags: vec![],
    }];
    let shim = Shim::start(&config(vec![www]));
    shim.health.cell("www", "varnish").set(true);
    let ask = |target: &str| {
        let (head, _) = shim.request(&get_with(target, "x-push-invalidation: enabled\r\n"));
        let of = |name| header(&head, name).unwrap_or_default().to_owned();
        (of("surrogate-control"), of("xkey"))
    };
    let plain = ask("/account/x");
    assert!(plain.0.contains("max-age=0") && !plain.1.is_empty(), "{plain:?}");
    assert_ne!(ask("/public/x"), plain);
    for other in [
        "/public/../account/x",
        "/public/%2e%2E/account/x",
        "//account//x",
        "/./account/./x",
        "/%61ccount/x",
        "/account/%78",
        "/account/y/../x",
    ] {
        assert_eq!(ask(other), plain, "{other}");
        assert!(origin.bytes().contains(&format!("GET {other} HTTP/1.1\r\n")), "{other}");
    }
}

#[test]
fn r19_heads_have_limits() {
    let lines = |n: usize| (0..n).map(|n| format!("x-{n}: 1\r\n")).collect::<String>();
    // `Host` is one of the 100 permitted lines.
    let (origin, shim) = recorded();
    assert_eq!(shim.request(&get_with("/", &lines(99))).1, "ok");
    assert_eq!(origin.bytes().matches("\r\nx-").count(), 99 + 4);
    refused(get_with("/", &lines(100)), 431);
    refused(get_with("/", &lines(5000)), 431);
    let filler = |n: usize| format!("x: {}\r\n", "x".repeat(n));
    let (_, shim) = recorded();
    assert_eq!(shim.request(&get_with("/", &filler(31 * 1024))).1, "ok");
    refused(get_with("/", &filler(33 * 1024)), 431);
    refused(get_with("/", &filler(500 * 1024)), 431);
    let target = |n: usize| get(&format!("/{}", "x".repeat(n - 1)));
    let (_, shim) = recorded();
    assert_eq!(shim.request(&target(8 * 1024)).1, "ok");
    refused(target(8 * 1024 + 1), 414);
    refused(get(&format!("/?{}", "x".repeat(8 * 1024))), 414);

    // The same limits hold in HTTP/2.
    for (extra, bytes, path, expected) in
        [(95, 1, 1, 200), (101, 1, 1, 431), (1, 40 * 1024, 1, 431), (1, 1, 8 * 1024 + 1, 414)]
    {
        let (origin, shim) = recorded();
        let mut client = h2::Client::connect(shim.address());
        let mut headers = h2::request("GET", &format!("/{}", "x".repeat(path - 1)), "www.example.com");
        headers.extend((0..extra).map(|_| ("x-a", "x".repeat(bytes))));
        client.request(1, &headers, true);
        assert_eq!(client.status(1), expected);
        assert_eq!(origin.connections(), usize::from(expected == 200));
    }
}

#[test]
fn r21_bodies_have_a_limit_where_one_is_set() {
    let origin = Recorder::start();
    let mut config = config(vec![site(&[origin.address])]);
    config.server.limits.request_body_bytes = 10;
    let shim = Shim::start(&config);
    assert_eq!(shim.request(&post("content-length: 10\r\n", "0123456789")).1, "ok");
    let chunks =
        |last: &str| post("transfer-encoding: chunked\r\n", &format!("8\r\n01234567\r\n{last}0\r\n\r\n"));
    assert_eq!(shim.request(&chunks("2\r\n89\r\n")).1, "ok");
    let before = origin.bytes();
    // If the declared length is too large, nothing reaches the origin.
    let answer = all_answers(&shim, post("content-length: 11\r\n", "0123456789a"));
    assert_eq!(status(&answer), 413, "{answer}");
    assert_eq!(header(&answer, "cache-control"), Some("no-store"));
    let told = post("content-length: 11\r\nexpect: 100-continue\r\n", "");
    assert_eq!(status(&all_answers(&shim, told)), 413);
    assert_eq!(origin.bytes(), before);
    // If a chunked body grows too large, the origin never receives its end, and the connection is not used again.
    let answer = all_answers(&shim, chunks("3\r\n89a\r\n"));
    assert_eq!(status(&answer), 413, "{answer}");
    let connections = origin.connections();
    assert_eq!(shim.request(&get("/")).1, "ok");
    assert_eq!(origin.connections(), connections + 1);
    let bytes = origin.bytes();
    assert!(!bytes.contains("89a"), "{bytes}");
    assert_eq!(bytes.matches("0\r\n\r\n").count(), 1, "{bytes}");
}

#[test]
fn r21_there_is_no_limit_by_default() {
    let (origin, shim) = recorded();
    let body = "x".repeat(3 << 20);
    assert_eq!(shim.request(&post(&format!("content-length: {}\r\n", body.len()), &body)).1, "ok");
    assert!(origin.bytes().ends_with(&body));
}

#[test]
fn r34_expectations() {
    let (origin, shim) = recorded();
    let mut client = shim.connect();
    client.send(post("expect: 100-continue\r\ncontent-length: 4\r\n", ""));
    assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(client.request("body").1, "ok");
    assert!(!origin.bytes().contains("expect") && origin.bytes().ends_with("body"), "{}", origin.bytes());
    refused(post("expect: 200-ok\r\ncontent-length: 4\r\n", "body"), 417);
    refused(post("expect: 100-continue, x\r\ncontent-length: 4\r\n", "body"), 417);
}
