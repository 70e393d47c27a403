//! Laws that hold for every response, site and CDN.

use super::super::tags::{encode, path_tag, section_tag, sections, site_tag};
use super::*;
use crate::http::head::Value;
use crate::rewrite::aem::{ComputeKeys, Ids, Partition, Project};
use crate::rewrite::path::normalise;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const TARGETED: [&str; 5] = [
    "cdn-cache-control",
    "surrogate-control",
    "cloudflare-cdn-cache-control",
    "akamai-cache-control",
    "edge-control",
];
const TAG_FIELDS: [&str; 8] = [
    "surrogate-key",
    "x-surrogate-key",
    "xkey",
    "cache-tag",
    "edge-cache-tag",
    "x-magento-tags",
    "purge-cache-tags",
    "x-tags",
];

fn joined(pieces: &'static [&'static str], separator: &'static str) -> impl Strategy<Value = Vec<u8>> {
    vec(select(pieces), 0..4).prop_map(move |pieces| pieces.join(separator).into_bytes())
}

fn directives() -> impl Strategy<Value = Vec<u8>> {
    joined(
        &[
            "max-age=0",
            "max-age=60",
            "max-age=9000",
            "s-maxage=0",
            "s-maxage=90",
            "s-maxage=9000",
            "max-age=9000",
            "s-maxage=9000",
            "public",
            "private",
            "no-store",
            "no-cache",
            "immutable",
            "x",
            "must-revalidate",
            "proxy-revalidate",
            "stale-while-revalidate=9",
            "stale-if-error=99",
        ],
        ", ",
    )
}

/// Generates a well-formed header line that affects the rewriting.
pub(super) fn line() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let dates: &[&str] = &["0", "Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:50:37 GMT"];
    let tags: &[&str] = &["a", "B", "b", "node:1", "x*y", "long-tag-with-a-name"];
    prop_oneof![
        6 => (Just("cache-control"), directives()),
        4 => (select(&TARGETED[..4]), directives()),
        1 => (Just("edge-control"), joined(&["!no-store", "no-store", "max-age=9000s", "cache-maxage=1d", "x"], ",")),
        1 => (select(&["expires", "date"]), joined(dates, "")),
        1 => (Just("age"), joined(&["0", "5", "500"], "")),
        1 => (Just("pragma"), joined(&["no-cache", "x"], ", ")),
        1 => (Just("vary"), joined(&["accept-encoding", "Cookie", "accept-language", "*"], ",")),
        1 => (select(&["set-cookie", "etag", "last-modified", "content-type"]), joined(&["x"], "")),
        2 => (select(&TAG_FIELDS[..3]), joined(tags, " ")),
        2 => (select(&TAG_FIELDS[3..]), joined(tags, ",")),
        1 => (select(&TAG_FIELDS), joined(tags, ", ")),
        1 => (Just("xkey"), (0..130u32).prop_map(|n| (0..n).map(|i| format!("t{i} ")).collect::<String>().into_bytes())),
    ]
}

/// Generates any header line.
fn wild_line() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let names: Vec<&str> =
        ["cache-control", "expires", "date", "age", "pragma", "vary", "set-cookie", "etag", "content-type"]
            .into_iter()
            .chain(TARGETED)
            .chain(TAG_FIELDS)
            .collect();
    let value = prop_oneof![
        vec(prop_oneof![Just(b'\t'), 0x20..0x7fu8, 0x80..=0xffu8], 0..40),
        "[a-z=\",;\\\\ 0-9-]{0,30}".prop_map(String::into_bytes),
        vec(prop_oneof![directives(), "[\",;= ]{0,2}".prop_map(String::into_bytes)], 0..4)
            .prop_map(|v| v.concat()),
    ];
    (select(names), value)
}

