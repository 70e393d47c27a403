//! Reloads that change the addresses to listen on. New addresses are bound first, old ones are drained, and the others
//! stay untouched.

use crate::harness::h2;
use crate::harness::in_process::{Shim, config, site};
use crate::harness::recorder::Recorder;
use crate::harness::wire::{LIMIT, Wire, get, get_with, header};
use crate::harness::{eventually, free_address};
use origin_shim::config::{Certificate, Config};
use origin_shim::listen::ListenError;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use tempfile::TempDir;

fn listening(origin: &Recorder, addresses: &[SocketAddr]) -> Config {
    let mut config = config(vec![site(&[origin.address])]);
    config.server.listen = addresses.to_vec();
    config.server.workers = 2;
    config
}

#[test]
fn listeners_change_without_a_restart() {
    let origin = Recorder::start();
    let (first, second) = (SocketAddr::from(([127, 0, 0, 1], 0)), free_address());
    let shim = Shim::start(&listening(&origin, &[first]));
    let real = shim.address();
    let mut kept = shim.connect();
    assert_eq!(kept.request(&get("/")).1, "ok");

    shim.plane.reload(&listening(&origin, &[first, second])).unwrap();
    assert_eq!(shim.plane.addresses().plain, [real, second]);
    assert_eq!(Wire::connect(second).request(&get("/")).1, "ok");
    let (head, _) = kept.request(&get("/"));
    assert_eq!(header(&head, "connection"), None);

    // An HTTP/1.1 connection ends with its next response. An HTTP/2 one gets a GOAWAY at once.
    let mut multiplexed = h2::Client::connect(real);
    multiplexed.request(1, &h2::request("GET", "/", "www.example.com"), true);
    assert_eq!(multiplexed.status(1), 200);
    let mut other = Wire::connect(second);
    assert_eq!(other.request(&get("/")).1, "ok");
    shim.plane.reload(&listening(&origin, &[second])).unwrap();
    eventually("nobody listens there", || TcpStream::connect(real).is_err().then_some(()));
    assert_eq!(multiplexed.ended(), Some(0));
    let (head, body) = kept.request(&get("/"));
    assert_eq!((header(&head, "connection"), body.as_str()), (Some("close"), "ok"));
    assert_eq!(kept.rest(), "");
    assert_eq!(header(&other.request(&get("/")).0, "connection"), None);
    assert_eq!(shim.plane.addresses().plain, [second]);
}

#[test]
fn an_address_that_cannot_be_had_leaves_everything_as_it_was() {
    let (origin, other) = (Recorder::start(), Recorder::start());
    let shim = Shim::start(&listening(&origin, &[([127, 0, 0, 1], 0).into()]));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (free, taken) = (free_address(), taken.local_addr().unwrap());
    let refused = shim.plane.reload(&listening(&other, &[free, taken])).unwrap_err();
    assert!(matches!(refused, ListenError::Bind { address, .. } if address == taken), "{refused:?}");
    assert_eq!(shim.request(&get("/")).1, "ok");
    assert!(TcpStream::connect(free).is_err());
    assert_eq!((origin.connections(), other.connections()), (1, 0));
}

#[test]
fn the_first_tls_listener_may_come_later() {
    let origin = Recorder::start();
    let shim = Shim::start(&listening(&origin, &[([127, 0, 0, 1], 0).into()]));
    let dir = TempDir::new().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["www.example.com".to_owned()]).unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let mut config = listening(&origin, &[]);
    config.server.tls_listen = vec![([127, 0, 0, 1], 0).into()];
    assert!(matches!(shim.plane.reload(&config), Err(ListenError::Tls(_))), "without a certificate");
    config.server.certificates = vec![Certificate { cert, key }];
    shim.plane.reload(&config).unwrap();

    let address = shim.plane.addresses().tls[0];
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from("www.example.com").unwrap();
    let connection = rustls::ClientConnection::new(Arc::new(client), name).unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut stream = rustls::StreamOwned::new(connection, stream);
    stream.write_all(get_with("/", "connection: close\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
}
