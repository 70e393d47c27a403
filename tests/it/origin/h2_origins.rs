//! Origins that send HTTP/2 that no correct origin would, or that refuse, break off, or are slow.

use crate::harness::h2::{Client, DATA, END_STREAM, GOAWAY, RST_STREAM, frame};
use crate::harness::h2_origin::{Frames, OK, before, ok, to_the_end};
use crate::harness::recorder::all_answers;
use crate::harness::scripted::Origin;
use crate::harness::wire::{get, get_with, header, nowhere, status};
use std::time::Duration;

const SOON: Duration = Duration::from_millis(50);

/// The bytes that a client gets of an origin that answers its first request with these frames.
#[track_caller]
fn relayed(method: &str, answer: impl Fn(&mut Client, u32) + Send + Sync + 'static) -> String {
    let origin = Frames::playing(move |peer, _| {
        if let Some((stream, _)) = peer.next_request() {
            answer(peer, stream);
            to_the_end(peer);
        }
    });
    let shim = before(origin.address, |limits| limits.origin_body_timeout = Duration::from_secs(5));
    let request = format!("{method} / HTTP/1.1\r\nhost: www.example.com\r\nconnection: close\r\n\r\n");
    let answer = all_answers(&shim, request);
    assert_eq!(origin.connections(), 1);
    answer
}

#[track_caller]
fn unusable(headers: &'static [(&'static str, &'static str)], ends: bool) {
    let answer = relayed("GET", move |peer, stream| peer.respond(stream, headers, ends));
    assert_eq!(status(&answer), 502, "{headers:?}: {answer}");
    assert_eq!(header(&answer, "cache-control"), Some("no-store"), "{answer}");
}

#[test]
fn what_no_response_may_be() {
    unusable(&[(":status", "200"), ("connection", "close")], true);
    unusable(&[(":status", "200"), ("transfer-encoding", "chunked")], true);
    unusable(&[(":status", "200"), ("keep-alive", "1")], true);
    unusable(&[(":status", "200"), ("X-Upper", "1")], true);
    unusable(&[(":status", "200"), ("content-length", "1")], true);
    unusable(&[(":status", "200"), ("content-length", "+0")], true);
    unusable(&[(":status", "200"), ("content-length", "0"), ("content-length", "0")], true);
    unusable(&[(":status", "200"), ("content-length", "0"), ("content-length", "1")], true);
    unusable(&[(":status", "999")], true);
    unusable(&[(":status", "20")], true);
    unusable(&[("etag", "1")], true);
    unusable(&[(":status", "200"), ("x", "a\nb")], true);
    unusable(&[(":status", "100")], true);
}

#[test]
fn response_heads_have_limits() {
    let many = |n: usize| {
        relayed("GET", move |peer, stream| {
            let mut headers = OK.to_vec();
            headers.extend((0..n).map(|_| ("x", "1")));
            peer.respond(stream, &headers, true);
        })
    };
    assert_eq!(status(&many(256)), 200);
    assert_eq!(status(&many(257)), 502);
    let large = |n: usize| {
        relayed("GET", move |peer, stream| {
            peer.respond(stream, &[(":status", "200"), ("x", &"x".repeat(n))], true);
        })
    };
    assert_eq!(status(&large(60 * 1024)), 200);
    for n in [66 * 1024, 80 * 1024, 200 * 1024, 1 << 20] {
        assert_eq!(status(&large(n)), 502, "{n}");
    }
    let answer = large(80 * 1024);
    let said = Some("origin-shim; error=http_response_header_section_size");
    assert_eq!(header(&answer, "proxy-status"), said);
}