pub(super) fn exchange(
    line: impl Strategy<Value = (&'static str, Vec<u8>)>,
) -> impl Strategy<Value = Exchange> {
    let statuses: &[u16] =
        &[200, 200, 200, 203, 206, 301, 302, 304, 308, 400, 401, 403, 404, 410, 429, 500, 503];
    let paths: &[&str] =
        &["/", "/a", "/b/c/d", "/b/./c//%64", "/media_0123456789abcdef0123456789abcdef01234567.png"];
    let methods: &[Method] = &[Method::GET, Method::GET, Method::HEAD, Method::POST];
    let request = (select(methods), select(paths), weighted(), weighted());
    (request, select(statuses), vec(line, 0..6), weighted()).prop_map(
        |(request, status, lines, unhealthy)| {
            let (method, path, authorization, cookie) = request;
            let mut headers = Headers::new();
            for (name, value) in lines {
                headers.append(&HeaderName::from_static(name), &HeaderValue::from_bytes(&value).unwrap());
            }
            Exchange { method, path: path.to_owned(), authorization, cookie, status, headers, unhealthy }
        },
    )
}

pub(super) fn weighted() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.2)
}

fn ttl() -> impl Strategy<Value = Duration> {
    select(&[0u64, 1, 50, 300, 7_200, 172_800]).prop_map(Duration::from_secs)
}

fn any_rule(allow_override: impl Strategy<Value = bool>) -> impl Strategy<Value = Rule> {
    let path = select(&["/**", "/a", "/b/**", "/*/c/*"]).prop_map(|path| PathPattern::new(path).unwrap());
    let tags = vec(select(&["a", "posts", "node:1", "two words", ""]).prop_map(str::to_owned), 0..3);
    (path, prop::option::of(ttl()), prop::option::of(ttl()), allow_override, tags).prop_map(
        |(path, edge_ttl, browser_ttl, allow_override, tags)| Rule {
            path,
            edge_ttl,
            browser_ttl: browser_ttl.map(BrowserTtl::Fixed),
            allow_override,
            tags,
        },
    )
}

pub(super) fn policy(allow_override: impl Strategy<Value = bool>) -> impl Strategy<Value = Policy> {
    let ttls = (ttl(), ttl(), ttl(), ttl(), ttl(), ttl()).prop_map(|(a, b, c, d, e, f)| Ttls {
        edge: a,
        browser: if b.is_zero() { BrowserTtl::Origin } else { BrowserTtl::Fixed(b) },
        fallback: c,
        not_found: d,
        stale_while_revalidate: e,
        stale_if_error: f,
        ..site().ttls
    });
    let broad = prop::option::weighted(0.2, select(&["a", "t*", "t1*5"]));
    let tags = (any::<bool>(), any::<bool>(), 0..4u8, broad).prop_map(|(path, site, sections, broad)| {
        let broad = broad.into_iter().map(|pattern| TagPattern::new(pattern).unwrap()).collect();
        TagPolicy { path, site, sections, broad, ..TagPolicy::default() }
    });
    let profile = select(&[Profile::Generic, Profile::Generic, Profile::Aem]);
    let vary = select(vec![vec![], vec!["accept-language".to_owned()]]);
    let aem =
        prop::option::weighted(0.3, select(&[ComputeKeys::Missing, ComputeKeys::Always, ComputeKeys::Never]))
            .prop_map(|compute| Some(Project::new(Ids::default(), Partition::Live, vec![], compute?)));
    (ttls, tags, profile, vary, vec(any_rule(allow_override), 0..3), aem).prop_map(
        |(ttls, tags, profile, vary, rules, aem)| Policy { ttls, tags, profile, vary, rules, aem, ..site() },
    )
}

pub(super) fn any_dialect() -> impl Strategy<Value = Dialect> {
    let ttl_header = prop_oneof![
        6 => Just(None),
        1 => select(&["cdn-cache-control", "cache-control", "edge-control", "x-ttl"])
            .prop_map(|name| Some(HeaderName::from_static(name))),
    ];
    let tag_header = prop_oneof![
        3 => Just(None),
        1 => select(&TAG_FIELDS).prop_map(|name| Some(HeaderName::from_static(name))),
    ];
    (select(&CdnType::ALL), ttl_header, tag_header)
        .prop_map(|(cdn, ttl_header, tag_header)| Dialect::new(cdn, ttl_header, tag_header))
}

