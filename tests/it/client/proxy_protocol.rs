//! Load balancers that use the PROXY protocol. The address of their client replaces their own.

use crate::harness::h2;
use crate::harness::in_process::{Shim, cdn, config, site};
use crate::harness::recorder::{Recorder, all_answers};
use crate::harness::wire::{get, get_with, header, status};
use origin_shim::config::{Config, Trust};
use origin_shim::rewrite::CdnType;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 4000 80\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\x0f\xa0\0\x50";
const V2_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0";

fn balanced(origin: SocketAddr) -> Config {
    let mut config = config(vec![site(&[origin])]);
    config.server.proxy_protocol = vec!["127.0.0.1/32".parse().unwrap()];
    config
}

#[test]
fn the_client_is_the_one_that_the_header_names() {
    let long = b"PROXY TCP6 2001:db8::7 2001:db8::1 4000 80\r\n";
    for (start, client) in [
        (V1, "192.0.2.7"),
        (V2, "192.0.2.7"),
        (long.as_slice(), "2001:db8::7"),
        (V2_LOCAL, "127.0.0.1"),
        (b"PROXY UNKNOWN\r\n".as_slice(), "127.0.0.1"),
    ] {
        let origin = Recorder::start();
        let shim = Shim::start(&balanced(origin.address));
        let mut client_end = shim.connect();
        client_end.send([start, get("/").as_bytes()].concat());
        assert_eq!(client_end.response().1, "ok");
        assert_eq!(client_end.request(&get("/again")).1, "ok");
        let bytes = origin.bytes();
        assert_eq!(bytes.matches(&format!("\r\nx-forwarded-for: {client}\r\n")).count(), 2, "{bytes}");
        assert!(!bytes.contains("PROXY"), "{bytes}");
    }
}

#[test]
fn it_may_come_in_any_number_of_parts() {
    for start in [V1, V2] {
        let origin = Recorder::start();
        let shim = Shim::start(&balanced(origin.address));
        let mut client = shim.connect();
        for byte in [start, get("/").as_bytes()].concat() {
            client.send([byte]);
        }
        assert_eq!(client.response().1, "ok");
        assert!(origin.bytes().contains("\r\nx-forwarded-for: 192.0.2.7\r\n"), "{}", origin.bytes());
    }
}

#[test]
fn a_load_balancers_connection_without_a_header_is_closed() {
    let origin = Recorder::start();
    let mut config = balanced(origin.address);
    config.server.limits.handshake_timeout = Duration::from_millis(200);
    let shim = Shim::start(&config);
    for start in [
        get("/").into_bytes(),
        [b"PROXY TCP4 192.0.2.7\r\n".as_slice(), get("/").as_bytes()].concat(),
        [b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c".as_slice(), &[0; 12], get("/").as_bytes()].concat(),
        b"PROXY TCP4 192.0.2.7 198.51.".to_vec(),
        vec![],
    ] {
        assert_eq!(all_answers(&shim, &start), "", "{:?}", start.escape_ascii().to_string());
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn nobody_else_may_say_who_they_are() {
    let origin = Recorder::start();
    let mut config = balanced(origin.address);
    config.server.proxy_protocol = vec!["192.0.2.0/24".parse().unwrap()];
    let shim = Shim::start(&config);
    let answer = all_answers(&shim, [V1, get("/").as_bytes()].concat());
    assert_eq!(status(&answer), 400, "{answer}");
    assert_eq!(origin.connections(), 0);
    assert_eq!(shim.request(&get("/")).1, "ok");
}

#[test]
fn trust_by_address_means_the_named_client() {
    let origin = Recorder::start();
    let trusting = |trust: &str, proxies: &str| {
        let mut config = balanced(origin.address);
        let mut www = site(&[origin.address]);
        www.cdns = vec![cdn(CdnType::Fastly)];
        www.trust = Trust::Addresses(vec![trust.parse().unwrap()]);
        config.sites = vec![Arc::new(www)];
        config.server.trusted_proxies = vec![proxies.parse().unwrap()];
        let shim = Shim::start(&config);
        shim.health.cell("www", "fastly").set(true);
        let lines = "x-push-invalidation: enabled\r\nx-forwarded-for: 203.0.113.5\r\n";
        let mut client = shim.connect();
        client.send([V1, get_with("/", lines).as_bytes()].concat());
        let (head, _) = client.response();
        (
            header(&head, "surrogate-control").is_some(),
            origin.bytes().contains("for: 203.0.113.5, 192.0.2.7\r\n"),
        )
    };
    // The load balancer's own address is not the address of a CDN.
    assert_eq!(trusting("127.0.0.0/8", "127.0.0.0/8"), (false, false));
    assert_eq!(trusting("192.0.2.0/24", "192.0.2.0/24"), (true, true));
}

#[test]
fn it_comes_before_http2_too() {
    let origin = Recorder::start();
    let shim = Shim::start(&balanced(origin.address));
    let mut client = h2::Client::silent(shim.address());
    client.send(V2);
    client.send([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), h2::frame(h2::SETTINGS, 0, 0, b"")].concat());
    client.request(1, &h2::request("GET", "/", "www.example.com"), true);
    assert_eq!(client.status(1), 200);
    assert!(origin.bytes().contains("\r\nx-forwarded-for: 192.0.2.7\r\n"), "{}", origin.bytes());
}