#[test]
fn responses_that_have_no_body() {
    let check = |method: &str, headers: &'static [(&'static str, &'static str)], expected: &str| {
        for ends in [true, false] {
            let answer = relayed(method, move |peer, stream| peer.respond(stream, headers, ends));
            assert_eq!(answer, expected, "{method} {headers:?} {ends}");
        }
    };
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 999\r\nconnection: close\r\n\r\n";
    check("HEAD", &[(":status", "200"), ("content-length", "999")], head);
    check(
        "GET",
        &[(":status", "204"), ("x", "1")],
        "HTTP/1.1 204 No Content\r\nx: 1\r\nconnection: close\r\n\r\n",
    );
    let not_modified = "HTTP/1.1 304 Not Modified\r\netag: 1\r\nconnection: close\r\n\r\n";
    check("GET", &[(":status", "304"), ("etag", "1")], not_modified);
}

/// A body that is not whole must not look as if it were, whatever the origin says of it.
#[test]
fn a_truncated_body_ends_the_client_connection_before_its_end() {
    type Death = fn(&mut Client, u32) -> bool;
    let check = |headers: &'static [(&'static str, &'static str)], death: Death, expected: &str| {
        let answer = relayed("GET", move |peer, stream| {
            peer.respond(stream, headers, false);
            peer.send(frame(DATA, 0, stream, b"half"));
            death(peer, stream);
        });
        assert!(answer.ends_with(expected), "{headers:?}: {answer}");
    };
    // NO_ERROR, CANCEL, INTERNAL_ERROR.
    let resets: [Death; 3] = [
        |peer, stream| peer.send(frame(RST_STREAM, 0, stream, &[0, 0, 0, 0])),
        |peer, stream| peer.send(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])),
        |peer, stream| peer.send(frame(RST_STREAM, 0, stream, &[0, 0, 0, 2])),
    ];
    for death in resets {
        check(&OK, death, "\r\n\r\n4\r\nhalf\r\n");
        check(&[(":status", "200"), ("content-length", "10")], death, "\r\n\r\nhalf");
    }
    let with_length: &[_] = &[(":status", "200"), ("content-length", "10")];
    // Shorter and longer than it said.
    check(with_length, |peer, stream| peer.send(frame(DATA, END_STREAM, stream, b"")), "\r\n\r\nhalf");
    check(with_length, |peer, stream| peer.send(frame(DATA, 0, stream, b"too much")), "\r\n\r\nhalf");
    // The connection ends.
    check(&OK, |peer, _| peer.shutdown(), "\r\n\r\n4\r\nhalf\r\n");
    // An error of the connection.
    check(
        &OK,
        |peer, _| peer.send(frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 2])) && peer.shutdown(),
        "\r\n\r\n4\r\nhalf\r\n",
    );
    // It says no more.
    let origin = Frames::playing(|peer, _| {
        let (stream, _) = peer.next_request().unwrap();
        peer.respond(stream, &OK, false);
        peer.send(frame(DATA, 0, stream, b"half"));
        to_the_end(peer);
    });
    let shim = before(origin.address, |limits| limits.origin_body_timeout = SOON);
    let answer = all_answers(&shim, get_with("/", "connection: close\r\n"));
    assert!(answer.ends_with("\r\n\r\n4\r\nhalf\r\n"), "{answer}");
    shim.counts(r#"origin_shim_origin_errors_total{site="www",kind="body-timeout"} 1"#);
}

#[test]
fn origins_have_time_limits() {
    let origin = Frames::playing(|peer, _| to_the_end(peer));
    let shim = before(origin.address, |limits| limits.origin_first_byte_timeout = SOON);
    let (head, _) = shim.request(&get("/"));
    assert_eq!((status(&head), header(&head, "cache-control")), (504, Some("no-store")));
    // What never speaks HTTP/2 has not even a connection.
    let mute = Origin::playing(|served| drop(served.wire.rest()));
    let shim = before(mute.address, |limits| limits.origin_connect_timeout = SOON);
    assert_eq!(status(&shim.request(&get("/")).0), 502);
    let other = Origin::playing(|served| {
        served.wire.some();
        served.wire.send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        served.wire.rest();
    });
    let (head, _) = before(other.address, |_| {}).request(&get("/"));
    let said = Some("origin-shim; error=http_protocol_error");
    assert_eq!((status(&head), header(&head, "proxy-status")), (502, said));
    let (head, _) = before(nowhere(), |_| {}).request(&get("/"));
    assert_eq!(status(&head), 502);
}

