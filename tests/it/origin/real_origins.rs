//! Responses as real origins send them, requests as real visitors send them, and what a real cache makes of both:
//! 304s, fields that a cache obeys although the shim left them alone, forged traces, redirects. Varnish runs the VCL
//! that the project ships.

use crate::harness::http::{Answer, Request};
use crate::harness::origin::{self, Asked, Exchange};
use crate::harness::shim::Shim;
use crate::harness::site::Site;
use crate::harness::varnish::Varnish;
use crate::harness::{HOST, eventually};
use serde_json::json;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const TWO_DAYS: u64 = 2 * 24 * 60 * 60;
const PAGE: &str = "/page";

/// The responses of the origin for a page: the fields of its 200, and those of its 304.
type Said = (&'static [&'static str], &'static [&'static str]);

/// An origin with one version of all its pages, which answers conditional requests and remembers what it was asked.
#[derive(Clone)]
struct Origin {
    said: Said,
    /// Before the first version is told, whatever is published meanwhile.
    delay: Duration,
    version: Arc<Mutex<u32>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Origin {
    fn serve(&self) -> SocketAddr {
        let origin = self.clone();
        origin::serve(move |exchange| origin.answer(exchange))
    }

    fn answer(&self, mut exchange: Exchange) {
        let version = *self.version.lock().unwrap();
        let etag = format!("\"{version}\"");
        let is_known = exchange.asked.header("if-none-match") == etag;
        self.asked.lock().unwrap().push(exchange.asked.clone());
        if version == 1 {
            thread::sleep(self.delay);
        }
        let (status, said) = if is_known { (304, self.said.1) } else { (200, self.said.0) };
        let mut headers = vec![("etag".to_owned(), etag)];
        headers.extend(said.iter().map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_owned(), value.to_owned())
        }));
        let body = if is_known { String::new() } else { format!("version {version}") };
        exchange.answer(status, &headers, &body);
    }

    fn publish(&self) -> u32 {
        let mut version = self.version.lock().unwrap();
        *version += 1;
        *version
    }

    /// The number of requests, and of conditional requests among them.
    fn asked(&self) -> (usize, usize) {
        let asked = self.asked.lock().unwrap();
        (asked.len(), asked.iter().filter(|asked| !asked.header("if-none-match").is_empty()).count())
    }
}

struct World {
    origin: Origin,
    shim: Shim,
    varnish: Varnish,
}

impl World {
    fn start(said: Said, delay_ms: u64, keys: &str, cache: &str) -> Self {
        let delay = Duration::from_millis(delay_ms);
        let origin = Origin { said, delay, version: Arc::new(Mutex::new(1)), asked: Arc::default() };
        let address = origin.serve();
        let (shim, varnish) = Shim::start_behind(|shim| {
            let varnish = Varnish::start(shim);
            let site = Site::www(address).keys(keys).cache(cache).tables("[sites.tags]\nsections = 1");
            let site = site.varnish(&varnish);
            (varnish, site)
        });
        shim.wait_until_healthy();
        Self { origin, shim, varnish }
    }

    fn visit(&self, target: &str) -> Answer {
        Request::get(target).send(self.varnish.address)
    }

    fn see(&self, target: &str) -> String {
        let answer = self.visit(target);
        format!("{} {}", answer.header("x-cache"), answer.text())
    }

    /// Marks the page stale and visits it, until the origin has been asked about it anew.
    fn revalidate(&self) {
        let (before, _) = self.origin.asked();
        self.shim.purge(&json!({"paths": [PAGE], "mode": "soft"}));
        self.visit(PAGE);
        eventually("the origin is asked again", || (self.origin.asked().0 > before).then_some(()));
        let version = *self.origin.version.lock().unwrap();
        let fresh = format!("HIT version {version}");
        eventually("the page is fresh again", || (self.see(PAGE) == fresh).then_some(()));
    }

    /// A purge of each kind finds the page after as many revalidations.
    fn is_found_after(&self, revalidations: usize, tags: &[&str]) {
        let url = format!("http://{HOST}{PAGE}");
        let kinds = [
            json!({"paths": [PAGE]}),
            json!({"urls": [url]}),
            json!({"prefixes": ["/"]}),
            json!({"everything": true}),
        ];
        let tags = tags.iter().map(|tag| json!({"tags": [tag]}));
        for purge in kinds.into_iter().chain(tags) {
            *self.origin.version.lock().unwrap() = 1;
            self.shim.purge(&json!({"everything": true}));
            assert_eq!(self.see(PAGE), "MISS version 1");
            (0..revalidations).for_each(|_| self.revalidate());
            let version = self.origin.publish();
            self.shim.purge(&purge);
            assert_eq!(self.see(PAGE), format!("MISS version {version}"), "{purge}");
        }
    }
}

const SWR: &str = "stale_while_revalidate = \"1h\"";
const TAGGED: &[&str] = &["cache-control: max-age=60", "surrogate-key: product-42 category-7"];

