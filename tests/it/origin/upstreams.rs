//! Several origins: which one is tried when, how many requests each has at a time, and TLS towards them.

use crate::harness::authority::Authority;
use crate::harness::eventually;
use crate::harness::in_process::{Shim, config, site};
use crate::harness::scripted::Origin;
use crate::harness::wire::{LIMIT, get, header, nowhere, status};
use origin_shim::config::{Certificate, Limits, OriginCheck};
use rcgen::ExtendedKeyUsagePurpose;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

const SOON: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(3600);
const PUT: &str = "PUT / HTTP/1.1\r\nhost: www.example.com\r\ncontent-length: 1\r\n\r\nx";

/// Starts an origin that reads a request, sends these bytes and ends the connection.
fn ending_with(bytes: &'static str) -> Origin {
    Origin::playing(move |served| {
        served.request();
        served.wire.send(bytes);
        served.wire.shutdown();
    })
}

/// Starts an origin that reads requests and sends nothing.
fn silent() -> Origin {
    Origin::playing(|served| {
        served.request();
        served.wire.rest();
    })
}

fn before(origins: &[&Origin], limit: impl FnOnce(&mut Limits)) -> Shim {
    let addresses: Vec<_> = origins.iter().map(|origin| origin.address).collect();
    let mut www = site(&addresses);
    for origin in &mut www.origins {
        origin.authority = format!("{}:{}", origin.host, origin.port);
    }
    let mut config = config(vec![www]);
    limit(&mut config.server.limits);
    Shim::start(&config)
}

/// Waits until `count` addresses of an origin are in this state.
fn has(shim: &Shim, origin: &Origin, state: &str, count: usize) {
    let labels = format!("site=\"www\",origin=\"http://{}\",state=\"{state}\"", origin.address);
    shim.counts(&format!("origin_shim_origin_addresses{{{labels}}} {count}"));
}

#[test]
fn what_got_no_answer_goes_to_one_more_origin_if_nothing_can_happen_twice() {
    let (gone, good) = (ending_with(""), Origin::ok());
    let shim = before(&[&gone, &good], |_| {});
    for request in [get("/"), get("/").replace("GET", "HEAD"), get("/").replace("GET", "OPTIONS")] {
        let mut client = shim.connect();
        client.send(&request);
        assert_eq!(status(&client.head()), 200, "{request}");
        let (first, second) = (gone.received(), good.received());
        let told = first.replace(&gone.address.to_string(), &good.address.to_string());
        assert_eq!(told, second, "the same request");
    }
    for request in [PUT, &get("/").replace("GET", "POST"), &get("/").replace("GET", "DELETE")] {
        assert_eq!(status(&shim.request(request).0), 502, "{request}");
        assert!(good.received_nothing(), "{request}");
    }
    // No other origin is tried after a byte of a response has arrived.
    let (begun, good) = (ending_with("HTTP/1.1 2"), Origin::ok());
    assert_eq!(status(&before(&[&begun, &good], |_| {}).request(&get("/")).0), 502);
    assert_eq!(good.connections(), 0);
    // A request is sent at most twice.
    let (first, second, third) = (ending_with(""), ending_with(""), Origin::ok());
    assert_eq!(status(&before(&[&first, &second, &third], |_| {}).request(&get("/")).0), 502);
    assert_eq!((first.connections(), second.connections(), third.connections()), (1, 1, 0));
}

#[test]
fn an_origin_that_does_not_answer_in_time_is_avoided_and_tried_again_later() {
    let well = Arc::new(AtomicBool::new(false));
    let first = Origin::playing({
        let well = Arc::clone(&well);
        move |served| {
            while served.request().is_some() {
                if well.load(Ordering::SeqCst) {
                    served.wire.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfirst");
                } else {
                    served.wire.rest();
                }
            }
        }
    });
    let second = Origin::ok();
    let timeouts = |fail_timeout| {
        move |limits: &mut Limits| {
            limits.origin_first_byte_timeout = SOON;
            limits.origin_max_fails = 2;
            limits.origin_fail_timeout = fail_timeout;
        }
    };
    let shim = before(&[&first, &second], timeouts(LONG));
    has(&shim, &first, "avoided", 0);
    for _ in 0..2 {
        assert_eq!(shim.request(&get("/")).1, "ok");
    }
    has(&shim, &first, "avoided", 1);
    has(&shim, &second, "used", 1);
    // No request waits for the first origin any more, so requests that cannot be repeated succeed, too.
    assert_eq!(shim.request(PUT).1, "ok");
    assert_eq!(first.connections(), 2);

    let shim = before(&[&first, &second], timeouts(SOON));
    for _ in 0..2 {
        shim.request(&get("/"));
    }
    well.store(true, Ordering::SeqCst);
    eventually("it is tried again", || (shim.request(&get("/")).1 == "first").then_some(()));
    has(&shim, &first, "avoided", 0);
}

