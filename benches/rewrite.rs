//! What the rewriting of one response costs, and the tag encoding and path functions inside it.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use origin_shim::rewrite::path::normalise;
use origin_shim::rewrite::pattern::PathPattern;
use origin_shim::rewrite::tags::{encode, path_tag};
use origin_shim::rewrite::{
    CdnType, Dialect, Edge, Policy, Profile, Reason, RequestFacts, Rule, TagPolicy, Ttls, rewrite,
};
use std::hint::black_box;
use std::time::Duration;

const PATH: &str = "/blog/2024/first-post.html";

fn policy() -> Policy {
    let hours = |hours: u64| Duration::from_secs(hours * 3_600);
    Policy {
        site: "www".to_owned(),
        profile: Profile::Generic,
        ttls: Ttls {
            edge: hours(48),
            browser: hours(2),
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
            browser_ttl: Some(hours(720)),
            allow_override: false,
            tags: vec![],
        }],
        tags: TagPolicy { path: true, site: true, sections: 0 },
        aem: None,
    }
}

/// What an nginx in front of a CMS sends.
fn page(surrogate_key: Option<&'static str>, cache_control: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(24);
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
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if let Some(tags) = surrogate_key {
        headers.insert("surrogate-key", HeaderValue::from_static(tags));
    }
    headers
}

fn decision(c: &mut Criterion) {
    let policy = policy();
    let mut bench = |name: &str, cdn, fallback, headers: HeaderMap| {
        let dialect = Dialect::new(cdn, None, None);
        c.bench_function(&format!("decision/{name}"), |b| {
            b.iter_batched_ref(
                || headers.clone(),
                |headers| {
                    let request = RequestFacts {
                        method: &Method::GET,
                        path: black_box(PATH),
                        authorization: false,
                        cookie: false,
                    };
                    rewrite(
                        &policy,
                        request,
                        Edge { dialect: &dialect, fallback, guard: None },
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
    bench("without-tags", CdnType::Fastly, None, page(None, "max-age=60"));
    bench("untouched", CdnType::Fastly, None, page(tags, "private, no-store"));
    bench("fallback", CdnType::Fastly, Some(Reason::PurgingUnhealthy), page(tags, "public, max-age=60"));
}

fn tags(c: &mut Criterion) {
    c.bench_function("tags/legal", |b| b.iter(|| encode(CdnType::Akamai, black_box("product-42"))));
    c.bench_function("tags/hashed", |b| b.iter(|| encode(CdnType::Akamai, black_box("node:42"))));
    c.bench_function("tags/path", |b| b.iter(|| path_tag("www", black_box(PATH))));
}

fn paths(c: &mut Criterion) {
    c.bench_function("path/normal", |b| b.iter(|| normalise(black_box(PATH))));
    c.bench_function("path/escaped", |b| b.iter(|| normalise(black_box("/caf%c3%a9//./a%20b"))));
    let pattern = PathPattern::new("/blog/**/*.html").expect("a pattern");
    c.bench_function("path/pattern", |b| b.iter(|| pattern.matches(black_box(PATH))));
}

criterion_group!(benches, decision, tags, paths);
criterion_main!(benches);
