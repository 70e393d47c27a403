//! A remembered result equals that of a new decision.

use super::laws::{any_dialect, exchange, line, policy, weighted};
use super::*;
use crate::rewrite::keys::path_key;
use CdnType::{Cloudfront, Fastly};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::rc::Rc;

/// The decision, the head, and, if the response may be kept, its keys and time.
type Told = (Decision, Headers, Option<(Option<Vec<u64>>, i64)>);

/// The result that `cache` gives for an exchange with this site.
fn told(
    cache: &mut DecisionCache,
    (number, policy): (u32, &Policy),
    dialect: &Dialect,
    exchange: &Exchange,
    guard: Guard<'_>,
) -> Told {
    let request = RequestFacts {
        method: &exchange.method,
        path: &exchange.path,
        authorization: exchange.authorization,
        bound: false,
        cookie: exchange.cookie,
        asked: Asked { scheme: None, host: "www.example.com", query: None },
    };
    let fallback = exchange.unhealthy.then_some(Reason::PurgingUnhealthy);
    let edge = Edge { dialects: std::slice::from_ref(dialect), fallback, guard: Some(guard) };
    let status = StatusCode::from_u16(exchange.status).unwrap();
    let mut headers = exchange.headers.clone();
    let (decision, provenance) = cache.rewrite((number, policy), request, edge, status, &mut headers);
    let provenance = provenance.map(|of| (of.keys.all().map(<[_]>::to_vec), of.generated_ms));
    (decision, headers, provenance)
}

/// One of the exchanges, possibly changed.
#[derive(Clone, Debug)]
struct Step {
    which: Index,
    site: u32,
    differs: u8,
    line: (&'static str, Vec<u8>),
    began_ms: i64,
    is_purged_before: bool,
}

/// Generates lines, including those with names that may be a dialect's own and with similar names.
fn any_line() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    prop_oneof![6 => line(), 1 => (select(&["x-ttl", "x_ttl"]), Just(b"max-age=9".to_vec()))]
}

fn step() -> impl Strategy<Value = Step> {
    let differs = prop_oneof![3 => Just(0u8), 2 => 1..12u8];
    (any::<Index>(), 0..2u32, differs, any_line(), 0..30i64, prop::bool::weighted(0.05)).prop_map(
        |(which, site, differs, line, began_ms, is_purged_before)| Step {
            which,
            site,
            differs,
            line,
            began_ms,
            is_purged_before,
        },
    )
}

impl Step {
    fn of(&self, exchanges: &[Exchange]) -> Exchange {
        let mut exchange = self.which.get(exchanges).clone();
        let (name, value) =
            (HeaderName::from_static(self.line.0), HeaderValue::from_bytes(&self.line.1).unwrap());
        let mut lines: Vec<_> =
            exchange.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let number = self.began_ms as usize % lines.len().max(1);
        match self.differs {
            0 => {}
            1 => exchange.unhealthy = !exchange.unhealthy,
            2 => exchange.cookie = !exchange.cookie,
            3 => exchange.authorization = !exchange.authorization,
            4 => exchange.status = if exchange.status == 200 { 404 } else { 200 },
            5 => exchange.method = if exchange.method == Method::POST { Method::GET } else { Method::POST },
            6 => exchange.headers.insert(&name, value),
            7 => exchange.headers.append(name, value),
            // One of its lines gets another name, gets another value, or is removed.
            _ if lines.is_empty() => {}
            8 => lines[number].0 = name,
            9 => lines[number].1 = value,
            10 => lines[number].1 = HeaderValue::from_static("x"),
            _ => drop(lines.remove(number)),
        }
        if self.differs >= 8 {
            exchange.headers = lines.into_iter().collect();
        }
        exchange
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn it_is_what_would_be_decided(
        sites in [policy(weighted()), policy(weighted())],
        dialects in vec(any_dialect(), 1..3),
        exchanges in vec(exchange(any_line()), 1..4),
        steps in vec(step(), 1..60),
    ) {
        let mut cache = DecisionCache::default();
        let purged = Purged::default();
        for step in steps {
            let exchange = step.of(&exchanges);
            if step.is_purged_before {
                purged.note([path_key(&exchange.path)], 15);
            }
            let site = (step.site, &sites[step.site as usize]);
            // A site has one dialect per CDN.
            let dialect = step.which.get(&dialects);
            let dialect = dialects.iter().find(|known| known.cdn == dialect.cdn).unwrap();
            let guard = Guard { purged: &purged, began_ms: step.began_ms };
            let remembered = told(&mut cache, site, dialect, &exchange, guard);
            let anew = told(&mut DecisionCache::default(), site, dialect, &exchange, guard);
            prop_assert_eq!(remembered, anew);
        }
    }
}

/// Whether the fourth of these responses is given the same tag line as the third.
fn is_remembered(cdn: CdnType, responses: [&[&str]; 4]) -> bool {
    let site = Policy { tags: TagPolicy { path: true, site: true, sections: 0 }, ..site() };
    let (mut cache, purged, dialect) = (DecisionCache::default(), Purged::default(), dialect(cdn));
    let guard = Guard { purged: &purged, began_ms: 0 };
    let [.., third, fourth] = responses.map(|lines| {
        let (_, headers, ..) = told(&mut cache, (1, &site), &dialect, &get(lines), guard);
        headers.shared().find(|line| Some(line.name()) == dialect.tag_header.as_ref()).cloned().unwrap()
    });
    Rc::ptr_eq(&third, &fourth)
}

#[test]
fn what_comes_again_is_remembered() {
    let page: &[&str] = &["cache-control: max-age=60", "surrogate-key: a b", "content-type: x"];
    assert!(is_remembered(Fastly, [page; 4]));
    assert!(!is_remembered(Fastly, [page, page, page, &["cache-control: max-age=61", "surrogate-key: a b"]]));
    assert!(!is_remembered(Fastly, [page, page, page, &["cache-control: max-age=60"]]));
}

#[test]
fn fields_that_change_with_every_response() {
    let at = |second: &'static str, more: &'static [&'static str]| {
        [&[second, "cache-control: max-age=60"], more].concat()
    };
    let seconds = ["date: 1", "date: 2", "date: 3", "date: 4"];
    let check = |more: [&'static [&'static str]; 4], expected| {
        let responses: Vec<_> =
            seconds.into_iter().zip(more).map(|(second, more)| at(second, more)).collect();
        assert_eq!(is_remembered(Fastly, [0, 1, 2, 3].map(|n| &*responses[n])), expected, "{more:?}");
    };
    check([&[]; 4], true);
    check([&["expires: 1"], &["expires: 2"], &["expires: 3"], &["expires: 4"]], true);
    check([&["set-cookie: 1"], &["set-cookie: 2"], &["set-cookie: 3"], &["set-cookie: 4"]], true);
    check([&["set-cookie: 1"], &["set-cookie: 2"], &["set-cookie: 3"], &[]], false);
    check([&["age: 1"], &["age: 2"], &["age: 3"], &["age: 4"]], true);
    // Without `max-age`, `Expires` applies, and its meaning depends on `Date`.
    let responses: Vec<_> = seconds.map(|second| [second, "expires: Sun, 06 Nov 1994 08:49:37 GMT"]).into();
    assert!(!is_remembered(Fastly, [0, 1, 2, 3].map(|n| &responses[n][..])));
}