#[test]
fn the_last_one_is_used_however_it_does() {
    let silent = silent();
    let shim = before(&[&silent], |limits| {
        limits.origin_first_byte_timeout = SOON;
        limits.origin_max_fails = 1;
        limits.origin_fail_timeout = LONG;
    });
    for _ in 0..3 {
        assert_eq!(status(&shim.request(&get("/")).0), 504);
    }
    assert_eq!(silent.connections(), 3);
    has(&shim, &silent, "avoided", 1);
    // Several origins that all fail are used in their order.
    let mut www = site(&[nowhere(), nowhere()]);
    let good = Origin::ok();
    www.origins.extend(site(&[good.address]).origins);
    let mut config = config(vec![www]);
    config.server.limits.origin_max_fails = 1;
    let shim = Shim::start(&config);
    for _ in 0..3 {
        assert_eq!(shim.request(PUT).1, "ok");
    }
    shim.counts(r#"origin_shim_origin_errors_total{site="www",kind="connect"} 2"#);
}

#[test]
fn checks_find_out_before_requests_do() {
    let (ill, asked) = (Arc::new(AtomicBool::new(true)), channel());
    let (tell, asked) = (Mutex::new(asked.0), asked.1);
    let first = Origin::playing({
        let ill = Arc::clone(&ill);
        move |served| {
            while let Some((head, _)) = served.request() {
                let is_check = head.starts_with("GET /healthz?x ");
                let status = if is_check && ill.load(Ordering::SeqCst) { 503 } else { 204 };
                if is_check {
                    let _ = tell.lock().unwrap().send(head);
                }
                served.wire.send(format!("HTTP/1.1 {status} x\r\n\r\n"));
            }
        }
    });
    let second = Origin::ok();
    let mut www = site(&[first.address, second.address]);
    for origin in &mut www.origins {
        origin.authority = format!("{}:{}", origin.host, origin.port);
    }
    www.origin.check = Some(OriginCheck {
        path: "/healthz?x".to_owned(),
        host: None,
        interval: SOON,
        status: 204,
        rise: 2,
        fall: 2,
    });
    let shim = Shim::start(&config(vec![www]));
    has(&shim, &first, "avoided", 1);
    // The second origin answers 200, which is not the expected status. The first one is no better, so requests go to
    // it again.
    has(&shim, &second, "avoided", 1);
    assert_eq!(status(&shim.request(&get("/")).0), 204);
    let check = asked.recv_timeout(LIMIT).unwrap();
    assert_eq!(
        check,
        format!(
            "GET /healthz?x HTTP/1.1\r\nhost: {}\r\nuser-agent: origin-shim\r\nconnection: close\r\n\r\n",
            first.address
        )
    );
    ill.store(false, Ordering::SeqCst);
    has(&shim, &first, "avoided", 0);
}

#[test]
fn an_origin_has_so_many_requests_at_a_time() {
    let (under_way, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let origin = Origin::playing({
        let (under_way, most) = (Arc::clone(&under_way), Arc::clone(&most));
        move |served| {
            while served.request().is_some() {
                most.fetch_max(under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(2));
                under_way.fetch_sub(1, Ordering::SeqCst);
                served.wire.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            }
        }
    });
    let mut www = site(&[origin.address]);
    www.origin.connections = 3;
    let mut config = config(vec![www]);
    config.server.workers = 2;
    config.server.limits.origin_queue_timeout = LIMIT;
    let shim = Shim::start(&config);
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                let mut client = shim.connect();
                for _ in 0..5 {
                    assert_eq!(client.request(&get("/")).1, "ok");
                }
            });
        }
    });
    assert_eq!(most.load(Ordering::SeqCst), 3);
    assert!(origin.connections() <= 6, "{} connections: idle ones of either worker", origin.connections());
}