/// GOAWAY names the last stream that the origin works on: that one is answered, the next one goes elsewhere, even a
/// POST.
#[test]
fn what_goaway_leaves_out_is_sent_again() {
    for method in ["GET", "POST"] {
        let origin = Frames::playing(|peer, number| {
            let mut served = 0;
            while let Some((stream, _)) = peer.next_request() {
                served += 1;
                if number == 0 && served == 3 {
                    // The second request is not answered yet, the third one is not looked at.
                    let last = (stream - 2).to_be_bytes();
                    peer.send(frame(GOAWAY, 0, 0, &[&last[..], &[0; 4]].concat()));
                    ok(peer, stream - 2);
                } else if number > 0 || served != 2 {
                    ok(peer, stream);
                }
            }
        });
        let shim = before(origin.address, |_| {});
        assert_eq!(shim.request(&get("/")).1, "ok");
        let mut second = shim.connect();
        second.send(get("/second"));
        let request = format!("{method} /third HTTP/1.1\r\nhost: www.example.com\r\n\r\n");
        // Sent when the second one is certainly there: it has a higher number otherwise.
        shim.counts("origin_shim_requests_in_flight 1");
        assert_eq!(shim.request(&request).1, "ok", "{method}");
        assert_eq!(second.response().1, "ok");
        assert_eq!(origin.connections(), 2, "{method}");
        shim.counts(r#"origin_shim_origin_retries_total{site="www"} 1"#);
    }
}

#[test]
fn what_may_have_been_processed_is_repeated_only_if_it_is_safe() {
    // The connection ends with the second request on it.
    let origin = || {
        Frames::playing(|peer, number| {
            let mut served = 0;
            while let Some((stream, _)) = peer.next_request() {
                served += 1;
                match (number, served) {
                    (0, 2..) => return,
                    _ => ok(peer, stream),
                }
            }
        })
    };
    for (request, expected) in [
        (get("/"), 200),
        ("DELETE / HTTP/1.1\r\nhost: www.example.com\r\n\r\n".to_owned(), 502),
        (get_with("/", "content-length: 1\r\n") + "x", 502),
    ] {
        let origin = origin();
        let shim = before(origin.address, |_| {});
        assert_eq!(shim.request(&get("/")).1, "ok");
        assert_eq!(status(&shim.request(&request).0), expected, "{request}");
    }
}

#[test]
fn a_refused_stream_is_sent_again() {
    let origin = Frames::playing(|peer, _| {
        let mut served = 0;
        while let Some((stream, _)) = peer.next_request() {
            served += 1;
            if served == 2 {
                // REFUSED_STREAM.
                peer.send(frame(RST_STREAM, 0, stream, &[0, 0, 0, 7]));
            } else {
                ok(peer, stream);
            }
        }
    });
    let shim = before(origin.address, |_| {});
    assert_eq!(shim.request(&get("/")).1, "ok");
    assert_eq!(shim.request("DELETE / HTTP/1.1\r\nhost: www.example.com\r\n\r\n").1, "ok");
    assert_eq!(origin.connections(), 1);
}

#[test]
fn an_early_response_is_relayed() {
    let origin = Frames::playing(|peer, _| {
        while let Some((stream, ends)) = peer.next_request() {
            if ends {
                ok(peer, stream);
                continue;
            }
            peer.respond(stream, &[(":status", "403")], false);
            peer.send(frame(DATA, END_STREAM, stream, b"no"));
            peer.send(frame(RST_STREAM, 0, stream, &[0, 0, 0, 0]));
        }
    });
    let shim = before(origin.address, |_| {});
    let mut client = shim.connect();
    client.send("PUT / HTTP/1.1\r\nhost: www.example.com\r\ncontent-length: 100000\r\n\r\npart");
    let (head, body) = client.response();
    assert_eq!((status(&head), body.as_str()), (403, "no"));
    assert_eq!(shim.request(&get("/")).1, "ok");
    assert_eq!(origin.connections(), 1, "the connection is none the worse");
}
