//! Tests of requests with bodies, and of origins that answer before they have read them. The row numbers are
//! those of `tests/it/hardening.rs`.

use super::script::{Origin, Pool, Upload, poll, read, ready, send};
use crate::upstream::{Cause, ExchangeError, Phase};
use http::{HeaderMap, HeaderValue, Method};

const HEAD: &str = "POST / HTTP/1.1\r\nhost: a.example\r\n";

#[test]
fn head_and_first_data_leave_in_one_write() {
    let (connection, origin) = Origin::connect(usize::MAX);
    let upload = Upload::sized(5);
    upload.push("hello");
    upload.end();
    let mut exchange = send(connection, &Method::POST, Some(upload), &Pool::default());
    assert!(poll(&mut exchange).is_pending());
    assert_eq!(origin.heard(), format!("{HEAD}content-length: 5\r\n\r\nhello"));
    assert_eq!(origin.writes(), 1);
    assert!(exchange.is_sent() && exchange.body_consumed());
}

#[test]
fn a_body_of_unknown_size_is_chunked() {
    let (connection, origin) = Origin::connect(usize::MAX);
    let upload = Upload::unsized_();
    let mut exchange = send(connection, &Method::POST, Some(upload.clone()), &Pool::default());
    assert!(poll(&mut exchange).is_pending());
    assert_eq!(origin.heard(), format!("{HEAD}transfer-encoding: chunked\r\n\r\n"));
    assert!(!exchange.body_consumed());

    upload.push("");
    upload.push("hello");
    assert!(poll(&mut exchange).is_pending());
    assert_eq!(origin.heard(), "5\r\nhello\r\n");

    upload.push("a much longer chunk");
    assert!(poll(&mut exchange).is_pending());
    assert_eq!(origin.heard(), "13\r\na much longer chunk\r\n");
    assert!(!exchange.is_sent());

    upload.end();
    assert!(poll(&mut exchange).is_pending());
    assert_eq!(origin.heard(), "0\r\n\r\n");
    assert!(exchange.is_sent() && upload.is_dropped());
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("x"))])
}

#[test]
fn trailers_end_a_chunked_body() {
    let (connection, origin) = Origin::connect(usize::MAX);
    let upload = Upload::unsized_();
    let mut exchange = send(connection, &Method::POST, Some(upload.clone()), &Pool::default());
    upload.push("hello");
    assert!(poll(&mut exchange).is_pending());
    assert_eq!(origin.heard(), format!("{HEAD}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"));
    upload.push_trailers(trailers());
    assert!(poll(&mut exchange).is_pending());
    assert_eq!(origin.heard(), "0\r\netag: x\r\n\r\n");
    assert!(exchange.is_sent() && upload.is_dropped());
}

/// A body with a length leaves no room for trailers, and trailers do not excuse missing bytes.
#[test]
fn trailers_after_a_known_length_are_dropped() {
    let (connection, origin) = Origin::connect(usize::MAX);
    let upload = Upload::sized(5);
    let mut exchange = send(connection, &Method::POST, Some(upload.clone()), &Pool::default());
    upload.push("hello");
    upload.push_trailers(trailers());
    assert!(poll(&mut exchange).is_pending());
    assert_eq!(origin.heard(), format!("{HEAD}content-length: 5\r\n\r\nhello"));
    assert!(exchange.is_sent());

    let (connection, _origin) = Origin::connect(usize::MAX);
    let upload = Upload::sized(5);
    upload.push("hell");
    upload.push_trailers(trailers());
    let mut exchange = send(connection, &Method::POST, Some(upload), &Pool::default());
    assert!(matches!(ready(&mut exchange).unwrap_err().cause, Cause::RequestLength));
}

#[test]
fn the_last_chunk_and_the_end_leave_together() {
    let (connection, origin) = Origin::connect(usize::MAX);
    let upload = Upload::unsized_();
    upload.push("hello");
    upload.end();
    let mut exchange = send(connection, &Method::POST, Some(upload), &Pool::default());
    assert!(poll(&mut exchange).is_pending());
    assert_eq!(origin.heard(), format!("{HEAD}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"));
    assert_eq!(origin.writes(), 1);
}

#[test]
fn a_slow_origin_gets_the_same_bytes() {
    let (connection, origin) = Origin::connect(usize::MAX);
    let upload = Upload::unsized_();
    upload.push("hello");
    upload.push("world");
    upload.end();
    let mut exchange = send(connection, &Method::POST, Some(upload), &Pool::default());
    let mut heard = String::new();
    while !exchange.is_sent() {
        origin.take(1);
        assert!(poll(&mut exchange).is_pending());
        heard += &origin.heard();
    }
    assert_eq!(
        heard,
        format!("{HEAD}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n")
    );
}

#[test]
fn after_a_whole_upload_the_connection_is_reused() {
    let (connection, origin) = Origin::connect(usize::MAX);
    let pool = Pool::default();
    let upload = Upload::sized(5);
    let mut exchange = send(connection, &Method::POST, Some(upload.clone()), &pool);
    assert!(poll(&mut exchange).is_pending());
    origin.say("HTTP/1.1 100 Continue\r\n\r\n");
    assert!(poll(&mut exchange).is_pending());
    upload.push("hello");
    upload.end();
    assert!(poll(&mut exchange).is_pending());
    origin.say("HTTP/1.1 204 No Content\r\n\r\n");
    assert!(ready(&mut exchange).is_ok());
    assert!(pool.take().is_some());
}