#[test]
fn whoever_waits_too_long_for_an_origin_is_told_to_come_back() {
    let (go, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let origin = Origin::playing(move |served| {
        while served.request().is_some() {
            served.wire.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no");
            let _ = gate.lock().unwrap().recv();
            served.wire.send("k");
        }
    });
    let mut www = site(&[origin.address]);
    www.origin.connections = 1;
    let mut config = config(vec![www]);
    config.server.limits.origin_queue_timeout = SOON;
    let shim = Shim::start(&config);
    let mut first = shim.connect();
    first.send(get("/"));
    let head = first.head();
    // The response is incomplete, so its request still occupies the origin.
    let (refused, _) = shim.request(&get("/"));
    assert_eq!((status(&refused), header(&refused, "retry-after")), (503, Some("1")));
    assert_eq!(header(&refused, "proxy-status"), Some("origin-shim; error=connection_limit_reached"));
    assert_eq!(header(&refused, "cache-control"), Some("no-store"));
    shim.counts(r#"origin_shim_origin_errors_total{site="www",kind="full"} 1"#);
    go.send(()).unwrap();
    assert_eq!(first.body(&head), "ok");
    // A client that leaves makes room, too.
    let mut second = shim.connect();
    second.send(get("/"));
    second.head();
    second.shutdown();
    drop(go);
    eventually("there is room again", || (status(&shim.request(&get("/")).0) == 200).then_some(()));
}

#[test]
fn an_origin_that_closes_its_connections_gets_new_ones() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok");
    let shim = Shim::before(&origin);
    for count in 1..=3 {
        assert_eq!(shim.request(&get("/")).1, "ok");
        assert_eq!(origin.connections(), count);
    }
    shim.counts(r#"origin_shim_origin_connections_total{site="www"} 3"#);
    assert!(!shim.metrics.render().contains("origin_retries_total{"));
}

/// Starts an https origin that requires a certificate of `clients`. Returns its address, and the server names that
/// clients requested.
fn secure_origin(servers: &Authority, clients: &Authority) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let (certificate, key) = servers.sign("inner.test", ExtendedKeyUsagePurpose::ServerAuth);
    let mut roots = RootCertStore::empty();
    roots.add(clients.issuer.der().clone()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![CertificateDer::from(certificate)],
            PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let (address, names) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<String>>>::default());
    let told = Arc::clone(&names);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream.unwrap());
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                head.push(byte[0]);
            }
            told.lock().unwrap().extend(stream.conn.server_name().map(str::to_owned));
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok");
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    (address, names)
}

#[test]
fn https_origins_of_an_own_authority_with_a_client_certificate_and_another_name() {
    let (servers, clients, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let (address, names) = secure_origin(&servers, &clients);
    let dir = TempDir::new().unwrap();
    let file = |name: &str, text: String| -> PathBuf {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let certificate = |name: &str, authority: &Authority| {
        let (certificate, key) = authority.sign("shim.test", ExtendedKeyUsagePurpose::ClientAuth);
        Certificate {
            cert: file(&format!("{name}.pem"), certificate.pem()),
            key: file(&format!("{name}.key"), key.serialize_pem()),
        }
    };
    let mut www = site(&[address]);
    www.origins[0].tls = true;
    www.origin.tls.ca = Some(file("ca.pem", servers.pem()));
    www.origin.tls.certificate = Some(certificate("shim", &clients));
    www.origin.tls.server_name = Some("inner.test".to_owned());
    let answer = |www: &origin_shim::config::Site| {
        let (head, _) = Shim::start(&config(vec![www.clone()])).request(&get("/"));
        (status(&head), header(&head, "proxy-status").map(str::to_owned))
    };
    let refused = (502, Some("origin-shim; error=tls_protocol_error".to_owned()));
    assert_eq!(answer(&www), (200, None));
    assert_eq!(*names.lock().unwrap(), ["inner.test"]);

    let mut wrong = www.clone();
    wrong.origin.tls.server_name = Some("other.test".to_owned());
    assert_eq!(answer(&wrong), refused);
    // Without a server name, the address is verified, which the certificate does not cover.
    wrong.origin.tls.server_name = None;
    assert_eq!(answer(&wrong), refused);
    let mut wrong = www.clone();
    wrong.origin.tls.ca = Some(file("strangers.pem", strangers.pem()));
    assert_eq!(answer(&wrong), refused);
    // In TLS 1.3 a client learns only later that its certificate is refused.
    for certificate in [None, Some(certificate("stranger", &strangers))] {
        let mut wrong = www.clone();
        wrong.origin.tls.certificate = certificate;
        assert_eq!(answer(&wrong).0, 502);
    }

    // A reload uses another certificate for new connections, and refuses unusable files.
    let shim = Shim::start(&config(vec![wrong]));
    assert_eq!(status(&shim.request(&get("/")).0), 502);
    shim.plane.reload(&config(vec![www.clone()])).unwrap();
    assert_eq!(status(&shim.request(&get("/")).0), 200);
    std::fs::write(dir.path().join("ca.pem"), "nothing").unwrap();
    let error = shim.plane.reload(&config(vec![www])).unwrap_err();
    let said = origin_shim::base::with_causes(&error);
    assert!(said.contains("TLS towards its origins cannot be set up: there is no certificate in "), "{said}");
    assert_eq!(status(&shim.request(&get("/")).0), 200);
}
