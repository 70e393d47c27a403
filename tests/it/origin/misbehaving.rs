//! Origins that are hostile, slow, or gone.

use crate::harness::h2;
use crate::harness::in_process::{Shim, cdn, config, site};
use crate::harness::recorder::{all_answers, forwarded, recorded, sorted};
use crate::harness::scripted::{Origin, Served};
use crate::harness::wire::{LIMIT, get, get_with, header, nowhere, status};
use origin_shim::rewrite::CdnType;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

/// The bytes that a client gets of an origin that answers with these bytes and closes.
fn relayed(response: impl Into<String>) -> String {
    let response = response.into();
    let origin = Origin::playing(move |served| {
        served.request();
        served.wire.send(&response);
        served.wire.shutdown();
    });
    let shim = Shim::before(&origin);
    let answer = all_answers(&shim, get_with("/", "connection: close\r\n"));
    assert_eq!(origin.connections(), 1);
    answer
}

#[track_caller]
fn unusable(response: impl Into<String>) {
    let response = response.into();
    let answer = relayed(response.clone());
    assert_eq!(status(&answer), 502, "{response:.200}: {answer}");
    assert_eq!(header(&answer, "cache-control"), Some("no-store"), "{answer}");
    assert!(!answer.contains("evil"), "{answer}");
}

#[test]
fn r20_response_heads_have_limits() {
    let with = |lines: String| format!("HTTP/1.1 200 OK\r\n{lines}content-length: 0\r\n\r\n");
    let many = |n: usize| with((1..n).map(|n| format!("x-{n}: 1\r\n")).collect());
    assert_eq!(status(&relayed(many(256))), 200);
    unusable(many(257));
    unusable(many(5000));
    assert_eq!(status(&relayed(with(format!("x: {}\r\n", "x".repeat(60 * 1024))))), 200);
    unusable(with(format!("x: {}\r\n", "x".repeat(70 * 1024))));
    unusable(with(format!("x: {}\r\n", "x".repeat(1 << 20))));
}

#[test]
fn r20_the_limits_of_response_heads_are_configuration() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\na: 1\r\nb: 1\r\ncontent-length: 0\r\n\r\n");
    let mut config = config(vec![site(&[origin.address])]);
    config.server.limits.origin_headers = 3;
    assert_eq!(status(&Shim::start(&config).request(&get("/")).0), 200);
    config.server.limits.origin_headers = 2;
    assert_eq!(status(&Shim::start(&config).request(&get("/")).0), 502);
}

#[test]
fn r26_origins_have_time_limits() {
    // Nobody listens.
    let (head, _) = Shim::start(&config(vec![site(&[nowhere()])])).request(&get("/"));
    assert_eq!((status(&head), header(&head, "cache-control")), (502, Some("no-store")));
    let limited = |origin: &Origin, limit: fn(&mut origin_shim::config::Limits)| {
        let mut config = config(vec![site(&[origin.address])]);
        limit(&mut config.server.limits);
        let shim = Shim::start(&config);
        all_answers(&shim, get_with("/", "connection: close\r\n"))
    };
    // Takes the request and says nothing.
    let silent = Origin::playing(|served| {
        served.request();
        served.wire.rest();
    });
    let answer = limited(&silent, |limits| limits.origin_first_byte_timeout = Duration::from_millis(50));
    assert_eq!((status(&answer), header(&answer, "cache-control")), (504, Some("no-store")), "{answer}");
    // Begins its head and says no more.
    let half = Origin::playing(|served| {
        served.request();
        served.wire.send("HTTP/1.1 200 OK\r\ncontent-");
        served.wire.rest();
    });
    let answer = limited(&half, |limits| limits.origin_first_byte_timeout = Duration::from_millis(50));
    assert_eq!(status(&answer), 504, "{answer}");
    // Begins its body and says no more: what the client has is not whole, and it can tell.
    let idle = Origin::playing(|served| {
        served.request();
        served.wire.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
        served.wire.rest();
    });
    let answer = limited(&idle, |limits| limits.origin_body_timeout = Duration::from_millis(50));
    assert!(answer.ends_with("\r\n\r\nhalf"), "{answer}");
}

/// Plays one good exchange on the first connection, then lets it die as `death` has it.
fn dying(death: impl Fn(&mut Served) + Send + Sync + 'static) -> Origin {
    Origin::playing(move |served| {
        served.request();
        served.wire.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        if served.number == 0 {
            return death(served);
        }
        while served.request().is_some() {
            served.wire.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nagain");
        }
    })
}

