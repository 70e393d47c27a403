//! The main promise: the CDN gets a long TTL, and the new page after a purge. Varnish, the shim and nginx are
//! real.

use crate::harness::chain::Chain;
use crate::harness::eventually;
use serde_json::{Value, json};

const PAGES: [&str; 4] = ["/", "/products/42.html", "/products/43.html", "/blog/first.html"];
const TWO_DAYS: u64 = 2 * 24 * 60 * 60;

/// Publishes version `version` of every page.
fn publish(chain: &Chain, version: u32) {
    for page in PAGES {
        let file = if page == "/" { "/index.html" } else { page };
        chain.nginx.publish(file, &format!("{page} {version}"));
    }
}

/// Brings version `version` of every page into the cache, then publishes the next one.
fn cache_then_publish(chain: &Chain, version: u32) {
    publish(chain, version);
    chain.shim.purge(&json!({"everything": true, "mode": "hard"}));
    for page in PAGES {
        assert_eq!(chain.see(page), format!("MISS {page} {version}"));
        assert_eq!(chain.see(page), format!("HIT {page} {version}"));
    }
    publish(chain, version + 1);
}

#[test]
fn a_page_is_cached_for_days_and_tells_browsers_what_the_origin_says() {
    let chain = Chain::start("");
    assert_eq!(chain.see("/products/42.html"), "MISS /products/42.html 1");
    assert_eq!(chain.see("/products/42.html"), "HIT /products/42.html 1");
    assert_eq!(chain.varnish.ttl_of("/products/42.html"), TWO_DAYS, "although nginx says one second");

    let visitors = chain.visit("/products/42.html");
    assert_eq!(visitors.header("cache-control"), "max-age=1");
    assert_eq!(visitors.header("xkey"), "");
    assert_eq!(visitors.header("surrogate-control"), "");

    let cdns = chain.shim.as_cdn("varnish", "/products/42.html");
    assert_eq!(cdns.header("surrogate-control"), "max-age=172800");
    assert!(cdns.header("xkey").split(' ').any(|tag| tag == "product-42"), "{cdns:?}");
}

#[test]
fn every_kind_of_purge_brings_the_new_page_and_leaves_the_others() {
    let table: [(Value, &[&str]); 6] = [
        (json!({"urls": ["http://www.example.test/products/42.html"]}), &["/products/42.html"]),
        (json!({"paths": ["/products/42.html"]}), &["/products/42.html"]),
        (json!({"tags": ["product-42"]}), &["/", "/products/42.html"]),
        (json!({"prefixes": ["/products/"]}), &["/products/42.html", "/products/43.html"]),
        (
            json!({"tags": ["blog"], "paths": ["/products/43.html"]}),
            &["/blog/first.html", "/products/43.html"],
        ),
        (json!({"everything": true}), &PAGES),
    ];
    let chain = Chain::start("");
    let mut version = 10;
    for mode in ["hard", "soft"] {
        for (body, fresh) in &table {
            cache_then_publish(&chain, version);
            let mut body = body.clone();
            body["mode"] = mode.into();
            chain.shim.purge(&body);
            for page in PAGES {
                let expected = if fresh.contains(&page) {
                    format!("MISS {page} {}", version + 1)
                } else {
                    format!("HIT {page} {version}")
                };
                assert_eq!(chain.see(page), expected, "{page} after {body}");
            }
            version += 10;
        }
    }
}

#[test]
fn a_path_is_purged_with_every_query_and_a_url_with_its_own() {
    let chain = Chain::start("");
    let targets = ["/products/42.html", "/products/42.html?a=1", "/products/42.html?b=2"];
    let visit = |expected: [&str; 3]| {
        for (target, expected) in targets.into_iter().zip(expected) {
            assert_eq!(chain.see(target), expected, "{target}");
        }
    };
    visit(["MISS /products/42.html 1"; 3]);
    chain.nginx.publish("/products/42.html", "second");
    chain.shim.purge(&json!({"urls": ["http://www.example.test/products/42.html?a=1"]}));
    visit(["HIT /products/42.html 1", "MISS second", "HIT /products/42.html 1"]);
    chain.nginx.publish("/products/42.html", "third");
    chain.shim.purge(&json!({"paths": ["/products/42.html"]}));
    visit(["MISS third"; 3]);
}

#[test]
fn a_soft_purge_serves_the_old_page_while_the_new_one_is_fetched() {
    let chain = Chain::start("stale_while_revalidate = \"1h\"");
    cache_then_publish(&chain, 1);
    chain.shim.purge(&json!({"tags": ["product-42"], "mode": "soft"}));
    let stale = chain.visit("/products/42.html");
    assert_eq!(stale.text(), "/products/42.html 1");
    assert_eq!(stale.header("cache-control"), "no-cache", "no browser keeps the old page");
    eventually("the new page is fetched", || {
        (chain.see("/products/42.html") == "HIT /products/42.html 2").then_some(())
    });

    publish(&chain, 3);
    chain.shim.purge(&json!({"tags": ["product-42"], "mode": "hard"}));
    assert_eq!(chain.see("/products/42.html"), "MISS /products/42.html 3");
}

#[test]
fn the_answer_of_the_cdn_is_kept() {
    let chain = Chain::start("");
    let id = chain.shim.accept(&json!({"tags": ["product-42"], "reason": "publish"}));
    let purge = eventually("the purge is done", || {
        Some(chain.shim.look_up(&id)).filter(|purge| purge["state"] == "done")
    });
    assert_eq!(purge["reason"], "publish");
    assert_eq!(purge["jobs"][0]["type"], "varnish");
    assert_eq!(purge["jobs"][0]["attempts"][0]["status"], 200, "{purge}");
}

#[test]
fn without_working_purges_no_page_lives_long() {
    let chain = Chain::start("max_purge_lag = \"1s\"");
    chain.gate.refuse();
    let id = chain.shim.accept(&json!({"tags": ["product-42"]}));
    eventually("the failing purge shows in the health", || {
        let ttl = chain.shim.as_cdn("varnish", "/products/42.html").header("surrogate-control").to_owned();
        // The lifetime that nginx allows is shorter than the fallback.
        (ttl == "max-age=1").then_some(())
    });
    assert_ne!(chain.shim.look_up(&id)["state"], "done");
}
