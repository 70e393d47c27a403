//! Requests that run in a loop, and requests that only pass several shims (RFC 8586). They pass through the real
//! program, and through Varnish with the VCL that the project ships, which drops `CDN-Loop` fields of visitors.

use crate::harness::free_address;
use crate::harness::http::Request;
use crate::harness::scripted::Origin;
use crate::harness::shim::Shim;
use crate::harness::site::Site;
use crate::harness::varnish::Varnish;
use crate::harness::wire::header;
use std::net::SocketAddr;

fn before(origin: SocketAddr) -> Site {
    Site::www(origin).keys("origin_host = \"preserve\"")
}

/// Returns the names of shims in the `CDN-Loop` lines that reached the origin.
fn names(received: &str) -> Vec<String> {
    let lines = received.lines().filter_map(|line| line.strip_prefix("cdn-loop: "));
    lines.flat_map(|line| line.split(',')).map(|name| name.trim().to_owned()).collect()
}

#[test]
fn shims_of_several_installations_in_a_row_are_no_circle() {
    let origin = Origin::ok();
    let mut inner = Shim::start(before(origin.address));
    let edge = Varnish::start(inner.address);
    let outer = Shim::start(before(edge.address));
    let outermost = Shim::start(before(outer.address));
    // Each request is for another page, because Varnish would cache a repeated one.
    let passed = |page: &str| {
        let forged = [("cdn-loop", "Fastly, origin-shim, cloudflare; loops=1")];
        let answer = Request::get(page).headers(&forged).send(outermost.address);
        assert_eq!((answer.status, answer.text()), (200, "ok"));
        names(&origin.received())
    };
    let first = passed("/1");
    assert_eq!(first.len(), 3, "{first:?}");
    assert!(first.iter().all(|name| name.starts_with("origin-shim-") && name.len() == 28), "{first:?}");
    assert!(first[0] != first[1] && first[1] != first[2] && first[0] != first[2], "{first:?}");
    // The store keeps the name of the shim.
    inner.kill();
    inner.start_again();
    assert_eq!(passed("/2"), first);
    // Each shim recognises its own name anywhere in the list.
    for name in &first {
        let looped = [("cdn-loop", format!("a, {name};x=y"))];
        let looped = [(looped[0].0, looped[0].1.as_str())];
        assert_eq!(Request::get("/").headers(&looped).send(outermost.address).status, 508, "{name}");
    }
}

#[test]
fn a_circle_through_the_edge_ends() {
    let address = free_address();
    let edge = Varnish::start(address);
    let shim = Shim::try_start(address, before(edge.address)).unwrap();
    for target in [shim.address, edge.address] {
        let answer = Request::get("/").send(target);
        assert_eq!(answer.status, 508, "{answer:?}");
    }
}

#[test]
fn an_installation_has_the_name_that_it_is_given() {
    let origin = Origin::ok();
    let named = Shim::start(format!("[server.limits]\norigin_pool_size = 1\n{}", before(origin.address)));
    named.edit("workers = 2", "workers = 2\nid = \"shop-eu\"");
    named.hang_up();
    crate::harness::eventually("the reload", || {
        assert_eq!(Request::get("/").send(named.address).status, 200);
        (header(&origin.received(), "cdn-loop") == Some("origin-shim-shop-eu")).then_some(())
    });
    let looped = [("cdn-loop", "origin-shim-shop-eu")];
    assert_eq!(Request::get("/").headers(&looped).send(named.address).status, 508);
}
