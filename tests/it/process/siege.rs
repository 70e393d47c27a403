//! The admin API and its enemies: clients without a token, clients whose token permits less, and web pages
//! whose own name resolves to the API.

use crate::harness::http::Request;
use crate::harness::origin::{self, Exchange};
use crate::harness::shim::Shim;
use crate::harness::site::Site;
use crate::harness::{HOST, PATIENCE, eventually};
use serde_json::json;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Instant;

const OTHER: &str = "b.example.test";
/// A token for the site `a` only.
const TENANT: &str = "tenant-of-site-a-0123456789";

/// A shim with the default site `a` and the site `b` at one Varnish, and the purges which that received.
fn start() -> (Shim, Arc<Mutex<Vec<String>>>) {
    let purged: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = purged.clone();
    let node = origin::serve(move |mut exchange: Exchange| {
        let (tags, host) =
            (exchange.asked.header("xkey-purge").to_owned(), exchange.asked.header("host").to_owned());
        if !tags.starts_with("origin-shim-check") {
            seen.lock()
                .unwrap()
                .push(format!("{host}{} {tags}", exchange.asked.line.split(' ').nth(1).unwrap()));
        }
        exchange.answer(200, &[("x-purged".to_owned(), "1".to_owned())], "");
    });
    let site = |name: &str, host: &str| {
        let site = Site::named(name).origin("127.0.0.1:9");
        let cdn = format!(
            "type = \"varnish\"\nhosts = [\"{host}\"]\nrepeat_after = \"0s\"\napi_urls = [\"http://{node}\"]"
        );
        site.cdn(&cdn)
    };
    let shim = Shim::start(format!(
        "{}{}[[admin.tokens]]\nname = \"tenant\"\ntoken = \"literal:{TENANT}\"\n\
         scopes = [\"read\", \"purge\", \"purge-everything\", \"operate\"]\nsites = [\"a\"]\n",
        site("a", HOST).host("*.example.test").default_site(),
        site("b", OTHER).host(OTHER),
    ));
    (shim, purged)
}

/// Makes a call with a token. Returns the status and the body.
fn call(admin: SocketAddr, token: &str, site: &str, body: &str) -> (u16, String) {
    let (target, bearer) = (format!("/v1/sites/{site}/purges"), format!("Bearer {token}"));
    let request = Request { body: body.as_bytes(), ..Request::get(&target).method("POST") };
    let answer = request.headers(&[("authorization", &bearer)]).send(admin);
    (answer.status, answer.text().to_owned())
}

