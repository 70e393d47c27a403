//! An origin that sends `103 Early Hints` before each page, behind a CDN that would mistake them for the page.

use crate::harness::http::Request;
use crate::harness::origin::{self, Exchange};
use crate::harness::shim::Shim;
use crate::harness::site::Site;
use crate::harness::varnish::Varnish;
use std::io::Write;
use std::net::SocketAddr;

/// Starts Varnish in front of the origin. If `has_shim`, a shim stands between the two, with Varnish as its CDN.
fn behind_varnish(origin: SocketAddr, has_shim: bool) -> (Varnish, Option<Shim>) {
    if !has_shim {
        return (Varnish::start(origin), None);
    }
    let (shim, varnish) = Shim::start_behind(|address| {
        let varnish = Varnish::start(address);
        let site = Site::www(origin).varnish(&varnish);
        (varnish, site)
    });
    (varnish, Some(shim))
}

#[test]
fn varnish_is_told_none_since_it_would_take_them_for_the_page() {
    let origin = origin::serve(|mut exchange: Exchange| {
        let _ = exchange.writer.write_all(b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n");
        exchange.answer(200, &[], "page");
    });
    let (varnish, _shim) = behind_varnish(origin, true);
    let answer = Request::get("/").send(varnish.address);
    assert_eq!((answer.status, answer.text()), (200, "page"));
    // If this fails, Varnish has learnt to handle interim responses, and its facts (`takes_interim`) can be changed.
    let (varnish, _) = behind_varnish(origin, false);
    assert_eq!(Request::get("/").send(varnish.address).status, 503);
}
