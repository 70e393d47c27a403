//! The cost of the pure parts of one request: the opt-in check, the rewriting of the response, and the tag
//! encoding and path functions within the rewriting.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use origin_shim::config::Config;
use origin_shim::http::head::Headers;
use origin_shim::metrics::Metrics;
use origin_shim::proxy::fields::KeyFields;
use origin_shim::proxy::opt_in::{Caller, decide};
use origin_shim::proxy::routing::Routing;
use origin_shim::rewrite::path::normalise;
use origin_shim::rewrite::pattern::PathPattern;
use origin_shim::rewrite::tags::{TagForm, encode, path_tag};
use origin_shim::rewrite::{
    Asked, BrowserTtl, CdnType, Conditional, Dialect, Edge, Policy, Profile, Reason, RequestFacts, Rule,
    TagPolicy, Ttls, rewrite,
};
use origin_shim::upstream::Roots;
use origin_shim::upstream::Upstreams;
use origin_shim::view::PurgeHealthView;
use std::hint::black_box;
use std::path::Path;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
const PATH: &str = "/blog/2024/first-post.html";

fn policy() -> Policy {
    let hours = |hours: u64| Duration::from_secs(hours * 3_600);
    Policy {
        site: "www".to_owned(),
        profile: Profile::Generic,
        ttls: Ttls {
            edge: hours(48),
            browser: BrowserTtl::Origin,
            fallback: Duration::from_secs(300),
            not_found: Duration::from_secs(300),
            guard: Duration::from_secs(1),
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
        },
        vary: vec!["accept-encoding".to_owned()],
        rules: vec![Rule {
            path: PathPattern::new("/assets/**").expect("a pattern"),
            edge_ttl: Some(hours(720)),
            browser_ttl: Some(BrowserTtl::Fixed(hours(720))),
            allow_override: false,
            tags: vec![],
        }],
        tags: TagPolicy { path: true, site: true, sections: 0, ..TagPolicy::default() },
        aem: None,
        conditional: Conditional::Strip,
        origins: vec![],
        rewrite_location: false,
    }
}

/// The response of an nginx in front of a CMS.
fn page(surrogate_key: Option<&'static str>, cache_control: &'static str) -> Headers {
    let mut headers = Headers::with_capacity(24);
    for (name, value) in [
        ("server", "nginx"),
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("content-type", "text/html; charset=utf-8"),
        ("content-length", "5321"),
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("etag", "\"abc-1234\""),
        ("vary", "Accept-Encoding"),
        ("x-content-type-options", "nosniff"),
        ("strict-transport-security", "max-age=31536000"),
        ("cache-control", cache_control),
    ] {
        headers.append(&HeaderName::from_static(name), &HeaderValue::from_static(value));
    }
    if let Some(tags) = surrogate_key {
        headers.append(&SURROGATE_KEY, &HeaderValue::from_static(tags));
    }
    headers
}

fn decision(c: &mut Criterion) {
    let policy = policy();
    let mut bench = |name: &str, cdn, fallback, headers: Headers| {
        let dialect = Dialect::new(cdn, None, None);
        c.bench_function(&format!("decision/{name}"), |b| {
            b.iter_batched_ref(
                || headers.clone(),
                |headers| {
                    let request = RequestFacts {
                        method: &Method::GET,
                        path: black_box(PATH),
                        authorization: false,
                        bound: false,
                        cookie: false,
                        asked: Asked::default(),
                    };
                    rewrite(
                        &policy,
                        request,
                        Edge { dialects: slice::from_ref(&dialect), fallback, guard: None },
                        StatusCode::OK,
                        headers,
                    )
                },
                BatchSize::SmallInput,
            );
        });
    };
    let tags = Some("product-42 category-7 home author-13 block-5");
    for cdn in CdnType::ALL {
        bench(cdn.as_str(), cdn, None, page(tags, "public, max-age=60"));
    }
    for count in [1_000, 2_000] {
        let tags: Vec<String> = (0..count).map(|number| format!("node:{number}")).collect();
        let mut headers = page(None, "public, max-age=60");
        headers.append(&SURROGATE_KEY, &HeaderValue::try_from(tags.join(" ")).expect("legal tags"));
        bench(&format!("{count}-tags"), CdnType::Fastly, None, headers);
    }
    bench("without-tags", CdnType::Fastly, None, page(None, "max-age=60"));
    bench("untouched", CdnType::Fastly, None, page(tags, "private, no-store"));
    bench("fallback", CdnType::Fastly, Some(Reason::PurgingUnhealthy), page(tags, "public, max-age=60"));
}

/// One site behind two CDNs.
fn routing() -> Routing {
    let text = r#"
[admin]
listen = "127.0.0.1:9000"
[store]
url = "sqlite:store.db"
[[sites]]
name = "www"
hosts = ["www.example.test"]
origin = "http://origin.example.test"
[[sites.cdns]]
type = "fastly"
service_id = "SU1Z0isxPaozGVKXdv0eY"
auth_token = "literal:token"
hosts = ["www.example.test"]
[[sites.cdns]]
type = "cloudflare"
zone_id = "00000000000000000000000000000000"
api_token = "literal:token"
"#;
    let config = Config::parse(text, Path::new("bench.toml"), &|_| None).expect("a configuration");
    let (metrics, health) = (Arc::new(Metrics::new(1)), PurgeHealthView::default());
    Routing::compile(&config, &metrics, &health, &Roots::default(), &Upstreams::default()).expect("a routing")
}

fn opt_in(c: &mut Criterion) {
    let routing = routing();
    let site = routing.site(0);
    let caller = Caller { address: [192, 0, 2, 1].into(), certified: false };
    let mut bench = |name: &str, more: &[(&'static str, &'static str)]| {
        let usual = [
            ("host", "www.example.test"),
            ("accept", "*/*"),
            ("user-agent", "Mozilla/5.0"),
            ("via", "1.1 x"),
        ];
        let lines = usual.iter().chain(more);
        let headers: Headers = lines
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        c.bench_function(&format!("opt-in/{name}"), |b| {
            b.iter(|| decide(site, caller, &KeyFields::of(black_box(&headers))));
        });
    };
    bench("absent", &[]);
    bench("named", &[("x-push-invalidation", "enabled"), ("x-byo-cdn-type", "cloudflare")]);
    bench(
        "seen",
        &[("x-push-invalidation", "enabled"), ("cdn-loop", "cloudflare; loops=1"), ("cf-ray", "8a1b")],
    );
}

fn tags(c: &mut Criterion) {
    c.bench_function("tags/legal", |b| {
        b.iter(|| encode(CdnType::Akamai, TagForm::Full, black_box("product-42")))
    });
    c.bench_function("tags/hashed", |b| {
        b.iter(|| encode(CdnType::Akamai, TagForm::Full, black_box("node:42")))
    });
    c.bench_function("tags/path", |b| b.iter(|| path_tag("www", black_box(PATH))));
}

fn paths(c: &mut Criterion) {
    c.bench_function("path/normal", |b| b.iter(|| normalise(black_box(PATH))));
    c.bench_function("path/escaped", |b| b.iter(|| normalise(black_box("/caf%c3%a9//./a%20b"))));
    let pattern = PathPattern::new("/blog/**/*.html").expect("a pattern");
    c.bench_function("path/pattern", |b| b.iter(|| pattern.matches(black_box(PATH))));
}

criterion_group!(benches, opt_in, decision, tags, paths);
criterion_main!(benches);