#[test]
fn r27_one_repetition_and_only_where_nothing_can_happen_twice() {
    let stale = |served: &mut Served| {
        served.head();
        served.wire.shutdown();
    };
    for method in ["GET", "HEAD", "OPTIONS"] {
        let origin = dying(stale);
        let shim = Shim::before(&origin);
        assert_eq!(shim.request(&get("/")).1, "ok");
        let mut client = shim.connect();
        client.send(format!("{method} /twice HTTP/1.1\r\nhost: www.example.com\r\n\r\n"));
        assert_eq!(status(&client.head()), 200, "{method}");
        origin.received();
        let (first, second) = (origin.received(), origin.received());
        assert!(first.starts_with(&format!("{method} /twice ")), "{first}");
        assert_eq!(first, second, "the same bytes");
    }
    for request in [
        "POST / HTTP/1.1\r\nhost: www.example.com\r\ncontent-length: 1\r\n\r\nx",
        "PUT / HTTP/1.1\r\nhost: www.example.com\r\ncontent-length: 0\r\n\r\n",
        "PATCH / HTTP/1.1\r\nhost: www.example.com\r\ncontent-length: 0\r\n\r\n",
        "DELETE / HTTP/1.1\r\nhost: www.example.com\r\n\r\n",
        "BREW / HTTP/1.1\r\nhost: www.example.com\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: www.example.com\r\ncontent-length: 1\r\n\r\nx",
    ] {
        let origin = dying(stale);
        let shim = Shim::before(&origin);
        assert_eq!(shim.request(&get("/")).1, "ok");
        assert_eq!(status(&shim.request(request).0), 502, "{request}");
        origin.received();
        origin.received();
        assert!(origin.received_nothing(), "{request}");
    }
    // A fresh connection that fails is no stale one.
    let origin = Origin::playing(|served| {
        served.request();
        served.wire.shutdown();
    });
    assert_eq!(status(&Shim::before(&origin).request(&get("/")).0), 502);
    assert_eq!(origin.connections(), 1);
}

/// Whatever the method: the origin is at work.
#[test]
fn r27_nothing_is_repeated_after_a_byte_of_a_response() {
    let origin = dying(|served| {
        served.head();
        served.wire.send("HTTP/1.1 2");
        served.wire.shutdown();
    });
    let shim = Shim::before(&origin);
    assert_eq!(shim.request(&get("/")).1, "ok");
    assert_eq!(status(&shim.request(&get("/")).0), 502);
    assert_eq!(origin.connections(), 1);
}