#[test]
fn requests_of_other_kinds_for_the_same_page() {
    let (mut cache, purged, dialect, site) =
        (DecisionCache::default(), Purged::default(), dialect(Fastly), site());
    let guard = Guard { purged: &purged, began_ms: 0 };
    let page = get(&["cache-control: max-age=60"]);
    let with_cookie = Exchange { cookie: true, ..page.clone() };
    let posted = Exchange { method: Method::POST, ..page.clone() };
    for _ in 0..4 {
        for exchange in [&page, &with_cookie, &posted] {
            let anew = told(&mut DecisionCache::default(), (1, &site), &dialect, exchange, guard);
            assert_eq!(told(&mut cache, (1, &site), &dialect, exchange, guard), anew);
        }
    }
}

#[test]
fn a_fallback_is_of_its_age() {
    let (mut cache, purged, dialect, site) =
        (DecisionCache::default(), Purged::default(), dialect(Fastly), site());
    let guard = Guard { purged: &purged, began_ms: 0 };
    for (age, left) in [(10, 50), (10, 50), (10, 50), (20, 40), (20, 40), (20, 40)] {
        let page = get(&["cache-control: max-age=60", &format!("age: {age}")]).unhealthy();
        let (_, headers, ..) = told(&mut cache, (1, &site), &dialect, &page, guard);
        assert_eq!(headers.get("cache-control").unwrap(), &format!("max-age={left}"));
    }
}

#[test]
fn fields_that_mean_nothing() {
    let pages = ["x-id: 1", "x-id: 2", "x-id: 3", "x-id: 4"].map(|id| [id, "cache-control: max-age=60"]);
    let [a, b, c, d] = &pages;
    // The name of CloudFront's own tag field is as unusual as the names of these fields.
    for cdn in [Fastly, Cloudfront] {
        assert!(is_remembered(cdn, [a, b, c, d]));
    }
}

/// If it is unknown which CDN sent the request, the page is written for every candidate.
#[test]
fn who_may_have_asked_is_no_detail() {
    let site = Policy { tags: TagPolicy { path: true, site: true, sections: 0 }, ..site() };
    let mut cache = DecisionCache::default();
    let request = RequestFacts {
        method: &Method::GET,
        path: "/",
        authorization: false,
        bound: false,
        cookie: false,
        asked: Asked { scheme: None, host: "www.example.com", query: None },
    };
    let mut write = |cdns: [CdnType; 2]| {
        let dialects = cdns.map(dialect);
        let edge = Edge { dialects: &dialects, fallback: Some(Reason::CdnInDispute), guard: None };
        let mut headers = get(&["cache-control: max-age=60"]).headers;
        cache.rewrite((1, &site), request, edge, StatusCode::OK, &mut headers);
        headers
    };
    for _ in 0..4 {
        assert!(write([Fastly, Cloudfront]).get("cache-tag").is_none());
        assert!(write([Fastly, CdnType::Cloudflare]).get("cache-tag").is_some());
    }
}

#[test]
fn large_responses_are_not_kept() {
    let tags =
        |count: u32| (0..count).fold("surrogate-key:".to_owned(), |tags, n| tags + &format!(" tag-{n}"));
    let (some, many) = (tags(120), tags(400));
    assert!(is_remembered(Fastly, [&["cache-control: max-age=60", &some]; 4]));
    assert!(!is_remembered(Fastly, [&["cache-control: max-age=60", &many]; 4]));
}
