//! The same purges at a Varnish with the rules of each family, and at the shim with a Varnish behind it: what the one
//! evicts the other evicts, too, and where a request says exactly what is meant, nothing more.

use super::*;
use std::collections::BTreeSet;

/// The pages. Their tags are `page` and the first segment of their path.
const PAGES: [&str; 7] = ["/", "/news/1", "/news/1?q=1", "/news/2", "/newsroom", "/blog/a", "/other"];

/// The rules of the families, as their own files for Varnish have them. `X-Family` chooses among them.
const RULES: &str = r#"
vcl 4.1;
import xkey;
backend default { .host = "@HOST@"; .port = "@PORT@"; }

sub vcl_recv {
    if (req.method == "GET") { return (hash); }
    if (req.http.X-Family == "magento") {
        if (!req.http.X-Magento-Tags-Pattern) { return (synth(400)); }
        ban("obj.http.X-Magento-Tags ~ " + req.http.X-Magento-Tags-Pattern);
        return (synth(200));
    }
    if (req.http.X-Family == "fos" && req.method == "BAN") {
        if (req.http.X-Cache-Tags) {
            ban("obj.http.X-Cache-Tags ~ " + req.http.X-Cache-Tags);
        } else {
            ban("obj.http.X-Url ~ " + req.http.X-Url + " && obj.http.X-Host ~ " + req.http.X-Host +
                " && obj.http.Content-Type ~ " + req.http.X-Content-Type);
        }
        return (synth(200));
    }
    if (req.method == "PURGEKEYS" || (req.http.X-Family == "shopware" && req.http.xkey)) {
        set req.http.n-gone = xkey.purge(req.http.xkey-purge + req.http.xkey);
        return (synth(200));
    }
    if (req.http.X-Family == "drupal" && req.method == "BAN") {
        ban("obj.http.Cache-Tags ~ " + req.http.Cache-Tags);
        return (synth(200));
    }
    if (req.method == "URIBAN") {
        ban("obj.http.X-Host == " + req.http.host + " && obj.http.X-Url == " + req.url);
        return (synth(200));
    }
    if (req.http.X-Family == "wordpress") {
        if (req.http.X-Purge-Method == "regex") {
            ban("obj.http.X-Url ~ ^" + req.url + " && obj.http.X-Host == " + req.http.host);
        } elsif (req.http.X-Purge-Method == "exact") {
            ban("obj.http.X-Url == " + req.url + " && obj.http.X-Host == " + req.http.host);
        } else {
            set req.url = regsub(req.url, "\?.*$", "");
            ban("obj.http.X-Base == " + req.url + " && obj.http.X-Host == " + req.http.host);
        }
        return (synth(200));
    }
    if (req.http.X-Family == "shopware" && req.method == "BAN") {
        ban("obj.http.X-Host == " + req.http.host);
        return (synth(200));
    }
    return (purge);
}

sub vcl_backend_response {
    set beresp.http.X-Url = bereq.url;
    set beresp.http.X-Base = regsub(bereq.url, "\?.*$", "");
    set beresp.http.X-Host = bereq.http.host;
}

sub vcl_deliver {
    set resp.http.X-Cache = "MISS";
    if (obj.hits > 0) { set resp.http.X-Cache = "HIT"; }
}
"#;

/// A request of a family, and whether it says exactly what is meant.
struct Case {
    family: &'static str,
    method: &'static str,
    target: &'static str,
    headers: &'static [(&'static str, &'static str)],
    is_exact: bool,
}

const fn case(
    (family, method, target): (&'static str, &'static str, &'static str),
    headers: &'static [(&'static str, &'static str)],
    is_exact: bool,
) -> Case {
    Case { family, method, target, headers, is_exact }
}

const CASES: [Case; 18] = [
    case(
        ("magento", "PURGE", "/"),
        &[("x-magento-tags-pattern", "((^|,)news(,|$))|((^|,)absent(,|$))")],
        true,
    ),
    case(("magento", "PURGE", "/"), &[("x-magento-tags-pattern", "((^|,)new(,|$))")], true),
    case(("magento", "PURGE", "/"), &[("x-magento-tags-pattern", ".*")], true),
    case(("fos", "BAN", "/"), &[("x-cache-tags", "(^|,)(news|blog)(,|$)")], true),
    case(("fos", "BAN", "/"), &[("x-host", ".*"), ("x-url", "^/news/"), ("x-content-type", ".*")], true),
    // A page is purged with its queries.
    case(("fos", "BAN", "/"), &[("x-host", ".*"), ("x-url", "^/news/1$"), ("x-content-type", ".*")], false),
    case(("fos", "BAN", "/"), &[("x-host", ".*"), ("x-url", ".*"), ("x-content-type", ".*")], true),
    case(("fos", "PURGE", "/news/1?q=1"), &[], true),
    case(("ibexa", "PURGEKEYS", "/"), &[("xkey-purge", "news absent")], true),
    case(("drupal", "BAN", "/"), &[("cache-tags", "blog|other")], true),
    case(("drupal", "URIBAN", "/news/1"), &[], true),
    case(("wordpress", "PURGE", "/news/1"), &[("x-purge-method", "default")], true),
    case(("wordpress", "PURGE", "/news/1?q=1"), &[("x-purge-method", "exact")], true),
    case(("wordpress", "PURGE", "/news/.*"), &[("x-purge-method", "regex")], true),
    case(("wordpress", "PURGE", "/.*"), &[("x-purge-method", "regex")], true),
    case(("mediawiki", "PURGE", "http://www.example.test/news/1"), &[], true),
    case(("shopware", "PURGE", "/"), &[("xkey", "news other")], true),
    case(("shopware", "BAN", "/"), &[], true),
];

/// Brings all pages into a cache.
fn warm(cache: SocketAddr) {
    for page in PAGES {
        Request::get(page).send(cache);
        assert_eq!(Request::get(page).send(cache).header("x-cache"), "HIT", "{page}");
    }
}

/// Returns the pages that are no longer in a cache.
fn gone(cache: SocketAddr) -> BTreeSet<&'static str> {
    PAGES.into_iter().filter(|page| Request::get(page).send(cache).header("x-cache") == "MISS").collect()
}

#[test]
fn what_varnish_evicts_is_purged() {
    let world = World::start(&["listen = [\"{}\"]\nprotocol = \"varnish\"\nsite = \"www\""]);
    let reference = Varnish::start(world.origin);
    let (host, port) = (world.origin.ip().to_string(), world.origin.port().to_string());
    reference.use_vcl(&RULES.replace("@HOST@", &host).replace("@PORT@", &port));
    for Case { family, method, target, headers, is_exact } in CASES {
        let what = format!("{family}: {method} {target} {headers:?}");
        warm(reference.address);
        warm(world.varnish.address);
        let all: Vec<_> = headers.iter().copied().chain([("x-family", family)]).collect();
        for to in [reference.address, world.listeners[0]] {
            let answer = Request { headers: &all, ..Request::get(target) }.method(method).send(to);
            assert_eq!(answer.status, 200, "{what}: {}", answer.text());
        }
        world.settle();
        let (theirs, ours) = (gone(reference.address), gone(world.varnish.address));
        assert!(theirs.is_subset(&ours), "{what}: {theirs:?}, but {ours:?}");
        assert!(!is_exact || theirs == ours, "{what}: {theirs:?}, but {ours:?}");
    }
}
