//! Origins that use HTTP/2: correct ones (the server of the `h2` crate, nginx), and ones that send what no correct
//! origin would.

use crate::harness::h2::{Client, DATA, END_STREAM, GOAWAY, RST_STREAM, frame};
use crate::harness::h2_origin::{Frames, OK, before, ok, to_the_end};
use crate::harness::recorder::all_answers;
use crate::harness::scripted::Origin;
use crate::harness::wire::{get, get_with, header, nowhere, status};
use std::time::Duration;

const SOON: Duration = Duration::from_millis(50);

fn before(origin: SocketAddr, limit: impl FnOnce(&mut Limits)) -> Shim {
    let mut config = http2(&[origin]);
    limit(&mut config.server.limits);
    Shim::start(&config)
}

/// Returns what a client gets from an origin that answers its first request with these frames.
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

/// A truncated body must not look complete, whatever the origin declares about it.
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
    // The error codes are NO_ERROR, CANCEL and INTERNAL_ERROR.
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
    // The body is shorter or longer than its declared length.
    check(with_length, |peer, stream| peer.send(frame(DATA, END_STREAM, stream, b"")), "\r\n\r\nhalf");
    check(with_length, |peer, stream| peer.send(frame(DATA, 0, stream, b"too much")), "\r\n\r\nhalf");
    // The connection ends.
    check(&OK, |peer, _| peer.shutdown(), "\r\n\r\n4\r\nhalf\r\n");
    // The origin reports a connection error.
    check(
        &OK,
        |peer, _| peer.send(frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 2])) && peer.shutdown(),
        "\r\n\r\n4\r\nhalf\r\n",
    );
    // The origin sends nothing more.
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
    // An origin that never sends HTTP/2 does not complete a connection, so the connect timeout applies.
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

/// GOAWAY names the last stream that the origin processes. That stream is answered, and the next one is sent
/// elsewhere, even a POST.
#[test]
fn what_goaway_leaves_out_is_sent_again() {
    for method in ["GET", "POST"] {
        let origin = Frames::playing(|peer, number| {
            let mut served = 0;
            while let Some((stream, _)) = peer.next_request() {
                served += 1;
                if number == 0 && served == 3 {
                    // The second request is not answered yet, and the third one is not processed.
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
        // The third request is sent only after the second one has arrived. Otherwise the second one could have the
        // higher stream number.
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
                // The error code is REFUSED_STREAM.
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

/// SETTINGS_MAX_CONCURRENT_STREAMS = 1.
const ONE_AT_A_TIME: [u8; 6] = [0, 3, 0, 0, 0, 1];

#[test]
fn as_many_streams_as_the_origin_takes() {
    let most = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&most);
    let origin = Frames::with_settings(&ONE_AT_A_TIME, move |peer, _| {
        let mut open = vec![];
        while let Some(next) = peer.next_answering() {
            match next.kind {
                HEADERS => {
                    open.push(next.stream);
                    seen.fetch_max(open.len(), Ordering::SeqCst);
                    // The request is answered after everything that was sent with it has been read.
                    peer.send(frame(crate::harness::h2::PING, 0, 0, b"all read"));
                }
                crate::harness::h2::PING if next.payload == b"all read" => {
                    for stream in open.drain(..) {
                        ok(peer, stream);
                    }
                }
                _ => {}
            }
        }
    });
    let shim = before(origin.address, |_| {});
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let mut client = shim.connect();
                for _ in 0..5 {
                    assert_eq!(client.request(&get("/")).1, "ok");
                }
            });
        }
    });
    assert_eq!(most.load(Ordering::SeqCst), 1);
    assert!(origin.connections() <= 20, "{}", origin.connections());
}

#[test]
fn a_burst_needs_few_connections() {
    let origin = Frames::playing(|peer, _| {
        while let Some((stream, _)) = peer.next_request() {
            ok(peer, stream);
        }
    });
    let shim = before(origin.address, |_| {});
    let mut clients: Vec<_> = (0..60).map(|_| shim.connect()).collect();
    clients.iter_mut().for_each(|client| client.send(get("/")));
    clients.iter_mut().for_each(|client| assert_eq!(client.response().1, "ok"));
    assert_eq!(origin.connections(), 1);
    shim.counts(r#"origin_shim_origin_connections_total{site="www"} 1"#);
}

/// A request that reached an origin of the `h2` crate.
struct Seen {
    head: http::request::Parts,
    body: usize,
}

/// Starts an origin that reads whole requests and answers with `length` bytes.
fn good(length: usize) -> (SocketAddr, std::sync::mpsc::Receiver<Seen>, Arc<AtomicUsize>) {
    let (tell, told) = channel();
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (tell, counted) = (tell.clone(), Arc::clone(&counted));
                tokio::spawn(async move {
                    let mut connection = ::h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::spawn(answer(request, respond, length, tell.clone(), Arc::clone(&counted)));
                    }
                });
            }
        });
    });
    (address, told, sent)
}

