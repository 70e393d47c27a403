//! The signs of a shim's health. They are green only while purges are accepted and arrive.

use super::Cdns;
use crate::harness::http::Request;
use crate::harness::shim::Shim;
use crate::harness::{eventually, origin::Page};
use std::fmt;

/// Returns the reasons for which `/readyz` reports a degraded state, or none if all is green.
pub fn degraded(shim: &Shim) -> Vec<String> {
    let ready = Request::get("/readyz").send(shim.admin);
    assert_eq!(ready.status, 200, "the proxy goes on: {}", ready.text());
    let reasons = ready.json()["degraded"].as_array().unwrap().clone();
    reasons.iter().map(|reason| reason.as_str().unwrap().to_owned()).collect()
}

/// Whether `/readyz`, the metric and the lifetimes say that every CDN can be purged. They are asked one after the
/// other, so one that says otherwise is enough.
pub fn is_green(shim: &Shim) -> bool {
    let metrics = Request::get("/metrics").send(shim.admin);
    let unhealthy = |line: &str| line.starts_with("origin_shim_purge_healthy{") && line.ends_with(" 0");
    let lifetime = shim.as_cdn("fastly", "/");
    lifetime.header("surrogate-control") != "max-age=60"
        && !metrics.text().lines().any(unhealthy)
        && degraded(shim).is_empty()
}

/// Waits until all is green, or the store is reported to fail. Returns whether it is green.
pub fn settled(shim: &Shim) -> bool {
    eventually("it is known how the store stands", || {
        if is_green(shim) {
            return Some(true);
        }
        degraded(shim).iter().any(|reason| reason.contains("the store")).then_some(false)
    })
}

/// A shim in front of a page, with every CDN and room for a store that is to be harmed. Fastly gets repeats after this
/// long.
pub fn shim(cdns: &Cdns, repeat_after: &str) -> Shim {
    let page = Page::default();
    page.set(200, &[("cache-control", "max-age=60")], "page");
    Shim::start(cdns.site(page.serve(), "max_purge_lag = \"1h\"", repeat_after))
}

/// A row of the fault matrix.
#[derive(Default)]
pub struct Row {
    /// Purges that got a 202.
    pub accepted: usize,
    /// Purges that got another answer or none.
    pub refused: usize,
    /// The number of refused purges after which all was green.
    pub green_while_refused: usize,
    /// Whether all was green before the first purge, and after the last.
    pub green: (bool, bool),
}

impl Row {
    /// Requests purges and pages, and checks the health after each refused purge.
    pub fn watch(shim: &Shim, client: &super::Client, purges: usize) -> Self {
        let mut row = Self { green: (is_green(shim), false), ..Self::default() };
        for _ in 0..purges {
            match client.purge() {
                Some(202) => row.accepted += 1,
                _ => {
                    row.refused += 1;
                    row.green_while_refused += usize::from(is_green(shim));
                }
            }
            let page = Request::get("/").send(shim.address);
            assert_eq!((page.status, page.text()), (200, "page"), "proxying goes on");
        }
        row.green.1 = is_green(shim);
        row
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let green = |green| if green { "green" } else { "not green" };
        let Self { accepted, refused, green_while_refused, green: (before, after) } = self;
        write!(
            f,
            "{accepted} accepted, {refused} refused; {} before, {green_while_refused} of {refused} green while refused, {} after",
            green(*before),
            green(*after)
        )
    }
}
