//! Request targets without a path, with a fragment or with a default port, and how far a request may be forwarded
//! (`Max-Forwards`). The rules are the same in both versions of HTTP.

use crate::harness::h2;
use crate::harness::recorder::{Recorder, recorded};
use crate::harness::wire::{get, header, status};

/// Returns the request line that the origin gets, or the status that the client gets instead.
fn http1(line: &str, host: &str) -> Result<String, u16> {
    let (origin, shim) = recorded();
    let (head, _) = shim.request(&format!("{line} HTTP/1.1\r\nhost: {host}\r\n\r\n"));
    first_line(&origin).ok_or_else(|| status(&head))
}

fn first_line(origin: &Recorder) -> Option<String> {
    let bytes = origin.bytes();
    bytes.lines().next().map(|line| line.trim_end_matches(" HTTP/1.1").to_owned())
}

/// Does the same in HTTP/2. An error of 1 is a reset for a malformed request (PROTOCOL_ERROR).
fn http2(method: &str, scheme: &str, path: &str, authority: &str, host: Option<&str>) -> Result<String, u16> {
    let (origin, shim) = recorded();
    let mut client = h2::Client::connect(shim.address());
    let mut headers = h2::request(method, path, authority);
    headers[1].1 = scheme.to_owned();
    headers.extend(host.map(|host| ("host", host.to_owned())));
    client.request(1, &headers, true);
    let answer = client.next_of(1, |frame| matches!(frame.kind, h2::HEADERS | h2::RST_STREAM)).unwrap();
    let answered = match answer.kind {
        h2::RST_STREAM => u16::from(answer.payload[3]),
        _ => h2::status_of(&answer.payload),
    };
    // The connection stays open in any case.
    client.request(3, &h2::request("GET", "/after", "www.example.com"), true);
    assert_eq!(client.status(3), 200);
    first_line(&origin).filter(|line| line != "GET /after").ok_or(answered)
}

const WWW: &str = "www.example.com";

#[test]
fn r61_targets_without_a_path() {
    let reached =
        |line: &str, expected: &str| assert_eq!(http1(line, WWW), Ok(expected.to_owned()), "{line}");
    reached("GET http://www.example.com?x=1", "GET /?x=1");
    reached("GET http://www.example.com", "GET /");
    reached("GET HTTP://www.example.com:80?", "GET /?");
    reached("POST https://www.example.com?x=/y", "POST /?x=/y");
    // RFC 9112 §3.2.4: no other proxy is behind us.
    reached("OPTIONS http://www.example.com", "OPTIONS *");
    reached("OPTIONS http://www.example.com/", "OPTIONS /");
    reached("OPTIONS http://www.example.com?x", "OPTIONS /?x");
    for refused in ["GET ?x=1", "OPTIONS *?x", "GET http://", "GET http://?x=1"] {
        assert_eq!(http1(refused, WWW), Err(400), "{refused}");
    }
}

#[test]
fn r62_paths_that_are_none_in_http2() {
    let path = |method: &str, path: &str| http2(method, "http", path, WWW, None);
    for refused in ["?x=1", "*"] {
        assert_eq!(path("GET", refused), Err(400), "{refused}");
    }
    // The library itself refuses these as malformed.
    for refused in ["", "a", "*?x", "www.example.com:80"] {
        assert_eq!(path("GET", refused), Err(1), "{refused}");
    }
    assert_eq!(path("OPTIONS", "*?x"), Err(1));
    assert_eq!(path("OPTIONS", "*"), Ok("OPTIONS *".to_owned()));
    assert_eq!(path("OPTIONS", "/"), Ok("OPTIONS /".to_owned()));
}

/// The library would drop the fragment. The origin would then get a different path than the one that all earlier hops
/// have checked.
#[test]
fn r63_fragments() {
    for path in ["/private#.jpg", "/#", "/a?b#c", "#", "/a##", "*#"] {
        assert_eq!(http2("GET", "http", path, WWW, None), Err(1), "{path}");
        assert_eq!(http1(&format!("GET {path}"), WWW), Err(400), "{path}");
        assert_eq!(http1(&format!("GET http://www.example.com{path}"), WWW), Err(400), "{path}");
    }
    assert_eq!(http2("GET", "http", "/a%23b", WWW, None), Ok("GET /a%23b".to_owned()));
}

