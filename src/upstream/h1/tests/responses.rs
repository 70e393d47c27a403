//! Tests of each kind of response, with those of a hostile or sloppy origin. The row numbers are those of
//! `tests/it/hardening.rs`.

use super::script::{Origin, Pool, poll, read, ready, send};
use crate::upstream::{Cause, ExchangeError};
use http::Method;
use std::error::Error as _;
use std::task::Poll;

/// The origin's behaviour after its last byte.
#[derive(Clone, Copy)]
enum Then {
    /// The origin keeps the connection open and silent.
    Waits,
    Closes,
}
use Then::{Closes, Waits};

/// Returns the course of one exchange, in words: `200 "body" reused`, `200 "bo" broken: why`, `refused: why`.
fn course(method: &Method, response: &[u8], then: Then, read_limit: usize) -> String {
    let (connection, origin) = Origin::connect(read_limit);
    let pool = Pool::default();
    origin.say(response);
    if let Closes = then {
        origin.close();
    }
    let (head, mut body) = match poll(&mut send(connection, method, None, &pool)) {
        Poll::Ready(Ok(response)) => response,
        Poll::Ready(Err(error)) => {
            assert!(origin.is_closed() && pool.take().is_none());
            return format!("refused: {}", reason(&error.cause));
        }
        Poll::Pending => return "waiting for the head".to_owned(),
    };
    let status = head.status.as_u16();
    let (data, end) = read(&mut body);
    let data = String::from_utf8_lossy(&data).into_owned();
    let end = match end {
        None => "waiting".to_owned(),
        Some(Err(cause)) => {
            assert!(origin.is_closed() && pool.take().is_none());
            format!("broken: {}", reason(&cause))
        }
        // A pool checks a connection before it gives it out again.
        Some(Ok(())) if pool.take().is_some_and(|mut idle| idle.is_usable()) => "reused".to_owned(),
        Some(Ok(())) => {
            assert!(origin.is_closed());
            "closed".to_owned()
        }
    };
    format!("{status} {data:?} {end}")
}

fn reason(cause: &Cause) -> String {
    cause.source().map_or_else(|| cause.to_string(), ToString::to_string)
}

/// Checks that a response has the same result as a whole and one byte at a time.
fn check_for(method: &Method, response: &str, then: Then, expected: &str) {
    for read_limit in [usize::MAX, 1] {
        assert_eq!(
            course(method, response.as_bytes(), then, read_limit),
            expected,
            "{response:?}, {read_limit} bytes at a time"
        );
    }
}

fn check(response: &str, then: Then, expected: &str) {
    check_for(&Method::GET, response, then, expected);
}

#[test]
fn clean_ends_give_the_connection_back() {
    check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Waits, "200 \"hello\" reused");
    check("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Waits, "200 \"\" reused");
    check("HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nx", Waits, "404 \"x\" reused");
    check(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n",
        Waits,
        "200 \"hello!\" reused",
    );
    check("HTTP/1.1 204 No Content\r\n\r\n", Waits, "204 \"\" reused");
    check("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", Waits, "304 \"\" reused");
    check_for(&Method::HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Waits, "200 \"\" reused");
    check_for(
        &Method::HEAD,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        Waits,
        "200 \"\" reused",
    );
}

#[test]
fn the_origin_may_ask_to_close() {
    check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", Waits, "200 \"ok\" closed");
    check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Closes, "200 \"ok\" closed");
    check("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", Waits, "200 \"ok\" closed");
    check(
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok",
        Waits,
        "200 \"ok\" reused",
    );
}

#[test]
fn a_body_may_end_with_the_connection() {
    check("HTTP/1.1 200 OK\r\n\r\nhello", Closes, "200 \"hello\" closed");
    check("HTTP/1.0 200 OK\r\n\r\nhello", Closes, "200 \"hello\" closed");
    check("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\nhello", Closes, "200 \"hello\" closed");
    check("HTTP/1.0 200 OK\r\n\r\n", Closes, "200 \"\" closed");
    check("HTTP/1.1 200 OK\r\n\r\nhello", Waits, "200 \"hello\" waiting");
}

/// Row 29.
#[test]
fn extra_bytes_cost_the_connection_and_nothing_else() {
    check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, world", Waits, "200 \"hello\" closed");
    check("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nx", Waits, "200 \"\" closed");
    check("HTTP/1.1 204 No Content\r\n\r\nhello", Waits, "204 \"\" closed");
    check("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", Waits, "204 \"\" closed");
    check("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello", Waits, "304 \"\" closed");
    check_for(&Method::HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Waits, "200 \"\" closed");
    check(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        Waits,
        "200 \"\" closed",
    );
    check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n", Waits, "200 \"ok\" closed");
}

