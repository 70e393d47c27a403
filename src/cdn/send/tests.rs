use super::*;
use crate::cdn::tests::{adapters, batch, sign};
use crate::cdn::varnish::Varnish;
use crate::cdn::{Adapter, ItemKind};
use proptest::prelude::*;
use std::error::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A CDN on a free port of this machine that gives one answer, and the request that it received.
struct Fake {
    address: String,
    received: tokio::task::JoinHandle<String>,
}

impl Fake {
    async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let received = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a caller");
            let mut received = Vec::new();
            // Every body of these tests ends in `}`.
            while !(received.ends_with(b"\r\n\r\n") || received.ends_with(b"}")) {
                assert!(stream.read_buf(&mut received).await.expect("a request") > 0, "a whole request");
            }
            // The client may stop reading.
            let _ = stream.write_all(&answer).await;
            String::from_utf8(received).expect("text")
        });
        Self { address, received }
    }

    fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.address)
    }
}

fn request(method: &str, url: &str) -> http::request::Builder {
    Request::builder().method(method).uri(url)
}

fn sender() -> Sender {
    Sender::new().expect("a sender")
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\nx-purged: 1\r\n\r\nPurged";

/// The lines of a received request; those after the request line are sorted, because the client may send them
/// in any order.
fn lines(received: &str) -> Vec<String> {
    let mut lines: Vec<String> = received.split("\r\n").map(str::to_owned).collect();
    lines[1..].sort();
    lines
}

#[tokio::test]
async fn a_varnish_node_is_told_the_host_of_the_page() {
    let fake = Fake::answering(OK).await;
    let varnish = Varnish::new(&[fake.url("")]);
    let page = batch(ItemKind::Url, false, &["https://www.example.com/blog/first?x=1"]);
    let call = varnish.requests(&page, &sign()).expect("a call").swap_remove(0);
    let reply = sender().send(call).await.expect("an answer");
    assert_eq!((reply.status.as_u16(), &reply.body[..]), (200, &b"Purged"[..]));
    assert_eq!(reply.headers["x-purged"], "1");
    let received = fake.received.await.expect("a request");
    let agent = format!("user-agent: origin-shim/{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(
        lines(&received),
        [
            "PURGE /blog/first?x=1 HTTP/1.1",
            "",
            "",
            "accept: */*",
            "host: www.example.com",
            &agent,
            "x-purge-mode: soft"
        ]
    );
}

#[tokio::test]
async fn bodies_and_their_lengths() {
    let fake = Fake::answering(OK).await;
    let call = request("POST", &fake.url("/p")).header("content-type", "application/json");
    sender()
        .send(call.body(Bytes::from_static(b"{\"tags\":[]}")).expect("a request"))
        .await
        .expect("an answer");
    let received = fake.received.await.expect("a request");
    assert!(
        received.contains("content-length: 11\r\n") && received.ends_with("\r\n\r\n{\"tags\":[]}"),
        "{received}"
    );
    assert!(!received.contains("accept-encoding"), "{received}");

    let fake = Fake::answering(OK).await;
    sender()
        .send(request("POST", &fake.url("/p")).body(Bytes::new()).expect("a request"))
        .await
        .expect("an answer");
    let received = fake.received.await.expect("a request");
    assert_eq!(received.matches("content-length: 0\r\n").count(), 1, "{received}");

    let fake = Fake::answering(OK).await;
    sender()
        .send(request("BAN", &fake.url("/")).body(Bytes::new()).expect("a request"))
        .await
        .expect("an answer");
    assert!(fake.received.await.expect("a request").starts_with("BAN / HTTP/1.1\r\n"));
}

#[tokio::test]
async fn the_rest_of_a_long_answer_is_not_read() {
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n{}", "x".repeat(BODY_LIMIT + 1));
    let fake = Fake::answering(answer).await;
    let call = request("GET", &fake.url("/")).body(Bytes::new()).expect("a request");
    let reply = sender().send(call).await.expect("an answer");
    assert_eq!(reply.body.len(), BODY_LIMIT);
}

#[tokio::test]
async fn redirects_are_answers() {
    let fake =
        Fake::answering("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n")
            .await;
    let call = request("GET", &fake.url("/")).body(Bytes::new()).expect("a request");
    assert_eq!(sender().send(call).await.expect("an answer").status, 302);
}

#[tokio::test]
async fn failures_show_no_secret() {
    let cut_off = Fake::answering("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort").await;
    let nonsense = Fake::answering("nonsense\r\n\r\n").await;
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        listener.local_addr().expect("an address").to_string()
    };
    for (address, expected) in [
        (&cut_off.address, "the connection to {} broke"),
        (&nonsense.address, "the connection to {} broke"),
        (&closed, "no connection to {}"),
    ] {
        let call = request("POST", &format!("http://{address}/canary?canary=canary"))
            .header("fastly-key", "canary")
            .body(Bytes::from_static(b"{canary}"))
            .expect("a request");
        let error = sender().send(call).await.expect_err("no answer");
        assert_eq!(error.to_string(), expected.replace("{}", address));
        let mut shown = format!("{error:?}");
        let mut source = error.source();
        while let Some(cause) = source {
            shown += &cause.to_string();
            source = cause.source();
        }
        assert!(!shown.contains("canary"), "{shown}");
    }
}

#[tokio::test]
async fn a_url_is_sent_as_it_is_written_or_not_at_all() {
    for target in ["/a/../b", "/%2e%2E/b", "/a?q='", "/a\"b"] {
        let call =
            request("GET", &format!("http://127.0.0.1:1{target}")).body(Bytes::new()).expect("a request");
        let error = sender().send(call).await.expect_err("not sent");
        assert!(matches!(error, SendError::Url), "{target}: {error:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_client_changes_no_call_of_an_adapter(value in "https?://[a-z]{1,9}(:[0-9]{2,4})?/\\PC{0,60}") {
        for adapter in adapters("secret") {
            let Ok(calls) = adapter.requests(&batch(ItemKind::Url, true, &[&value]), &sign()) else { continue };
            for call in calls {
                prop_assert!(into_reqwest(call).is_ok(), "{:?} {}", adapter, value);
            }
        }
    }
}

#[test]
fn what_is_on_this_machine() {
    let check = |url: &str, expected: bool| {
        assert_eq!(is_loopback(&reqwest::Url::parse(url).expect("a URL")), expected, "{url}");
    };
    for url in [
        "http://127.0.0.1:6081/",
        "http://127.9.9.9/",
        "http://[::1]:80/",
        "http://localhost/",
        "http://a.localhost/",
    ] {
        check(url, true);
    }
    for url in
        ["https://api.fastly.com/", "http://10.0.0.2/", "http://localhost.example/", "http://[2001:db8::1]/"]
    {
        check(url, false);
    }
}