async fn answer(
    request: http::Request<::h2::RecvStream>,
    mut respond: ::h2::server::SendResponse<Bytes>,
    length: usize,
    tell: std::sync::mpsc::Sender<Seen>,
    sent: Arc<AtomicUsize>,
) {
    let (head, mut body) = request.into_parts();
    let mut taken = 0;
    while let Some(part) = body.data().await {
        let Ok(part) = part else { return };
        taken += part.len();
        body.flow_control().release_capacity(part.len()).unwrap();
    }
    let is_head = head.method == http::Method::HEAD;
    tell.send(Seen { head, body: taken }).unwrap();
    let response = http::Response::builder().header("content-length", length).body(()).unwrap();
    let Ok(mut stream) = respond.send_response(response, is_head || length == 0) else { return };
    let mut left = if is_head { 0 } else { length };
    while left > 0 {
        stream.reserve_capacity(left.min(16 * 1024));
        let Some(Ok(room)) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else { return };
        let part = room.min(left);
        left -= part;
        sent.fetch_add(part, Ordering::SeqCst);
        if stream.send_data(Bytes::from(vec![b'x'; part]), left == 0).is_err() {
            return;
        }
    }
}

#[test]
fn requests_say_the_same_as_in_http_1() {
    let (address, told, _) = good(2);
    let check = |host: OriginHost, request: &str, expected: &str| {
        let mut config = http2(&[address]);
        Arc::make_mut(&mut config.sites[0]).origin_host = host;
        let shim = Shim::start(&config);
        assert_eq!(status(&shim.request(request).0), 200, "{request}");
        let Seen { head, body } = told.recv_timeout(LIMIT).unwrap();
        let mut text = format!("{} {} {body}\n", head.method, head.uri);
        for (name, value) in &head.headers {
            let value = if name == "x-request-id" { "ID" } else { value.to_str().unwrap() };
            text += &format!("{name}: {value}\n");
        }
        assert_eq!(text, expected);
    };
    let ours = "via: 1.1 origin-shim\ncdn-loop: origin-shim-test\nx-request-id: ID\nx-forwarded-for: 127.0.0.1\n\
        x-forwarded-host: www.example.com\nx-forwarded-proto: http\n\
        forwarded: for=127.0.0.1;host=www.example.com;proto=http\n";
    check(
        OriginHost::Origin,
        &get_with(
            "/a//b?c=%00",
            "te: trailers\r\ncookie: a=1\r\ncookie: b=2\r\nconnection: x-hop\r\nx-hop: 1\r\nx: 1\r\n",
        ),
        &format!("GET http://origin.test/a//b?c=%00 0\ncookie: a=1\ncookie: b=2\nx: 1\n{ours}te: trailers\n"),
    );
    check(
        OriginHost::Preserve,
        "POST /p HTTP/1.1\r\nhost: www.example.com\r\nexpect: 100-continue\r\ncontent-length: 0\r\n\r\n",
        &format!("POST http://www.example.com/p 0\ncontent-length: 0\n{ours}"),
    );
    check(
        OriginHost::Literal("inner.test:8443".to_owned()),
        "PUT / HTTP/1.1\r\nhost: www.example.com\r\ncontent-length: 4\r\n\r\nbody",
        &format!("PUT http://inner.test:8443/ 4\ncontent-length: 4\n{ours}"),
    );
    check(
        OriginHost::Origin,
        "PUT / HTTP/1.1\r\nhost: www.example.com\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nx-trailer: 1\r\n\r\n",
        &format!("PUT http://origin.test/ 4\n{ours}"),
    );
    let options = "OPTIONS * HTTP/1.1\r\nhost: www.example.com\r\n\r\n";
    check(OriginHost::Origin, options, &format!("OPTIONS http://origin.test* 0\n{ours}"));
}

/// The bodies are much larger than all windows and buffers on the way, in both directions.
#[test]
fn large_bodies_stream() {
    const LARGE: usize = 48 << 20;
    let (address, told, _) = good(LARGE);
    let shim = before(address, |_| {});
    let mut client = shim.connect();
    let mut writer = client.another_end();
    let upload = std::thread::spawn(move || {
        let head = format!("PUT / HTTP/1.1\r\nhost: www.example.com\r\ncontent-length: {LARGE}\r\n\r\n");
        writer.write_all(head.as_bytes()).unwrap();
        for _ in 0..LARGE / (64 * 1024) {
            writer.write_all(&[b'y'; 64 * 1024]).unwrap();
        }
    });
    let (head, body) = client.response();
    assert_eq!((status(&head), body.len()), (200, LARGE));
    upload.join().unwrap();
    assert_eq!(told.recv_timeout(LIMIT).unwrap().body, LARGE);
}