/// Row 30: a truncated body is an error, so that the connection to the CDN is cut as well and no cache keeps half
/// a page.
#[test]
fn truncated_bodies_are_errors() {
    const CLOSED: &str = "broken: the origin closed the connection";
    check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", Closes, &format!("200 \"hel\" {CLOSED}"));
    check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Closes, &format!("200 \"\" {CLOSED}"));
    for (body, got) in [
        ("", ""),
        ("5", ""),
        ("5\r\nhel", "hel"),
        ("5\r\nhello\r\n", "hello"),
        ("5\r\nhello\r\n0\r\n", "hello"),
        ("5\r\nhello\r\n0\r\nx: y\r\n", "hello"),
    ] {
        check(
            &format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}"),
            Closes,
            &format!("200 {got:?} {CLOSED}"),
        );
    }
}

#[test]
fn no_response_is_an_error() {
    for response in [
        "",
        "H",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
    ] {
        check(response, Closes, "refused: the origin closed the connection");
        check(response, Waits, "waiting for the head");
    }
}

/// Rows 31 and 32.
#[test]
fn hostile_heads_are_refused() {
    const AMBIGUOUS: &str = "refused: Content-Length together with Transfer-Encoding";
    const LENGTH: &str = "refused: Content-Length is malformed or repeated";
    const CODING: &str = "refused: Transfer-Encoding is not exactly chunked";
    for (head, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked", AMBIGUOUS),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5", AMBIGUOUS),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6", LENGTH),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5, 5", LENGTH),
        ("HTTP/1.1 200 OK\r\nContent-Length: +5", LENGTH),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1", LENGTH),
        ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999", LENGTH),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip", CODING),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked", CODING),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked", CODING),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked", CODING),
        ("HTTP/1.1 999 Whatever", "refused: status 999 is not between 100 and 599"),
        ("HTTP/1.1 099 Whatever", "refused: status 99 is not between 100 and 599"),
        ("HTTP/1.1 200 OK\r\nA: b\r\n c", "refused: header field 2 is malformed"),
        ("HTTP/1.1 200 OK\r\nA: b\0", "refused: header field 1 is malformed"),
        ("HTTP/1.1 200 OK\r\nA: b\rc", "refused: header field 1 is malformed"),
        ("HTTP/1.1 200 OK\r\nContent-Length : 5", "refused: header field 1 is malformed"),
        ("\r\nHTTP/1.1 200 OK", "refused: malformed status line"),
        ("HTTP/2.0 200 OK", "refused: malformed status line"),
        ("SSH-2.0-OpenSSH_9.2", "refused: malformed status line"),
        ("<html>garbage</html>", "refused: malformed status line"),
    ] {
        check(&format!("{head}\r\n\r\nhello"), Waits, expected);
    }
}

/// Row 6, in the other direction.
#[test]
fn hostile_chunks_break_the_body() {
    const SIZE: &str = "broken: the size line of a chunk is malformed";
    for (body, got, end) in [
        ("0x5\r\nhello\r\n0\r\n\r\n", "", SIZE),
        ("+5\r\nhello\r\n0\r\n\r\n", "", SIZE),
        ("-5\r\nhello\r\n0\r\n\r\n", "", SIZE),
        ("5\nhello\r\n0\r\n\r\n", "", SIZE),
        ("2\r\nok\r\n\r\n", "ok", SIZE),
        ("11111111111111111\r\nhello", "", "broken: a chunk size is too long"),
        ("5\r\nhello!\r\n0\r\n\r\n", "hello", "broken: a chunk is longer than its size"),
        ("5\r\nhello\n0\r\n\r\n", "hello", "broken: a chunk is longer than its size"),
        ("2\r\nok\r\n0\r\nfolded\r\n\r\n", "ok", "broken: a trailer is malformed"),
        ("2\r\nok\r\n0\r\n\n", "ok", "broken: a trailer is malformed"),
    ] {
        check(
            &format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}"),
            Waits,
            &format!("200 {got:?} {end}"),
        );
    }
}

/// Row 33.
#[test]
fn a_switch_of_protocols_is_refused() {
    check(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nraw",
        Waits,
        "refused: a switch of protocols that was not asked for",
    );
    check(
        "HTTP/1.1 200 OK\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nok",
        Waits,
        "200 \"ok\" reused",
    );
}

/// Rows 34 and 35.
#[test]
fn interim_responses_are_skipped() {
    check(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        Waits,
        "200 \"ok\" reused",
    );
    check(&"HTTP/1.1 102 Processing\r\n\r\n".repeat(17), Waits, "refused: more than 16 interim responses");
}

/// Row 36.
#[test]
fn trailers_are_kept_apart() {
    check(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: a\r\n\r\n2\r\nok\r\n0\r\na: b\r\nContent-Length: 9\r\n\r\n",
        Waits,
        "200 \"ok\\na: b\\ncontent-length: 9\" reused",
    );
}