/// A path in the client's dynamic table is refused each time it is referenced, also in a block of several frames.
#[test]
fn r63_fragments_in_the_table() {
    let (origin, shim) = recorded();
    let mut client = h2::Client::connect(shim.address());
    let end = h2::END_HEADERS;
    // The block has GET, http and the path (RFC 7541 §6.2.1 and §6.1).
    let kept = |path: &[u8]| [&[0x82, 0x86, 0x44, path.len() as u8][..], path].concat();
    let authority = [&[0x01, WWW.len() as u8][..], WWW.as_bytes()].concat();
    let first = kept(b"/private#.jpg");
    client.send(h2::frame(h2::HEADERS, h2::END_STREAM, 1, &first[..9]));
    client.send(h2::frame(h2::CONTINUATION, 0, 1, b""));
    client.send(h2::frame(h2::CONTINUATION, end, 1, &[&first[9..], &authority].concat()));
    assert_eq!(client.reset(1), 1);
    let again = [&[0x82, 0x86, 0xbe][..], &authority].concat();
    client.send(h2::frame(h2::HEADERS, h2::END_STREAM | end, 3, &again));
    assert_eq!(client.reset(3), 1);
    client.send(h2::frame(h2::HEADERS, h2::END_STREAM | end, 5, &[kept(b"/b"), authority].concat()));
    assert_eq!(client.status(5), 200);
    assert_eq!(first_line(&origin).as_deref(), Some("GET /b"));
}

#[test]
fn r64_a_default_port_is_no_difference() {
    let get = |target: &str, host: &str| http1(&format!("GET {target}"), host).map(|_| ());
    for (target, host) in [
        ("http://www.example.com:80/", WWW),
        ("http://www.example.com/", "www.example.com:80"),
        ("http://WWW.example.com:/", "www.example.com:80"),
        ("https://www.example.com:443/", WWW),
        ("https://www.example.com/", "www.example.com:443"),
        ("/", "www.example.com:80"),
        ("/", "www.example.com:443"),
    ] {
        assert_eq!(get(target, host), Ok(()), "{target} {host}");
    }
    for (target, host) in [
        ("http://www.example.com:443/", WWW),
        ("https://www.example.com:80/", WWW),
        ("http://www.example.com:8080/", WWW),
        ("http://www.example.com/", "www.example.com:443"),
    ] {
        assert_eq!(get(target, host), Err(400), "{target} {host}");
    }
    let get = |scheme, authority, host| http2("GET", scheme, "/", authority, host).map(|_| ());
    assert_eq!(get("http", "www.example.com:80", None), Ok(()));
    assert_eq!(get("http", "www.example.com:80", Some(WWW)), Ok(()));
    assert_eq!(get("https", WWW, Some("www.example.com:443")), Ok(()));
    assert_eq!(get("http", WWW, Some("www.example.com:443")), Err(400));
}

#[test]
fn r65_how_far_options_and_trace_go() {
    for target in ["*", "/", "http://www.example.com"] {
        let (origin, shim) = recorded();
        let mut client = shim.connect();
        let asked =
            format!("OPTIONS {target} HTTP/1.1\r\nhost: {WWW}\r\nmax-forwards: 0\r\ncookie: a=1\r\n\r\n");
        let (head, body) = client.request(&asked);
        assert_eq!((status(&head), body.as_str()), (200, ""), "{head}");
        assert!(header(&head, "allow").is_some_and(|allow| allow.contains("OPTIONS")), "{head}");
        assert!(!head.contains("a=1"), "{head}");
        assert_eq!(origin.connections(), 0);
        assert_eq!(client.request(&get("/after")).1, "ok");
    }
    let left = |method: &str, hops: &str| {
        let (origin, shim) = recorded();
        let asked = format!("{method} / HTTP/1.1\r\nhost: {WWW}\r\nmax-forwards: {hops}\r\n\r\n");
        let (head, _) = shim.request(&asked);
        header(&origin.bytes(), "max-forwards").map(str::to_owned).ok_or_else(|| status(&head))
    };
    assert_eq!(left("OPTIONS", "3"), Ok("2".to_owned()));
    assert_eq!(left("OPTIONS", "1"), Ok("0".to_owned()));
    assert_eq!(left("OPTIONS", "-1"), Err(400));
    assert_eq!(left("OPTIONS", "x"), Err(400));
    // For other methods the field has no meaning (RFC 9110 §7.6.2), and TRACE is never forwarded.
    assert_eq!(left("GET", "0"), Ok("0".to_owned()));
    assert_eq!(left("TRACE", "0"), Err(405));
    assert_eq!(left("TRACE", "5"), Err(405));
    let (head, body) = recorded()
        .1
        .request(&format!("TRACE / HTTP/1.1\r\nhost: {WWW}\r\nmax-forwards: 0\r\ncookie: secret\r\n\r\n"));
    assert!(!head.contains("secret") && !body.contains("secret"), "{head}{body}");
    let (origin, shim) = recorded();
    let mut client = h2::Client::connect(shim.address());
    let mut headers = h2::request("OPTIONS", "*", WWW);
    headers.push(("max-forwards", "0".to_owned()));
    client.request(1, &headers, true);
    assert_eq!((client.status(1), origin.connections()), (200, 0));
}