#[test]
fn r28_an_early_response_is_relayed_and_its_connection_closed() {
    let (ended, after) = channel();
    let ended = Mutex::new(ended);
    let origin = Origin::playing(move |served| {
        while let Some(head) = served.head() {
            if head.starts_with("GET") {
                served.wire.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            } else {
                served.wire.send("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
                ended.lock().unwrap().send(served.wire.rest()).unwrap();
            }
        }
    });
    let shim = Shim::before(&origin);
    let mut client = shim.connect();
    client.send("PUT / HTTP/1.1\r\nhost: www.example.com\r\ncontent-length: 100000\r\n\r\npart");
    let (head, body) = client.response();
    assert_eq!((status(&head), body.as_str()), (403, "no"));
    let rest = after.recv_timeout(LIMIT).unwrap();
    assert!(["", "part"].contains(&rest.as_str()), "{rest}");
    // What the client goes on sending is no request.
    client.send(get("/smuggled"));
    assert_eq!(shim.request(&get("/")).1, "ok");
    assert_eq!(origin.connections(), 2);
    origin.received();
    assert!(origin.received().starts_with("GET / "));
    assert!(origin.received_nothing());
}

#[test]
fn r29_bytes_after_a_response_belong_to_nobody() {
    let evil = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    for (method, response) in [
        ("GET", format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok{evil}")),
        ("GET", format!("HTTP/1.1 204 No Content\r\n\r\n{evil}")),
        ("GET", format!("HTTP/1.1 304 Not Modified\r\n\r\n{evil}")),
        ("HEAD", format!("HTTP/1.1 200 OK\r\ncontent-length: 44\r\n\r\n{evil}")),
        ("GET", format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{evil}")),
    ] {
        let origin = Origin::playing({
            let response = response.clone();
            move |served| {
                while served.request().is_some() {
                    served.wire.send(&response);
                }
            }
        });
        let shim = Shim::before(&origin);
        let mut client = shim.connect();
        for _ in 0..2 {
            client.send(format!("{method} / HTTP/1.1\r\nhost: www.example.com\r\n\r\n"));
            let head = client.head();
            let body = if method == "HEAD" { String::new() } else { client.body(&head) };
            assert!(["", "ok"].contains(&body.as_str()), "{response}: {body}");
        }
        assert_eq!(origin.connections(), 2, "{response}");
    }
}

#[test]
fn r30_a_body_that_is_cut_off_ends_no_message() {
    let answer = relayed("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
    assert!(answer.contains("content-length: 10\r\n") && answer.ends_with("\r\n\r\nhalf"), "{answer}");
    let answer = relayed("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    assert!(answer.ends_with("4\r\nhalf\r\n"), "{answer}");
    for broken in ["zz\r\nevil\r\n0\r\n\r\n", "4\r\nevilx\r\n0\r\n\r\n", "ffffffffffffffff1\r\nevil"] {
        let answer =
            relayed(format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n{broken}"));
        assert!(!answer.ends_with("0\r\n\r\n"), "{answer}");
    }
    // HTTP/2: the stream is reset.
    let origin = Origin::playing(|served| {
        served.request();
        served.wire.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
        served.wire.shutdown();
    });
    let shim = Shim::before(&origin);
    let mut client = h2::Client::connect(shim.address());
    client.request(1, &h2::request("GET", "/", "www.example.com"), true);
    assert_eq!(client.status(1), 200);
    client.reset(1);
}

#[test]
fn r31_responses_that_mean_two_things() {
    unusable(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
    );
    unusable(
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
    );
    unusable("HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nevil");
    unusable("HTTP/1.1 200 OK\r\ncontent-length: 4, 5\r\n\r\nevil");
    unusable("HTTP/1.1 200 OK\r\ncontent-length: +4\r\n\r\nevil");
    unusable("HTTP/1.1 200 OK\r\nx: 1\r\n folded: evil\r\ncontent-length: 0\r\n\r\n");
    unusable("HTTP/1.1 200 OK\r\nx: evil\0\r\ncontent-length: 0\r\n\r\n");
    unusable("HTTP/1.1 200 OK\r\ncontent-length : 4\r\n\r\nevil");
    unusable("HTTP/1.1 abc\r\n\r\nevil");
    unusable("SSH-2.0-evil\r\n\r\n");
    unusable("\x16\x03\x01evil");
    unusable("");
}

#[test]
fn r32_codings_statuses_and_versions() {
    unusable("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nevil");
    unusable("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n");
    unusable("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n");
    unusable("HTTP/1.1 999 Evil\r\ncontent-length: 4\r\n\r\nevil");
    unusable("HTTP/1.1 600 Evil\r\ncontent-length: 4\r\n\r\nevil");
    unusable("HTTP/1.1 099 Evil\r\ncontent-length: 4\r\n\r\nevil");
    unusable("HTTP/2.0 200 OK\r\ncontent-length: 4\r\n\r\nevil");
    let answer = relayed("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok"), "{answer}");
}

/// A 101 that nobody asked for. What comes after it is no response.
#[test]
fn r33_protocols_are_not_switched_by_the_origin_alone() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nevil";
    unusable(switch);
    // Neither by a client alone: the wish is stripped, what it sends before an answer is its next request, if
    // anything.
    let (origin, shim) = recorded();
    let wish = "connection: upgrade\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n";
    let mut client = shim.connect();
    let (head, body) = client.request(&get_with("/", wish));
    assert_eq!((status(&head), body.as_str()), (200, "ok"));
    assert_eq!(sorted(&origin.bytes()), sorted(&forwarded("GET /", "", "")));
    assert_eq!(client.request(&get("/")).1, "ok");
}

#[test]
fn r35_interim_responses_are_not_the_response() {
    let origin = Origin::answering(
        "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\ncache-control: max-age=99\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n\
         HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno",
    );
    let mut www = site(&[origin.address]);
    www.cdns = vec![cdn(CdnType::Fastly)];
    let shim = Shim::start(&config(vec![www]));
    shim.health.cell("www", "fastly").set(true);
    let mut client = shim.connect();
    for _ in 0..2 {
        client.send(get_with("/", "x-push-invalidation: enabled\r\n"));
        assert_eq!(client.head(), "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n");
        assert_eq!(client.head(), "HTTP/1.1 102 Processing\r\n\r\n");
        let (head, body) = client.response();
        assert_eq!((status(&head), body.as_str()), (404, "no"));
        assert!(!head.contains("link") && !head.contains("max-age=99"), "{head}");
    }
    assert_eq!(origin.connections(), 1);
    // Without end they are no response either.
    unusable("HTTP/1.1 100 Continue\r\n\r\n".repeat(50) + "evil");
}