#[test]
fn by_default_the_origin_answers_whole() {
    let world = World::start((TAGGED, &["cache-control: max-age=60"]), 0, "", SWR);
    world.is_found_after(3, &["product-42", "category-7"]);
    assert_eq!(world.varnish.ttl_of(PAGE), TWO_DAYS);
    let (asked, on_condition) = world.origin.asked();
    assert!(asked > 15 && on_condition == 0, "{asked} {on_condition}");
    // A visitor's own condition is the CDN's to answer.
    let etag = world.visit(PAGE).header("etag").to_owned();
    let known = Request::get(PAGE).headers(&[("if-none-match", &etag)]).send(world.varnish.address);
    assert_eq!(known.status, 304);
}

#[test]
fn a_304_without_tags_leaves_tags_and_lifetime_as_they_were() {
    let pass = format!("{SWR}\nconditional = \"pass\"");
    for not_modified in [&["cache-control: max-age=60"][..], &[]] {
        let world = World::start((TAGGED, not_modified), 0, "", &pass);
        world.is_found_after(2, &["product-42", "category-7"]);
        let (_, on_condition) = world.origin.asked();
        assert!(on_condition >= 12, "{on_condition}");
        world.revalidate();
        assert_eq!(world.varnish.ttl_of(PAGE), TWO_DAYS, "{not_modified:?}");
    }
}

#[test]
fn a_304_with_tags_brings_those_of_today() {
    let pass = format!("{SWR}\nconditional = \"pass\"");
    let moved = &["cache-control: max-age=60", "surrogate-key: product-43"];
    let world = World::start((TAGGED, moved), 0, "", &pass);
    world.is_found_after(1, &["product-43"]);
    world.revalidate();
    assert_eq!(world.varnish.ttl_of(PAGE), TWO_DAYS);
}

#[test]
fn a_short_lived_page_stays_short_lived() {
    let short = &["surrogate-control: max-age=60, stale-while-revalidate=600"];
    for (cache, conditions) in [("", false), ("conditional = \"pass\"", true)] {
        // As Django and Apache have it: `Date` and `ETag` only.
        let world = World::start((short, &[]), 0, "", cache);
        assert_eq!(world.see(PAGE), "MISS version 1");
        for _ in 0..3 {
            world.revalidate();
            assert_eq!(world.varnish.ttl_of(PAGE), 60);
        }
        assert_eq!(world.origin.asked().1 > 0, conditions);
    }
}

/// A response that a cache may keep is guarded, whatever the shim did to it. The purge comes while the origin works on
/// the page.
#[test]
fn what_is_left_alone_is_guarded_if_a_cache_may_keep_it() {
    let many: &str = Box::leak(
        format!(
            "surrogate-key:{}",
            " a-long-tag-of-the-page".repeat(9) + &(0..900).map(|n| format!(" t-{n:08}")).collect::<String>()
        )
        .into_boxed_str(),
    );
    let table: [&[&str]; 7] = [
        &["cache-control: public, max-age=0, s-maxage=3600"],
        &["vary: accept-language"],
        &["vary: accept-language", many],
        &["cache-control: no-store", "surrogate-control: max-age=86400"],
        &[
            "expires: Fri, 31 Dec 2100 23:59:59 GMT",
            "date: Sun, 06 Nov 1994 08:49:37 GMT",
            "vary: user-agent",
        ],
        &["cache-control: max-age=3600", "vary: accept-language"],
        &["cache-control: public, max-age=3600"],
    ];
    thread::scope(|scope| {
        for said in table {
            let said: &'static [&'static str] = said.to_vec().leak();
            scope.spawn(move || {
                let world = World::start((said, &[]), 1_500, "", "");
                thread::scope(|scope| {
                    scope.spawn(|| world.visit(PAGE));
                    eventually("the origin works on it", || (world.origin.asked().0 == 1).then_some(()));
                    world.origin.publish();
                    world.shim.purge(&json!({"paths": [PAGE]}));
                });
                // The guard's lifetime is a second.
                thread::sleep(Duration::from_secs(2));
                assert_eq!(world.visit(PAGE).text(), "version 2", "{said:?}");
            });
        }
    });
}

/// The prohibition holds in any form. Varnish by itself keeps most of these responses.
#[test]
fn what_the_origin_forbids_is_not_kept() {
    let table: [&[&str]; 8] = [
        &["expires: 0"],
        &["expires: -1", "date: Sun, 06 Nov 1994 08:49:37 GMT"],
        &["pragma: no-cache"],
        &["cache-control: public private"],
        &["cache-control: max-age=60, ext=\"oops, no-store"],
        &["cache-control: \"private\""],
        &["cache-control: public, max-age=3600", "cdn-cache-control: no-store"],
        &["cache-control: no-cache", "cdn-cache-control: max-age=86400;"],
    ];
    thread::scope(|scope| {
        for said in table {
            let said: &'static [&'static str] = said.to_vec().leak();
            scope.spawn(move || {
                let world = World::start((said, &[]), 0, "", "");
                for _ in 0..3 {
                    assert_eq!(world.see(PAGE), "MISS version 1", "{said:?}");
                }
            });
        }
    });
}