/// Row 20.
#[test]
fn large_heads_are_refused() {
    check(
        &format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(257)),
        Waits,
        "refused: too many header fields",
    );
    let endless = format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(70_000));
    assert_eq!(course(&Method::GET, endless.as_bytes(), Waits, usize::MAX), "refused: too many bytes",);
}

#[test]
fn a_reused_connection_serves_on() {
    let (connection, origin) = Origin::connect(usize::MAX);
    let pool = Pool::default();
    let mut connection = Some(connection);
    for round in 0..3 {
        let mut exchange = send(connection.take().unwrap(), &Method::GET, None, &pool);
        assert!(poll(&mut exchange).is_pending());
        assert!(exchange.is_sent());
        assert_eq!(origin.heard(), "GET / HTTP/1.1\r\nhost: a.example\r\n\r\n");
        assert_eq!(origin.writes(), 1);
        origin.say(format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{round}"));
        let mut body = ready(&mut exchange).unwrap().1;
        assert_eq!(read(&mut body).0, round.to_string().as_bytes());
        let mut idle = pool.take().unwrap();
        assert!(idle.is_usable());
        assert_eq!(idle.input().buffer().capacity(), 0, "an idle connection keeps no buffer");
        connection = Some(idle);
    }
    origin.say("HTTP/1.1 408 Request Timeout\r\n\r\n");
    assert!(!connection.unwrap().is_usable(), "it has said something unasked");
}

#[test]
fn the_connection_returns_with_the_last_byte() {
    use http_body::Body;
    let (connection, origin) = Origin::connect(usize::MAX);
    let pool = Pool::default();
    origin.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no");
    let mut body = ready(&mut send(connection, &Method::GET, None, &pool)).unwrap().1;
    assert_eq!(body.size_hint().exact(), Some(2));
    assert_eq!(read(&mut body).0, b"o");
    assert_eq!(body.size_hint().exact(), Some(1));
    assert!(pool.take().is_none() && !body.is_end_stream());
    origin.say("k");
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(std::pin::Pin::new(&mut body).poll_frame(&mut cx).is_ready());
    assert!(body.is_end_stream() && pool.take().is_some());
}

#[test]
fn what_is_dropped_early_is_closed() {
    let pool = Pool::default();
    let (connection, origin) = Origin::connect(usize::MAX);
    let mut exchange = send(connection, &Method::GET, None, &pool);
    assert!(poll(&mut exchange).is_pending());
    drop(exchange);
    assert!(origin.is_closed());

    let (connection, origin) = Origin::connect(usize::MAX);
    origin.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let response = ready(&mut send(connection, &Method::GET, None, &pool)).unwrap();
    assert!(!origin.is_closed());
    drop(response);
    assert!(origin.is_closed() && pool.take().is_none());
}

#[test]
fn large_bodies_come_in_large_frames() {
    for head in ["Content-Length: 300000\r\n\r\n", "\r\n"] {
        let (connection, origin) = Origin::connect(usize::MAX);
        origin.say(format!("HTTP/1.1 200 OK\r\n{head}{}", "x".repeat(300_000)));
        origin.close();
        let mut body = ready(&mut send(connection, &Method::GET, None, &Pool::default())).unwrap().1;
        let mut sizes = Vec::new();
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        while let Poll::Ready(Some(frame)) =
            http_body::Body::poll_frame(std::pin::Pin::new(&mut body), &mut cx)
        {
            sizes.push(frame.unwrap().into_data().unwrap().len());
        }
        assert_eq!(sizes.iter().sum::<usize>(), 300_000);
        assert!(sizes.len() <= 10 && sizes.iter().all(|size| *size <= 128 * 1024), "{sizes:?}");
    }
}

/// Row 27: the errors after which a request may be sent again.
#[test]
fn a_stale_connection_is_told_from_a_failed_request() {
    fn stale(said: &str, reset: bool) -> ExchangeError {
        let (connection, origin) = Origin::connect(usize::MAX);
        let pool = Pool::default();
        origin.say("HTTP/1.1 204 No Content\r\n\r\n");
        drop(ready(&mut send(connection, &Method::GET, None, &pool)).unwrap());
        let connection = pool.take().unwrap();
        origin.say(said);
        if reset {
            origin.reset()
        } else {
            origin.close()
        }
        ready(&mut send(connection, &Method::GET, None, &pool)).unwrap_err()
    }
    assert!(stale("", false).is_retryable());
    assert!(stale("", true).is_retryable());
    assert!(!stale("H", false).is_retryable());
    assert!(!stale("H", true).is_retryable());
    assert!(!stale("garbage", false).is_retryable());

    let (connection, origin) = Origin::connect(usize::MAX);
    origin.close();
    let fresh = ready(&mut send(connection, &Method::GET, None, &Pool::default())).unwrap_err();
    assert!(!fresh.is_retryable() && !fresh.reused);
}
