use super::*;
use proptest::prelude::*;
use std::future::Future;
use std::pin::pin;
use std::task::Waker;
use tokio::io::AsyncReadExt;

/// A stream that yields these pieces and then ends.
struct Pieces(VecDeque<Vec<u8>>);

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(piece) = self.0.pop_front() {
            let (now, later) = piece.split_at(piece.len().min(buffer.remaining()));
            buffer.put_slice(now);
            if !later.is_empty() {
                self.0.push_front(later.to_vec());
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Returns what is passed on of `bytes`, which come in pieces of this size, and the verdicts as hosts or statuses.
fn judged(bytes: &[u8], size: usize) -> (io::Result<Vec<u8>>, Vec<Result<String, u16>>) {
    let verdicts = Verdicts::default();
    let pieces = bytes.chunks(size.max(1)).map(<[u8]>::to_vec).collect();
    let mut stream = Strict::new(Pieces(pieces), verdicts.clone());
    let mut passed = Vec::new();
    let read = {
        let mut reading = pin!(stream.read_to_end(&mut passed));
        match reading.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(read) => read,
            Poll::Pending => panic!("it never waits"),
        }
    };
    let status = |verdict: Verdict| verdict.map_err(|why| why.answer().status.as_u16());
    let verdicts = std::iter::from_fn(|| verdicts.next()).map(status).collect();
    (read.map(|_| passed), verdicts)
}

#[track_caller]
fn refused(request: &str, status: u16) {
    for size in [1, 7, usize::MAX] {
        let (passed, verdicts) = judged(request.as_bytes(), size);
        assert_eq!(verdicts, [Err(status)], "{request:?}");
        assert_eq!(passed.unwrap(), NOTHING, "{request:?}");
    }
}

#[test]
fn what_is_in_order_goes_on_byte_by_byte() {
    let requests = [
        "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "POST /x?y HTTP/1.1\r\nhost: [::1]:9180\r\ncontent-length: 5\r\n\r\nabc\n\n",
        "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\n\r\n\n\r\n0\r\nt: 1\r\n\r\n",
        "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n",
    ];
    let all = requests.concat();
    let hosts = ["a.test", "[::1]:9180", "a.test", "a.test", "a.test"].map(|host| Ok(host.to_owned()));
    for size in [1, 2, 3, 10, usize::MAX] {
        let (passed, verdicts) = judged(all.as_bytes(), size);
        assert_eq!(String::from_utf8(passed.unwrap()).unwrap(), all);
        assert_eq!(verdicts, hosts, "{size}");
    }
    // An empty line between two requests is accepted.
    let (passed, verdicts) = judged(format!("\r\n{0}\r\n{0}", requests[0]).as_bytes(), 1);
    assert_eq!((passed.unwrap(), verdicts.len()), (requests[0].repeat(2).into_bytes(), 2));
}

#[test]
fn what_two_could_read_differently_is_refused() {
    let with = |lines: &str| format!("POST / HTTP/1.1\r\nHost: a.test\r\n{lines}\r\n");
    refused(&with("Host: a.test\r\n"), 400);
    refused(&with("host: b.test\r\n"), 400);
    refused("GET / HTTP/1.1\r\n\r\n", 400);
    refused("GET / HTTP/1.0\r\n\r\n", 400);
    refused("GET http://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 400);
    for lone in [
        "GET / HTTP/1.1\nHost: a.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\n\n",
        "GET / HTTP/1.1\nHost: a.test\n\n",
        "\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ] {
        refused(lone, 400);
    }
    refused(&with("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), 400);
    refused(&with("Content-Length: 1\r\nContent-Length: 2\r\n"), 400);
    refused(&with("Content-Length: +1\r\n"), 400);
    refused(&with("Transfer-Encoding: chunked, gzip\r\n"), 400);
    refused(&with("Transfer-Encoding: gzip, chunked\r\n"), 501);
    refused(&with("Expect: magic\r\n"), 417);
    refused(&with("X : 1\r\n"), 400);
    refused(&with("X: 1\r\n folded\r\n"), 400);
    refused(&with("X: a\0b\r\n"), 400);
    refused(&with("X: a\rb\r\n"), 400);
    refused(&with(&"X: 1\r\n".repeat(64)), 431);
    refused(&with(&format!("X: {}\r\n", "x".repeat(33_000))), 431);
    refused(&format!("GET /{} HTTP/1.1\r\nHost: a.test\r\n\r\n", "x".repeat(9_000)), 414);
    refused("GET /#x HTTP/1.1\r\nHost: a.test\r\n\r\n", 400);
    refused("TRACE / HTTP/1.1\r\nHost: a.test\r\n\r\n", 405);
    refused("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n", 405);
    refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400);
    refused("\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03", 400);
}

#[test]
fn a_refusal_comes_after_what_was_in_order_and_ends_it() {
    let good = "POST / HTTP/1.1\r\nHost: a.test\r\ncontent-length: 2\r\n\r\nok";
    let bad = "GET / HTTP/1.1\r\nHost: a.test\nX: 1\r\n\r\n";
    let (passed, verdicts) = judged(format!("{good}{bad}{good}").as_bytes(), 5);
    assert_eq!(passed.unwrap(), [good.as_bytes(), NOTHING].concat());
    assert_eq!(verdicts, [Ok("a.test".to_owned()), Err(400)]);
}

#[test]
fn a_body_whose_end_cannot_be_told_breaks_off() {
    let request = "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n";
    let (passed, verdicts) = judged(request.as_bytes(), usize::MAX);
    assert!(passed.is_err());
    assert_eq!(verdicts, [Ok("a.test".to_owned())]);
}

proptest! {
    /// The bytes that are passed on and the verdicts do not depend on the pieces in which the input comes.
    #[test]
    fn pieces_make_no_difference(
        parts in prop::collection::vec(prop::sample::select(&[
            "GET / HTTP/1.1\r\n", "POST / HTTP/1.1\r\n", "Host: a\r\n", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n",
            "\r\n", "\n", "\r", "abc", "3\r\nabc\r\n", "0\r\n\r\n", "X: ", "x",
        ][..]), 0..12),
        size in 1..20usize,
    ) {
        let bytes = parts.concat();
        let (whole, verdicts) = judged(bytes.as_bytes(), usize::MAX);
        let (pieces, others) = judged(bytes.as_bytes(), size);
        prop_assert_eq!(verdicts, others);
        prop_assert_eq!(whole.ok(), pieces.ok());
    }
}

/// Half an empty line ahead of a request made the two readers see different heads.
#[test]
fn what_precedes_a_request_moves_no_end() {
    let head = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for begin in ["\r\r\n\r\n", "\n", "\r\n\n", "\r\n\r\r\n", "\r\r\n"] {
        refused(&format!("{begin}{head}"), 400);
        refused(&format!("{begin}{}", head.replacen("\r\nHost", "\nHost", 1)), 400);
    }
    let (passed, verdicts) = judged(format!("\r\n\r\n{head}").as_bytes(), 3);
    assert_eq!((passed.unwrap(), verdicts), (head.as_bytes().to_vec(), vec![Ok("localhost".to_owned())]));
}

proptest! {
    /// A reader of what is passed on finds the same requests for the same hosts. hyper parses heads with
    /// `httparse`.
    #[test]
    fn both_readers_see_the_same_requests(
        parts in prop::collection::vec(prop::sample::select(vec![
            "\r", "\n", "\r\n", "\r\n\r\n", "GET / HTTP/1.1\r\n", "POST /x HTTP/1.1\r\n", "Host: a.test\r\n", "Host: b.test\r\n",
            "content-length: 9\r\n", "content-length: 0\r\n", "x: y\r\n", "x: y", "yyyyyyyyy", "GET /m HTTP/1.1\r\nHost: c.test\r\n\r\n",
        ]), 0..14),
        size in 1..40_usize,
    ) {
        let (passed, verdicts) = judged(parts.concat().as_bytes(), size);
        let passed = passed.unwrap();
        let mut rest = &passed[..];
        for verdict in verdicts {
            let mut fields = [httparse::EMPTY_HEADER; 64];
            let mut request = httparse::Request::new(&mut fields);
            let Ok(host) = verdict else {
                prop_assert_eq!(rest, NOTHING);
                return Ok(());
            };
            let httparse::Status::Complete(length) = request.parse(rest).unwrap() else {
                panic!("half a head went on: {:?}", String::from_utf8_lossy(rest));
            };
            let said = |name: &str| {
                let lines = request.headers.iter().filter(|line| line.name.eq_ignore_ascii_case(name));
                lines.map(|line| std::str::from_utf8(line.value).unwrap()).collect::<Vec<_>>()
            };
            prop_assert_eq!(said("host"), [host.as_str()]);
            let body: usize = said("content-length").first().map_or(0, |length| length.parse().unwrap());
            rest = &rest[(length + body).min(rest.len())..];
        }
        prop_assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(rest));
    }
}
