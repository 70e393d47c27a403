//! Pages with more tags than a header usually has, as Drupal and Magento send them. Varnish with the VCL that the
//! project ships and the shim are real.

use crate::harness::http::Request;
use crate::harness::origin;
use crate::harness::shim::Shim;
use crate::harness::site::Site;
use crate::harness::varnish::Varnish;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Two days, the default lifetime at the edge.
const LONG: u64 = 172_800;
/// The lifetime that the origin gives, which what cannot be purged keeps.
const SHORT: u64 = 60;

/// The tags of a Drupal page that lists everything: about 22 KiB.
fn drupal() -> String {
    let nodes = (10_000..11_500).map(|node| format!("node:{node}"));
    let site =
        ["rendered", "http_response", "config:system.site", "config:views.view.front"].map(str::to_owned);
    nodes.chain(site).collect::<Vec<_>>().join(" ")
}

/// The tags of a Magento category: about 10 KiB.
fn magento() -> String {
    (0..1_100).map(|product| format!("cat_p_{product}")).collect::<Vec<_>>().join(",")
}

struct Chain {
    shim: Shim,
    varnish: Varnish,
    version: Arc<AtomicU32>,
}

impl Chain {
    /// Starts Varnish in front of the shim with these tables of the site and keys of its CDN, and an origin whose
    /// pages have the tags of one of the systems.
    fn start(tables: &str, cdn: &str) -> Self {
        let version = Arc::new(AtomicU32::new(1));
        let now = Arc::clone(&version);
        let origin = origin::serve(move |mut exchange| {
            let target = exchange.asked.line.split(' ').nth(1).unwrap_or_default();
            let (name, tags) = match target {
                "/drupal" => ("X-Drupal-Cache-Tags", drupal()),
                "/magento" => ("X-Magento-Tags", magento()),
                "/huge" => ("Cache-Tags", (0..200 * 64).map(|tag| format!("{tag:015} ")).collect()),
                _ => ("Cache-Tags", "other".to_owned()),
            };
            let headers = [(name.to_owned(), tags), ("Cache-Control".to_owned(), "max-age=60".to_owned())];
            exchange.answer(200, &headers, &now.load(Ordering::Relaxed).to_string());
        });
        let (shim, varnish) = Shim::start_behind(|address| {
            let varnish = Varnish::start(address);
            let cdn = format!("type = \"varnish\"\napi_urls = [\"http://{}\"]\n{cdn}", varnish.address);
            let limits = "[server.limits]\norigin_header_bytes = 262144\n";
            let site = Site::www(origin).tables(tables).cdn(&cdn);
            (varnish, format!("{site}{limits}"))
        });
        shim.wait_until_healthy();
        Self { shim, varnish, version }
    }

    fn see(&self, target: &str) -> String {
        let answer = Request::get(target).send(self.varnish.address);
        assert_eq!(answer.status, 200, "{target}: {answer:?}");
        format!("{} {}", answer.header("x-cache"), answer.text())
    }

    /// Brings the pages into the cache, changes them, and purges.
    fn after(&self, targets: &[&str], purge: &Value) -> Value {
        for target in targets {
            self.see(target);
            assert!(self.see(target).starts_with("HIT "), "{target}");
        }
        self.version.fetch_add(1, Ordering::Relaxed);
        self.shim.purge(purge)
    }

    fn is_fresh(&self, target: &str) -> bool {
        self.see(target) == format!("MISS {}", self.version.load(Ordering::Relaxed))
    }
}

#[test]
fn every_tag_of_a_long_list_purges_its_page() {
    for cdn in ["", "tag_form = \"short\""] {
        let chain = Chain::start("", cdn);
        for (target, tags) in [
            ("/drupal", ["node:10000", "node:11499", "config:system.site"]),
            ("/magento", ["cat_p_0", "cat_p_777", "cat_p_1099"]),
        ] {
            for tag in tags {
                chain.after(&[target, "/other"], &json!({"tags": [tag]}));
                assert!(chain.is_fresh(target), "{cdn}: {tag}");
                assert!(chain.see("/other").starts_with("HIT "), "{cdn}: {tag}");
                assert_eq!(chain.varnish.ttl_of(target), LONG);
            }
            chain.after(&[target], &json!({"paths": [target]}));
            assert!(chain.is_fresh(target), "{cdn}: {target}");
        }
        chain.after(&["/drupal", "/other"], &json!({"everything": true}));
        assert!(chain.is_fresh("/drupal") && chain.is_fresh("/other"));
    }
}

#[test]
fn a_broad_tag_is_not_sent_and_purges_everything() {
    let chain = Chain::start("[sites.tags]\nbroad = [\"rendered\", \"config:*\"]", "");
    let answer = chain.after(&["/drupal", "/other"], &json!({"tags": ["config:views.view.front"]}));
    assert!(chain.is_fresh("/drupal") && chain.is_fresh("/other"));
    let told = answer["jobs"][0]["fallback"].to_string();
    assert!(told.contains("sites.tags.broad"), "{answer}");
    chain.after(&["/drupal", "/other"], &json!({"tags": ["node:10001"]}));
    assert!(chain.is_fresh("/drupal") && chain.see("/other").starts_with("HIT "));
}

/// A list that no setting makes fit gets a short lifetime, and the metrics show why.
#[test]
fn a_head_of_200_kib_is_read_and_its_page_lives_shortly() {
    let chain = Chain::start("", "");
    assert!(chain.see("/huge").starts_with("MISS "));
    assert_eq!(chain.varnish.ttl_of("/huge"), SHORT);
    let answer = chain.shim.call(Request::get("/metrics"));
    let metrics = answer.text();
    let told = metrics.lines().find(|line| line.contains("reason=\"tags-too-large\""));
    assert!(told.is_some_and(|line| line.ends_with(" 1")), "{told:?}");
}