/// A client that reads nothing delays only its own stream, and no more of this stream is in memory than its window.
#[test]
fn a_client_that_takes_nothing_stops_its_origin() {
    let (address, told, sent) = good(32 << 20);
    let shim = before(address, |limits| limits.write_timeout = Duration::from_secs(3600));
    let mut idle = shim.connect();
    idle.send(get("/"));
    idle.head();
    told.recv_timeout(LIMIT).unwrap();
    // The loop ends when nothing more arrives: the kernel's buffers are full, and then the window.
    let mut before = usize::MAX;
    crate::harness::eventually("the origin waits", || {
        std::thread::sleep(Duration::from_millis(200));
        let now = sent.load(Ordering::SeqCst);
        (std::mem::replace(&mut before, now) == now).then_some(())
    });
    assert!(before < 24 << 20, "{before} bytes were taken from the origin");
    assert_eq!(shim.request(&get("/")).1.len(), 32 << 20);
}

#[test]
fn an_upload_waits_for_the_origin() {
    // SETTINGS_INITIAL_WINDOW_SIZE = 10.
    let origin = Frames::with_settings(&[0, 4, 0, 0, 0, 10], |peer, _| {
        let (stream, _) = peer.next_request().unwrap();
        let mut body = vec![];
        while let Some(next) = peer.next_answering() {
            if next.kind != DATA {
                continue;
            }
            assert!(next.payload.len() <= 10);
            body.extend(&next.payload);
            if next.flags & END_STREAM != 0 {
                peer.respond(stream, &OK, false);
                peer.send(frame(DATA, END_STREAM, stream, &body));
            } else if body.len() % 10 == 0 {
                peer.send(frame(WINDOW_UPDATE, 0, stream, &[0, 0, 0, 10]));
            }
        }
    });
    let shim = before(origin.address, |_| {});
    let body = "0123456789".repeat(10) + "end";
    let length = body.len();
    let request =
        format!("PUT / HTTP/1.1\r\nhost: www.example.com\r\ncontent-length: {length}\r\n\r\n{body}");
    assert_eq!(shim.request(&request).1, body);
}

#[test]
fn a_client_that_breaks_off_its_body_is_told() {
    let origin = Frames::playing(|peer, _| {
        let (stream, _) = peer.next_request().unwrap();
        let reset = peer.next_of(stream, |frame| frame.kind == RST_STREAM).unwrap();
        assert_eq!(reset.payload, [0, 0, 0, 8]);
        let (stream, _) = peer.next_request().unwrap();
        ok(peer, stream);
        to_the_end(peer);
    });
    let shim = before(origin.address, |_| {});
    let mut client = shim.connect();
    client.send(
        "PUT / HTTP/1.1\r\nhost: www.example.com\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart\r\nzz\r\n",
    );
    assert_eq!(status(&client.head()), 400);
    assert_eq!(shim.request(&get("/")).1, "ok");
    assert_eq!(origin.connections(), 1);
}

#[test]
fn places_are_limited_there_too() {
    let (address, _told, _) = good(2);
    let mut config = http2(&[address]);
    Arc::make_mut(&mut config.sites[0]).origin.connections = 1;
    let shim = Shim::start(&config);
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| assert_eq!(shim.request(&get("/")).1, "xx"));
        }
    });
}

/// nginx ends a connection with GOAWAY after ten requests, and no client notices.
#[test]
fn nginx_in_http_2() {
    let nginx = Nginx::start_http2(10);
    nginx.publish_zeros("/large.bin", 64 << 20);
    let shim = before(nginx.address, |_| {});
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = shim.connect();
                for _ in 0..50 {
                    let (head, body) = client.request(&get("/products/42.html"));
                    assert_eq!(body, "/products/42.html 1", "{head}");
                }
            });
        }
    });
    let (head, _) = shim.request(&get("/products/42.html"));
    let etag = header(&head, "etag").unwrap();
    let (head, _) = shim.request(&get_with("/products/42.html", &format!("if-none-match: {etag}\r\n")));
    assert_eq!(status(&head), 304);
    assert_eq!(status(&shim.request(&get("/gone")).0), 410);
    assert_eq!(shim.request(&get("/large.bin")).1.len(), 64 << 20);
}
