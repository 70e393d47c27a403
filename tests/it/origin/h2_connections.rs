//! Connections to origins: their version of HTTP, and when they are opened and closed.

use crate::harness::authority::Authority;
use crate::harness::h2::Client;
use crate::harness::h2_origin::{Frames, http2, ok, to_the_end};
use crate::harness::in_process::{Shim, config, site};
use crate::harness::scripted::Origin;
use crate::harness::wire::{LIMIT, get, get_with, nowhere, status};
use origin_shim::config::{OriginCheck, OriginProtocol};
use rcgen::ExtendedKeyUsagePurpose;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SOON: Duration = Duration::from_millis(50);

/// Starts an https origin that offers these versions, and answers in the version that the client uses.
fn choosing(authority: &Authority, versions: &[&str]) -> (SocketAddr, Arc<AtomicUsize>) {
    let (certificate, key) = authority.sign("inner.test", ExtendedKeyUsagePurpose::ServerAuth);
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(certificate)], key)
        .unwrap();
    config.alpn_protocols = versions.iter().map(|version| version.as_bytes().to_vec()).collect();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, connections) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&connections);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            counted.fetch_add(1, Ordering::SeqCst);
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream.unwrap());
            std::thread::spawn(move || {
                let mut head = vec![0; 24];
                if stream.read_exact(&mut head).is_err() {
                    return;
                }
                if head.starts_with(b"PRI * HTTP/2.0") {
                    return serve_http2(stream);
                }
                loop {
                    let mut byte = [0];
                    while !head.ends_with(b"\r\n\r\n") {
                        match stream.read_exact(&mut byte) {
                            Ok(()) => head.push(byte[0]),
                            Err(_) => return,
                        }
                    }
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhttp/1");
                    head.clear();
                }
            });
        }
    });
    (address, connections)
}

/// Answers every request with `http/2`, frame by frame.
fn serve_http2(stream: StreamOwned<ServerConnection, TcpStream>) {
    let mut peer = Client::over(stream);
    peer.send(crate::harness::h2::frame(crate::harness::h2::SETTINGS, 0, 0, &[]));
    while let Some((stream, _)) = peer.next_request() {
        peer.respond(stream, &[(":status", "200")], false);
        peer.send(crate::harness::h2::frame(
            crate::harness::h2::DATA,
            crate::harness::h2::END_STREAM,
            stream,
            b"http/2",
        ));
    }
}

#[test]
fn an_https_origin_chooses() {
    let authority = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let check = |protocol, versions: &[&str], expected: &str| {
        let (address, connections) = choosing(&authority, versions);
        let mut www = site(&[address]);
        www.origins[0].tls = true;
        www.origin.protocol = protocol;
        www.origin.tls.ca = Some(ca.clone());
        www.origin.tls.server_name = Some("inner.test".to_owned());
        www.upgrades = vec!["websocket".to_owned()];
        let shim = Shim::start(&config(vec![www]));
        let answer = |lines| shim.request(&get_with("/", lines)).1;
        for _ in 0..3 {
            assert_eq!(answer(""), expected, "{versions:?}");
        }
        assert_eq!(connections.load(Ordering::SeqCst), 1, "{versions:?}");
        if versions.contains(&"http/1.1") {
            // The origin does not grant the upgrade, but could.
            assert_eq!(answer("connection: upgrade\r\nupgrade: websocket\r\n"), "http/1", "{versions:?}");
        }
    };
    use OriginProtocol::{Http1, Http2};
    check(Http2, &["h2", "http/1.1"], "http/2");
    check(Http2, &["h2"], "http/2");
    check(Http2, &["http/1.1"], "http/1");
    check(Http2, &[], "http/1");
    check(Http1, &["h2", "http/1.1"], "http/1");
}

#[test]
fn what_asks_for_another_protocol_uses_http_1() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello";
    let origin = Origin::answering(switch);
    let mut config = http2(&[origin.address]);
    Arc::make_mut(&mut config.sites[0]).upgrades = vec!["websocket".to_owned()];
    let shim = Shim::start(&config);
    let mut client = shim.connect();
    client.send(get_with("/", "connection: upgrade\r\nupgrade: websocket\r\n"));
    assert_eq!(status(&client.head()), 101);
    assert_eq!(client.exactly(5), "hello");
}

#[test]
fn checks_speak_http_2() {
    let checked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&checked);
    let origin = Frames::playing(move |peer, _| {
        while let Some((stream, _)) = peer.next_request() {
            let well = counted.fetch_add(1, Ordering::SeqCst) >= 4;
            peer.respond(stream, &[(":status", if well { "204" } else { "503" })], true);
        }
    });
    let mut config = http2(&[origin.address]);
    Arc::make_mut(&mut config.sites[0]).origin.check = Some(OriginCheck {
        path: "/healthz".to_owned(),
        host: None,
        interval: SOON,
        status: 204,
        rise: 2,
        fall: 2,
    });
    let shim = Shim::start(&config);
    let avoided =
        "origin_shim_origin_addresses{site=\"www\",origin=\"http://origin.test\",state=\"avoided\"}";
    shim.counts(&format!("{avoided} 0"));
    crate::harness::eventually("checks succeed", || (checked.load(Ordering::SeqCst) > 6).then_some(()));
    shim.counts(&format!("{avoided} 0"));
}

#[test]
fn an_idle_connection_is_closed() {
    let (ended, seen) = std::sync::mpsc::channel();
    let ended = Mutex::new(ended);
    let origin = Frames::playing(move |peer, _| {
        while let Some((stream, _)) = peer.next_request() {
            ok(peer, stream);
        }
        let _ = ended.lock().unwrap().send(());
    });
    let mut config = http2(&[origin.address]);
    config.server.limits.origin_idle_timeout = SOON;
    let shim = Shim::start(&config);
    assert_eq!(shim.request(&get("/")).1, "ok");
    seen.recv_timeout(LIMIT).unwrap();
    assert_eq!(shim.request(&get("/")).1, "ok");
    assert_eq!(origin.connections(), 2);
}

#[test]
fn a_reload_changes_the_version() {
    let origin = Frames::playing(|peer, _| {
        while let Some((stream, _)) = peer.next_request() {
            ok(peer, stream);
        }
        to_the_end(peer);
    });
    let shim = Shim::start(&config(vec![site(&[origin.address])]));
    assert_eq!(status(&shim.request(&get("/")).0), 502);
    shim.plane.reload(&http2(&[origin.address])).unwrap();
    assert_eq!(shim.request(&get("/")).1, "ok");
}

#[test]
fn the_next_origin_gets_what_the_first_does_not_answer() {
    let silent = Frames::playing(|peer, _| to_the_end(peer));
    let good = Frames::playing(|peer, _| {
        while let Some((stream, _)) = peer.next_request() {
            ok(peer, stream);
        }
    });
    let mut config = http2(&[nowhere(), silent.address, good.address]);
    config.server.limits.origin_first_byte_timeout = SOON;
    let shim = Shim::start(&config);
    assert_eq!(shim.request(&get("/")).1, "ok");
    let put = "PUT / HTTP/1.1\r\nhost: www.example.com\r\ncontent-length: 1\r\n\r\nx";
    assert_eq!(status(&shim.request(put).0), 504, "it may have reached the origin");
}