/// The members of a field, split at commas. This is for fields without quoted strings.
fn said(headers: &Headers, field: &str) -> Vec<String> {
    let lines = headers.get_all(field).map(|line| line.to_str().unwrap());
    lines.flat_map(|line| line.split(',')).map(|d| d.trim().to_owned()).filter(|d| !d.is_empty()).collect()
}

/// The smallest value of a directive, in seconds.
fn lifetime(said: &[String], names: &[&str]) -> Option<u64> {
    said.iter()
        .filter_map(|directive| directive.split_once('='))
        .filter(|(name, _)| names.contains(name))
        .map(|(_, value)| match value.strip_suffix('d') {
            Some(days) => 86_400 * days.parse::<u64>().unwrap(),
            None => value.trim_end_matches('s').parse().unwrap(),
        })
        .min()
}

fn has(said: &[String], names: &[&str]) -> bool {
    said.iter().any(|directive| names.contains(&directive.as_str()))
}

/// The lifetime that `Expires` gives, with the dates above.
fn expires(headers: &Headers) -> Option<u64> {
    let date = |value: Value<'_>| httpdate::parse_http_date(value.to_str().unwrap()).ok();
    let sent = headers.get("date").and_then(date);
    let after = |value| date(value)?.duration_since(sent?).ok();
    headers.get_all("expires").map(|e| after(e).map_or(0, |d| d.as_secs())).min()
}

fn remaining(headers: &Headers, lifetime: u64) -> u64 {
    let age = headers.get("age").map_or(0, |age| age.to_str().unwrap().parse().unwrap_or(0));
    lifetime.saturating_sub(age)
}

/// The members of `Cache-Control`, or of `Pragma` if there is none.
fn cache_control(headers: &Headers) -> Vec<String> {
    said(headers, if headers.contains("cache-control") { "cache-control" } else { "pragma" })
}

/// How long the headers let a browser reuse the response. This is independent of the code under test.
fn browser_lifetime(headers: &Headers) -> Option<u64> {
    let said = cache_control(headers);
    if has(&said, &["no-store", "no-cache"]) {
        return Some(0);
    }
    lifetime(&said, &["max-age"]).or_else(|| expires(headers)).map(|seconds| remaining(headers, seconds))
}

/// How long the origin lets the CDN reuse the response, by any field.
pub(super) fn edge_lifetime(headers: &Headers, dialect: &Dialect) -> Option<u64> {
    edge_lifetime_in(headers, dialect, &TARGETED)
}

/// How long the CDN will reuse the response, by the fields that it reads.
pub(super) fn lifetime_at(dialect: &Dialect, headers: &Headers) -> Option<u64> {
    edge_lifetime_in(headers, dialect, &[])
}

fn edge_lifetime_in(headers: &Headers, dialect: &Dialect, foreign: &[&str]) -> Option<u64> {
    let browser = cache_control(headers);
    if has(&browser, &["private", "no-store"]) {
        return Some(0);
    }
    // The lifetime of a targeted field, if it takes effect. A prohibition is 0.
    let decided = |field: &str| {
        let said = said(headers, field);
        if has(&said, &["private", "no-store", "no-cache"]) {
            return Some(0);
        }
        let names: &[&str] =
            if field == "edge-control" { &["max-age", "cache-maxage"] } else { &["max-age"] };
        lifetime(&said, &["s-maxage"]).or_else(|| lifetime(&said, names))
    };
    let read: &[&str] = match dialect.cdn {
        CdnType::Fastly | CdnType::Varnish => &["surrogate-control"],
        CdnType::Akamai => &["edge-control", "akamai-cache-control", "cdn-cache-control"],
        CdnType::Cloudflare => &["cloudflare-cdn-cache-control", "cdn-cache-control"],
        CdnType::Cloudfront => &[],
    };
    let own = Some(dialect.ttl_header.as_str()).filter(|own| *own != "cache-control");
    let by_itself = own.into_iter().chain(read.iter().copied()).find_map(decided);
    let others = || foreign.iter().copied().filter_map(decided);
    let translated = || others().find(|seconds| *seconds == 0).or_else(|| others().next());
    if let Some(seconds) = by_itself.or_else(translated) {
        return Some(remaining(headers, seconds));
    }
    if has(&browser, &["no-cache"]) {
        return Some(0);
    }
    lifetime(&browser, &["s-maxage"])
        .or_else(|| lifetime(&browser, &["max-age"]))
        .or_else(|| expires(headers))
        .map(|seconds| remaining(headers, seconds))
}