/// Row 28: the refusal is forwarded completely, and the rest of the body is not sent.
#[test]
fn an_early_refusal_ends_the_upload() {
    let (connection, origin) = Origin::connect(usize::MAX);
    let pool = Pool::default();
    let upload = Upload::sized(1000);
    upload.push("hello");
    let mut exchange = send(connection, &Method::POST, Some(upload.clone()), &pool);
    assert!(poll(&mut exchange).is_pending());
    origin.heard();
    origin.say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nto");
    let (head, mut body) = ready(&mut exchange).unwrap();
    assert_eq!(head.status, 413);
    assert!(upload.is_dropped());
    assert_eq!(read(&mut body).0, b"to");
    origin.say("o");
    assert_eq!(read(&mut body).0, b"o");
    assert_eq!(origin.heard(), "");
    assert!(origin.is_closed() && pool.take().is_none());
}

/// Row 28: an origin that answers while it reads goes on reading.
#[test]
fn an_early_success_lets_the_upload_go_on() {
    let (connection, origin) = Origin::connect(usize::MAX);
    let pool = Pool::default();
    let upload = Upload::unsized_();
    upload.push("one");
    let mut exchange = send(connection, &Method::POST, Some(upload.clone()), &pool);
    origin.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nONE\r\n");
    let mut body = ready(&mut exchange).unwrap().1;
    origin.heard();
    assert_eq!(read(&mut body).0, b"ONE");

    upload.push("two");
    assert_eq!(read(&mut body).0, b"");
    assert_eq!(origin.heard(), "3\r\ntwo\r\n");
    origin.say("3\r\nTWO\r\n");
    assert_eq!(read(&mut body).0, b"TWO");

    upload.end();
    assert_eq!(read(&mut body).0, b"");
    assert_eq!(origin.heard(), "0\r\n\r\n");
    origin.say("0\r\n\r\n");
    assert!(matches!(read(&mut body).1, Some(Ok(()))));
    assert!(origin.is_closed() && pool.take().is_none(), "an early answer leaves the connection in doubt");
}

#[test]
fn an_early_success_that_ends_early_ends_the_upload() {
    let (connection, origin) = Origin::connect(usize::MAX);
    let pool = Pool::default();
    let upload = Upload::sized(1000);
    let mut exchange = send(connection, &Method::POST, Some(upload.clone()), &pool);
    origin.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let mut body = ready(&mut exchange).unwrap().1;
    assert!(matches!(read(&mut body), (data, Some(Ok(()))) if data == b"ok"));
    assert!(upload.is_dropped() && origin.is_closed() && pool.take().is_none());
}

#[test]
fn an_upload_that_fails_after_an_early_success_does_not_cut_the_response() {
    let (connection, origin) = Origin::connect(usize::MAX);
    let upload = Upload::sized(1000);
    let mut exchange = send(connection, &Method::POST, Some(upload.clone()), &Pool::default());
    origin.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
    let mut body = ready(&mut exchange).unwrap().1;
    upload.fail();
    assert_eq!(read(&mut body).0, b"");
    assert!(upload.is_dropped());
    origin.say("ok");
    assert!(matches!(read(&mut body), (data, Some(Ok(()))) if data == b"ok"));
    assert!(origin.is_closed());
}

/// Row 28: the origin has answered and reads no more. Its answer takes precedence over the failed write.
#[test]
fn an_answer_before_a_reset_is_passed_on() {
    let (connection, origin) = Origin::connect(usize::MAX);
    let pool = Pool::default();
    let upload = Upload::sized(1000);
    upload.push("hello");
    let mut exchange = send(connection, &Method::POST, Some(upload.clone()), &pool);
    assert!(poll(&mut exchange).is_pending());
    origin.say("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno");
    origin.reset();
    upload.push("more");
    let (head, mut body) = ready(&mut exchange).unwrap();
    assert_eq!(head.status, 401);
    assert!(matches!(read(&mut body), (data, Some(Ok(()))) if data == b"no"));
    assert!(origin.is_closed() && pool.take().is_none());
}

/// Returns the error of an upload of `size` bytes after `act`.
fn failed(size: Option<u64>, act: impl FnOnce(&Upload, &Origin)) -> ExchangeError {
    let (connection, origin) = Origin::connect(usize::MAX);
    let pool = Pool::default();
    let upload = size.map_or_else(Upload::unsized_, Upload::sized);
    act(&upload, &origin);
    let error = ready(&mut send(connection, &Method::POST, Some(upload), &pool)).unwrap_err();
    assert!(origin.is_closed() && pool.take().is_none());
    assert_eq!(error.phase, Phase::Request);
    error
}

#[test]
fn a_declared_length_is_kept_to() {
    let short = failed(Some(5), |upload, _| {
        upload.push("hell");
        upload.end();
    });
    assert!(matches!(short.cause, Cause::RequestLength));
    let long = failed(Some(5), |upload, origin| {
        upload.push("hello!");
        origin.take(0);
    });
    assert!(matches!(long.cause, Cause::RequestLength));
}

#[test]
fn a_failing_client_is_not_the_origins_fault() {
    let error = failed(None, |upload, _| {
        upload.push("hel");
        upload.fail();
    });
    assert!(matches!(error.cause, Cause::RequestBody(_)));
}

#[test]
fn a_failed_write_without_an_answer_is_the_origins_fault() {
    let error = failed(Some(5), |upload, origin| {
        upload.push("hello");
        upload.end();
        origin.reset();
    });
    assert!(matches!(error.cause, Cause::Io(_)));
    assert!(error.body_consumed && !error.is_retryable());
}