#[test]
fn no_header_of_a_visitor_puts_an_untagged_page_into_the_cache() {
    let forged: [&[(&str, &str)]; 5] = [
        &[("cf-worker", "x")],
        &[("via", "1.1 akamai")],
        &[("cdn-loop", "Fastly")],
        &[("x-byo-cdn-type", "akamai"), ("x-push-invalidation", "disabled")],
        &[("cdn-loop", "cloudflare"), ("via", "1.1 x (CloudFront)"), ("x-origin-shim-path", "/other")],
    ];
    let world = World::start((TAGGED, &[]), 0, "", "");
    for headers in forged {
        *world.origin.version.lock().unwrap() = 1;
        world.shim.purge(&json!({"everything": true}));
        assert_eq!(Request::get(PAGE).headers(headers).send(world.varnish.address).text(), "version 1");
        assert_eq!(world.see(PAGE), "HIT version 1");
        world.origin.publish();
        world.shim.purge(&json!({"tags": ["product-42"]}));
        assert_eq!(world.see(PAGE), "MISS version 2", "{headers:?}");

        // Nor where the CDN passes them on: what it says of itself decides.
        let opted_in = [&[("x-push-invalidation", "enabled")], headers].concat();
        let told = Request::get(PAGE).headers(&opted_in).send(world.shim.address);
        let opted_in = opted_in.iter().filter(|(name, _)| *name == "x-push-invalidation").count() == 1;
        assert_eq!(told.header("xkey").contains("product-42"), opted_in, "{headers:?}: {told:?}");
    }
}

#[test]
fn browsers_get_what_the_origin_gives_them() {
    let seen = |said: Said, keys: &str| {
        let world = World::start(said, 0, keys, "");
        (world.visit(PAGE), world.visit(PAGE)).1.header("cache-control").to_owned()
    };
    assert_eq!(seen((TAGGED, &[]), ""), "max-age=60");
    assert_eq!(seen((&[], &[]), ""), "no-cache");
    let asset: Said = (&["cache-control: public, max-age=31536000, immutable"], &[]);
    assert_eq!(seen(asset, ""), "max-age=31536000, public, immutable");
    assert_eq!(seen((TAGGED, &[]), "profile = \"aem\""), "max-age=7200");
}

#[test]
fn a_redirect_to_itself_does_not_outlive_its_repair() {
    let origin = origin::serve(|mut exchange| {
        let https = exchange.asked.header("x-forwarded-proto") == "https";
        let path = exchange.asked.line.split(' ').nth(1).unwrap_or_default().to_owned();
        match path.as_str() {
            _ if https => exchange.answer(200, &[], "page"),
            "/dir" => exchange.answer(301, &[("location".into(), "http://127.0.0.1:1/dir/".into())], ""),
            path => exchange.answer(301, &[("location".into(), format!("https://{HOST}{path}"))], ""),
        }
    });
    let told = |keys: &str, target: &str, headers: &[(&str, &str)]| {
        let fastly = "type = \"fastly\"\nservice_id = \"S\"\nauth_token = \"literal:0123456789abcdef\"\n\
                      api_url = \"http://127.0.0.1:9\"";
        let shim = Shim::start(Site::www(origin).origin("127.0.0.1:1").keys(keys).cdn(fastly));
        let headers = [&[("x-push-invalidation", "enabled")], headers].concat();
        Request::get(target).headers(&headers).send(shim.address)
    };
    let looping = told("", "/page?x=1", &[("x-forwarded-proto", "https")]);
    assert_eq!((looping.status, looping.header("surrogate-control")), (301, ""), "{looping:?}");
    assert!(looping.header("surrogate-key").contains("site-www"), "{looping:?}");
    let inner = told("", "/dir", &[]);
    assert_eq!(
        (inner.header("location"), inner.header("surrogate-control")),
        ("http://127.0.0.1:1/dir/", "")
    );
    let public = told("rewrite_location = true", "/dir", &[]);
    assert_eq!(public.header("location"), format!("//{HOST}/dir/"));
    assert_ne!(public.header("surrogate-control"), "");
}

/// The conditional requests of every kind that a CDN sends are told from those that must go on.
#[test]
fn what_is_withheld_from_the_origin() {
    let table: HashMap<&str, bool> = HashMap::from([
        ("if-none-match", false),
        ("if-modified-since", false),
        ("if-match", true),
        ("if-unmodified-since", true),
        ("if-range", true),
        ("range", true),
    ]);
    let world = World::start((TAGGED, &[]), 0, "", "");
    for (name, passes) in table {
        for opted_in in [true, false] {
            let mut headers = vec![(name, "\"1\"")];
            headers.extend(opted_in.then_some(("x-push-invalidation", "enabled")));
            Request::get(PAGE).headers(&headers).send(world.shim.address);
            let asked = world.origin.asked.lock().unwrap().last().unwrap().clone();
            assert_eq!(!asked.header(name).is_empty(), passes || !opted_in, "{name} {opted_in}");
        }
    }
}