/// Returns the headers without the fields by which a CDN purges.
fn without_tags(mut headers: Headers) -> Headers {
    for field in TAG_FIELDS.into_iter().chain(["x-origin-shim-path"]) {
        headers.remove(field);
    }
    headers
}

/// The tags of a response, read by the dialect's own rules.
fn written_tags(headers: &Headers, dialect: &Dialect) -> Vec<String> {
    let Some(value) = dialect.tag_header.as_ref().and_then(|name| headers.get(name)) else { return vec![] };
    let separator = if matches!(dialect.cdn, CdnType::Fastly | CdnType::Varnish) { ' ' } else { ',' };
    value.to_str().unwrap().split(separator).map(str::to_owned).collect()
}

fn fits_the_tags(reason: Reason) -> bool {
    !matches!(reason, Reason::TagsTooMany | Reason::TagsTooLarge | Reason::TagsUnnameable)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn rewriting_twice_is_rewriting_once(
        policy in policy(weighted()), dialect in any_dialect(), exchange in exchange(prop_oneof![line(), wild_line()]),
    ) {
        // A broad tag leaves no trace.
        let policy = Policy { tags: TagPolicy { broad: vec![], ..policy.tags.clone() }, ..policy };
        let (decision, once) = exchange.clone().rewritten(&policy, &dialect);
        // These are the exceptions that `rewrite` documents.
        let targeted_and_shared =
            decision.reason == Reason::OriginTargeted && dialect.ttl_header == "cache-control";
        // If the tags have no field to go to, a 304 has no tags afterwards.
        let unseen = exchange.status == 304;
        // The lifetime that allows sharing the response to an authorised request is the origin's, and it is replaced.
        let private = exchange.authorization;
        if !fits_the_tags(decision.reason) || targeted_and_shared || private || unseen {
            return Ok(());
        }
        let (_, twice) = Exchange { headers: once.clone(), ..exchange }.rewritten(&policy, &dialect);
        if decision.reason != Reason::PurgingUnhealthy || dialect.tag_header.is_none() {
            prop_assert_eq!(text(&once), text(&twice));
        } else {
            prop_assert_eq!(text(&without_tags(once)), text(&without_tags(twice)));
        }
    }

    /// The exceptions are prohibitions, which are written in a form that the CDN reads, fields that caches must
    /// ignore, and fields of a 304 that would remove the lifetime of the page.
    #[test]
    fn untouched_means_untouched(
        policy in policy(weighted()), dialect in any_dialect(), exchange in exchange(line()),
    ) {
        let mut before = without_tags(exchange.headers.clone());
        let (decision, after) = exchange.rewritten(&policy, &dialect);
        let after = without_tags(after);
        if decision.reason == Reason::NotModified && !after.contains(&dialect.ttl_header) {
            // A field without a lifetime would replace the stored one.
            before.remove(&dialect.ttl_header);
        }
        if decision.outcome != Outcome::Untouched || text(&before) == text(&after) {
            return Ok(());
        }
        prop_assert_eq!(edge_lifetime(&after, &dialect), Some(0), "{:?}", after);
        prop_assert!(browser_lifetime(&after) == browser_lifetime(&before) || browser_lifetime(&before).is_none());
        let caching = |name: &str| TARGETED.contains(&name) || name == "cache-control" || dialect.ttl_header == name;
        let rest = |headers: &Headers| {
            let mut rest = headers.clone();
            rest.retain(|line| !caching(line.name()));
            text(&rest)
        };
        prop_assert_eq!(rest(&before), rest(&after));
    }

    #[test]
    fn without_override_nothing_forbidden_is_lengthened(
        policy in policy(Just(false)), dialect in any_dialect(), exchange in exchange(line()),
    ) {
        let before = exchange.headers.clone();
        let forbidden = before.contains("set-cookie")
            || exchange.method == Method::POST
            || said(&before, "vary").iter().any(|name| name == "*" || name == "Cookie")
            || edge_lifetime(&before, &dialect) == Some(0) && !before.contains("age");
        let status = exchange.status;
        let (decision, after) = exchange.rewritten(&policy, &dialect);
        if forbidden {
            prop_assert_ne!(decision.outcome, Outcome::Lengthened);
            let lifetime = edge_lifetime(&after, &dialect);
            // A 304 without tags gets no longer lifetime than the page had, but does not contain that lifetime.
            let known = !matches!(decision.reason, Reason::ErrorStatus) && status != 304;
            // Caches have defaults if the origin gives no lifetime. Tags that no purge reaches shorten even those.
            let allowed = edge_lifetime(&before, &dialect)
                .or((decision.outcome == Outcome::Fallback).then_some(policy.ttls.fallback.as_secs()));
            prop_assert!(!known || lifetime == Some(0) || lifetime <= allowed, "{:?}", lifetime);
        }
        for directive in ["private", "no-store"] {
            let kept = |headers| has(&said(headers, "cache-control"), &[directive]);
            prop_assert!(!kept(&before) || kept(&after), "{} disappeared", directive);
        }
    }

    #[test]
    fn a_targeted_lifetime_is_neither_lengthened_nor_shortened(
        policy in policy(Just(false)), dialect in any_dialect(), exchange in exchange(line()),
        field in select(&TARGETED[..4]), seconds in 1..9_000u32,
    ) {
        let mut exchange = Exchange { method: Method::GET, status: 200, unhealthy: false, ..exchange };
        exchange.headers.append(&HeaderName::from_static(field), &HeaderValue::from_str(&format!("max-age={seconds}")).unwrap());
        let before = exchange.headers.clone();
        let (decision, after) = exchange.rewritten(&policy, &dialect);
        if decision.reason != Reason::OriginTargeted {
            return Ok(());
        }
        prop_assert_eq!(edge_lifetime(&before, &dialect), edge_lifetime(&after, &dialect));
        // Browsers without any lifetime revalidate each time.
        prop_assert_eq!(browser_lifetime(&before).or(Some(0)), browser_lifetime(&after));
    }

    #[test]
    fn fallback_exceeds_neither_the_origin_nor_the_site(
        policy in policy(weighted()), dialect in any_dialect(), exchange in exchange(line()),
    ) {
        let (before, method) = (exchange.headers.clone(), exchange.method.clone());
        // The CDN does not keep responses to other methods, and Varnish never keeps some statuses, whether the
        // tags fit or not.
        let is_kept = method != Method::POST
            && !(dialect.cdn == CdnType::Varnish && matches!(exchange.status, 206 | 302 | 308 | 400 | 429));
        let (decision, after) = exchange.rewritten(&policy, &dialect);
        if decision.outcome != Outcome::Fallback || !is_kept {
            return Ok(());
        }
        let limit = policy.ttls.fallback.as_secs();
        let (browser, edge) = (browser_lifetime(&after), edge_lifetime(&after, &dialect));
        let is_shared = edge != Some(0);
        prop_assert!(!is_shared || browser.unwrap_or(0) <= limit.min(browser_lifetime(&before).unwrap_or(limit)));
        prop_assert!(edge.unwrap_or(0) <= limit.min(edge_lifetime(&before, &dialect).unwrap_or(limit)));
    }

    #[test]
    fn only_the_headers_of_the_cdn_that_asked_are_sent(
        policy in policy(weighted()), dialect in any_dialect(), exchange in exchange(prop_oneof![line(), wild_line()]),
    ) {
        let (decision, after) = exchange.rewritten(&policy, &dialect);
        let others = |fields: &[&'static str], own: Option<&HeaderName>| {
            fields.iter().filter(|name| own.is_none_or(|own| own != **name)).find(|name| after.contains(**name)).copied()
        };
        if decision.outcome == Outcome::Lengthened || decision.reason == Reason::ErrorStatus {
            prop_assert_eq!(others(&TARGETED, Some(&dialect.ttl_header)), None);
        }
        prop_assert_eq!(others(&TAG_FIELDS[..7], dialect.tag_header.as_ref()), None);
        if let Some(own) = &dialect.tag_header {
            prop_assert!(after.get_all(own).count() <= 1);
        }
    }

    /// A 304 replaces stored fields (RFC 9111 §3.2). A CDN that reads no tags from it gets none, in whatever field
    /// the site has them.
    #[test]
    fn a_304_has_no_tags_for_a_cdn_that_reads_none_from_it(
        policy in policy(weighted()), dialect in any_dialect(), exchange in exchange(prop_oneof![line(), wild_line()]),
    ) {
        let (_, after) = exchange.status(304).rewritten(&policy, &dialect);
        if !dialect.cdn.facts().tags.in_304 {
            let own = dialect.tag_header.as_ref().map(HeaderName::as_str);
            let left = TAG_FIELDS[..5].iter().copied().chain(own).find(|name| after.contains(*name));
            prop_assert_eq!(left, None);
        }
    }

    #[test]
    fn a_response_carries_the_encoding_of_each_of_its_tags(
        policy in policy(weighted()), dialect in any_dialect(), form in select(&[TagForm::Full, TagForm::Short]),
        exchange in exchange(line()),
    ) {
        let dialect = Dialect { tag_form: form, ..dialect };
        let path = normalise(&exchange.path).into_owned();
        let mut tags = vec![];
        tags.extend(policy.tags.site.then(|| site_tag(&policy.site)));
        tags.extend(policy.tags.path.then(|| path_tag(&policy.site, &exchange.path)));
        tags.extend(sections(&path, policy.tags.sections).map(|section| section_tag(&policy.site, section)));
        let own = tags.len();
        tags.extend(policy.rule(&path).into_iter().flat_map(|rule| rule.tags.clone()));
        for field in TAG_FIELDS {
            let lines = exchange.headers.get_all(field).map(|line| line.to_str().unwrap());
            if field != "x-tags" || dialect.tag_header.as_ref().is_some_and(|own| own == "x-tags") {
                tags.extend(lines.flat_map(|line| line.split([' ', ','])).filter(|tag| !tag.is_empty()).map(str::to_owned));
            }
        }
        let (decision, after) = exchange.rewritten(&policy, &dialect);
        let seen = decision.reason != Reason::NotModified;
        if decision.outcome == Outcome::Fallback || dialect.tag_header.is_none() || !seen {
            return Ok(());
        }
        let written = written_tags(&after, &dialect);
        let ignores_case = matches!(dialect.cdn, CdnType::Cloudflare | CdnType::Cloudfront);
        let (carried, broad): (Vec<_>, Vec<_>) =
            tags.into_iter().enumerate().partition(|(number, tag)| *number < own || !policy.tags.is_broad(tag.as_bytes()));
        for (_, tag) in broad {
            let purged = dialect.encode(&tag);
            prop_assert!(carried.iter().any(|(_, other)| *other == tag) || !written.iter().any(|tag| *tag == purged));
        }
        for (_, tag) in carried {
            let purged = dialect.encode(&tag);
            let found = written.iter().any(|tag| *tag == purged || ignores_case && tag.eq_ignore_ascii_case(&purged));
            prop_assert!(found, "{} ({}) is not in {:?}", tag, purged, written);
        }
        for tag in written {
            prop_assert_eq!(encode(dialect.cdn, TagForm::Full, &tag), &*tag);
        }
    }

    #[test]
    fn nothing_else_changes(
        policy in policy(weighted()), dialect in any_dialect(), exchange in exchange(line()),
    ) {
        let status = exchange.status;
        let rest = |headers: &Headers| {
            let kept = ["set-cookie", "vary", "date", "content-type", "etag", "last-modified"];
            let validators = !matches!(status, 404 | 410);
            let mut lines: Vec<_> = headers
                .iter()
                .filter(|(name, _)| kept[..if validators { 6 } else { 4 }].contains(name))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            lines.sort_by(|a, b| a.0.cmp(&b.0));
            lines
        };
        let before = rest(&exchange.headers);
        let (_, after) = exchange.rewritten(&policy, &dialect);
        prop_assert_eq!(before, rest(&after));
    }
}