/// Sends these bytes and reads until the connection ends.
fn raw(admin: SocketAddr, bytes: &str) -> String {
    let mut stream = TcpStream::connect(admin).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_purge_reaches_no_other_site() {
    let (shim, purged) = start();
    for (body, why) in [
        (json!({"urls": [format!("https://{OTHER}/x")]}), "not a host of this site"),
        (json!({"urls": [format!("https://{}.:8443/x", OTHER.to_uppercase())]}), "not a host of this site"),
        (json!({"tags": ["site-b"]}), "another site"),
        (json!({"tags": ["x", "Site-B"]}), "another site"),
        (json!({"tags": ["p-93a6bb37059158e85e11be62f969f2a0"]}), "`paths`"),
        (json!({"tags": ["d-93a6bb37059158e85e11be62f969f2a0"]}), "`prefixes`"),
    ] {
        for token in [TENANT, crate::harness::shim::TOKEN] {
            let (status, text) = call(shim.admin, token, "a", &body.to_string());
            assert!(status == 422 && text.contains(why), "{body}: {status} {text}");
        }
    }
    let (status, _) = call(shim.admin, TENANT, "b", r#"{"everything": true}"#);
    assert_eq!(status, 403);

    let own = json!({"urls": ["https://www.example.test/x"], "tags": ["site-c", "p-42"]});
    assert_eq!(call(shim.admin, TENANT, "a", &own.to_string()).0, 202);
    assert_eq!(
        call(
            shim.admin,
            crate::harness::shim::TOKEN,
            "b",
            &json!({"urls": [format!("https://{OTHER}/y")]}).to_string()
        )
        .0,
        202
    );
    let all = eventually("what may be purged is", || {
        let purged = purged.lock().unwrap().clone();
        let has = |part: &str| purged.iter().any(|one| one.contains(part));
        (has("www.example.test/x") && has("site-c") && has(&format!("{OTHER}/y"))).then_some(purged)
    });
    assert!(!all.iter().any(|one| one.contains(&format!("{OTHER}/x")) || one.contains("site-b")), "{all:?}");
}

#[test]
fn a_name_that_leads_here_reads_nothing() {
    let (shim, _) = start();
    let get = |target: &str, host: &str| {
        raw(shim.admin, &format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
    };
    for target in ["/metrics", "/readyz", "/healthz", "/", "/v1/sites"] {
        let answer = get(target, "rebound.attacker.test");
        assert!(answer.starts_with("HTTP/1.1 421 ") && answer.contains("`admin.hosts`"), "{answer}");
        assert!(!answer.contains("origin_shim_"), "{answer}");
    }
    // A Kubernetes probe, a scrape by address, and an operator's tunnel.
    for host in ["10.1.2.3:9180", "[fd00::1]:9180", "localhost:9180", HOST] {
        assert!(get("/metrics", host).starts_with("HTTP/1.1 200 "), "{host}");
    }
    shim.edit(
        &format!("hosts = [\"{HOST}\"]\n\n[[admin.tokens]]"),
        &format!("hosts = [\"{HOST}\", \"rebound.attacker.test\"]\n\n[[admin.tokens]]"),
    );
    shim.hang_up();
    eventually("the name counts", || {
        get("/metrics", "rebound.attacker.test").starts_with("HTTP/1.1 200 ").then_some(())
    });
}

#[test]
fn what_the_proxy_refuses_the_admin_api_refuses() {
    let (shim, _) = start();
    let bearer = format!("Authorization: Bearer {TENANT}\r\n");
    let purge = r#"{"tags": ["smuggled"]}"#;
    for (lines, status) in [
        (format!("Host: localhost\r\nHost: localhost\r\n{bearer}Content-Length: {}\r\n", purge.len()), 400),
        (format!("Host: localhost\n{bearer}Content-Length: {}\r\n", purge.len()), 400),
        (format!("{bearer}Content-Length: {}\r\n", purge.len()), 400),
        (
            format!(
                "Host: localhost\r\n{bearer}Content-Length: {}\r\nTransfer-Encoding: chunked\r\n",
                purge.len()
            ),
            400,
        ),
        (
            format!(
                "Host: localhost\r\n{bearer}Content-Length: {0}\r\nContent-Length: 1{0}\r\n",
                purge.len()
            ),
            400,
        ),
        (format!("Host: localhost\r\n{bearer}Content-Length : {}\r\n", purge.len()), 400),
        (format!("Host: localhost\r\n{bearer}X: 1\r\n folded\r\nContent-Length: {}\r\n", purge.len()), 400),
        (format!("Host: localhost\r\n{bearer}Transfer-Encoding: gzip, chunked\r\n"), 501),
    ] {
        let head = format!("POST /v1/sites/a/purges HTTP/1.1\r\nConnection: close\r\n{lines}\r\n");
        for address in [shim.admin, shim.address] {
            let answer = raw(address, &format!("{head}{purge}"));
            // A lone LF ends a line for the proxy, as RFC 9112 §2.2 allows. There is no origin here.
            let lenient = address == shim.address && lines.contains("localhost\n");
            let status = if lenient { 502 } else { status };
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{lines}: {answer}");
        }
    }
    let purges = Request::get("/v1/purges")
        .headers(&[("authorization", &format!("Bearer {TENANT}"))])
        .send(shim.admin);
    assert_eq!(purges.json()["purges"], json!([]));
}

/// Sends as much of a body of 8 MiB as the shim accepts, and at most half.
fn half_sent(admin: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(admin).unwrap();
    let length = 8 << 20;
    let head = format!(
        "POST /v1/sites/a/purges HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TENANT}\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.set_nonblocking(true).unwrap();
    let (part, mut left) = ([b' '; 64 << 10], length / 2);
    while left > 0 {
        match stream.write(&part) {
            Ok(written) => left -= written.min(left),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            // The shim may already have closed the connection to make room.
            Err(_) => break,
        }
    }
    stream
}

/// `cargo test --test it -- siege --nocapture` prints the times.
#[test]
fn a_purge_gets_through_a_siege() {
    let ((shim, _), (at_peace, _)) = (start(), start());
    let idle: Vec<_> = (0..1_000).map(|_| TcpStream::connect(shim.admin).unwrap()).collect();
    let half_sent: Vec<_> = (0..100).map(|_| half_sent(shim.admin)).collect();
    let streams: Vec<_> = (0..100)
        .map(|_| {
            let bearer = format!("Bearer {TENANT}");
            Request::get("/v1/events").headers(&[("authorization", &bearer)]).open(shim.admin).unwrap()
        })
        .collect();
    let listening = streams.iter().filter(|stream| stream.head.status == 200).count();
    assert_eq!(listening, 8, "one token has its share of the streams and no more");
    assert!(streams.iter().all(|stream| matches!(stream.head.status, 200 | 429)));

    let large =
        json!({"tags": (0..10_000).map(|tag| format!("a-tag-of-some-length-{tag}")).collect::<Vec<_>>()});
    let small = json!({"tags": ["t"]});
    let began = Instant::now();
    assert_eq!(call(at_peace.admin, crate::harness::shim::TOKEN, "a", &large.to_string()).0, 202);
    println!("a large purge at peace: {:?}", began.elapsed());
    for (what, token, body) in [
        ("a purge", crate::harness::shim::TOKEN, small.to_string()),
        ("a large purge", crate::harness::shim::TOKEN, large.to_string()),
        ("a purge with the besiegers' token", TENANT, small.to_string()),
    ] {
        let began = Instant::now();
        let (status, text) = call(shim.admin, token, "a", &body);
        println!("{what} of {} bytes: {status} after {:?}", body.len(), began.elapsed());
        assert_eq!(status, 202, "{what}: {text}");
    }
    let probe = Request::get("/healthz").send(shim.admin);
    assert_eq!(probe.status, 200);
    let (now, most) = shim.memory();
    println!("memory: {} MiB, at most {} MiB", now >> 20, most >> 20);
    // Half of all bodies would be 400 MiB.
    assert!(most < 300 << 20, "{} MiB", most >> 20);
    drop((idle, half_sent, streams));
}
