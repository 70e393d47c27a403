//! A 304 confirms a page that the shim did not see, so its treatment depends on its own fields only.

use super::guard::purged;
use super::*;
use crate::rewrite::keys::tag_key;
use CdnType::{Akamai, Cloudflare, Cloudfront, Fastly, Varnish};

/// A site with tags of its own, which an untagged 304 must not get either.
fn tagging() -> Policy {
    Policy { tags: TagPolicy { path: true, site: true, sections: 1, ..TagPolicy::default() }, ..site() }
}

fn not_modified(lines: &[&str]) -> Exchange {
    get(lines).status(304)
}

#[test]
fn without_tags_it_brings_neither_tags_nor_lifetimes() {
    for lines in [
        &["etag: \"v1\"", "cache-control: max-age=60"][..],
        &["etag: \"v1\""],
        &["date: Sun, 06 Nov 1994 08:49:37 GMT"],
        &["surrogate-key:  ", "etag: e"],
    ] {
        for cdn in CdnType::ALL {
            let (decision, headers) = not_modified(lines).rewritten(&tagging(), &dialect(cdn));
            assert_eq!(decision, Decision { outcome: Outcome::Untouched, reason: Reason::NotModified });
            let mut before = not_modified(lines).headers;
            before.remove("surrogate-key");
            assert_eq!(text(&headers), text(&before), "{cdn:?}");
        }
    }
}

/// The site may choose any field for tags, and the origin may send it, too.
#[test]
fn a_field_of_the_sites_choice_is_one_of_tags() {
    for cdn in CdnType::ALL {
        let dialect = Dialect::new(cdn, None, Some(HeaderName::from_static("x-tags")));
        for lines in [&["x-tags: ", "x-tags: ,"][..], &["x-tags: a", "x-tags: b"]] {
            let (_, headers) = not_modified(lines).rewritten(&site(), &dialect);
            let written = headers.get("x-tags").map(|value| value.to_str().unwrap());
            let is_read = lines.contains(&"x-tags: a") && cdn.facts().tags.in_304;
            assert_eq!(written.is_some(), is_read, "{cdn:?} {lines:?}");
            assert!(headers.get_all("x-tags").count() <= 1);
        }
    }
}

#[test]
fn with_tags_it_is_as_whole_as_a_200() {
    let lines = ["etag: e", "cache-control: max-age=60", "surrogate-key: product-42"];
    for cdn in [Fastly, Cloudflare, Cloudfront, Varnish] {
        let (decision, headers) = not_modified(&lines).rewritten(&tagging(), &dialect(cdn));
        let (_, whole) = get(&lines).rewritten(&tagging(), &dialect(cdn));
        assert_eq!(decision.outcome, Outcome::Lengthened, "{cdn:?}");
        assert_eq!(text(&headers), text(&whole), "{cdn:?}");
    }
    // Akamai ignores the tags of a 304, so the page's tags stay, whatever they are.
    let (decision, headers) = not_modified(&lines).rewritten(&tagging(), &dialect(Akamai));
    assert_eq!(decision.reason, Reason::NotModified);
    assert_eq!(text(&headers), "cache-control: max-age=60 | etag: e");
}

/// The field would replace the one with the page's lifetime. The page would then live for the CDN's default.
#[test]
fn a_field_without_a_lifetime_does_not_replace_one_that_has_it() {
    let esi = "surrogate-control: content=\"ESI/1.0\"";
    for (cdn, expected) in [
        (Fastly, "etag: e".to_owned()),
        (Varnish, "etag: e".to_owned()),
        (Cloudflare, format!("etag: e | {esi}")),
    ] {
        let text = not_modified(&[esi, "etag: e"]).text(&tagging(), &dialect(cdn));
        assert_eq!(text, format!("untouched not-modified | {expected}"), "{cdn:?}");
    }
    let told = "surrogate-control: max-age=60, content=\"ESI/1.0\"";
    let text = not_modified(&[told]).text(&tagging(), &dialect(Fastly));
    assert_eq!(text, format!("untouched not-modified | {told}"));
}

/// Otherwise the stored `Surrogate-Control` would remain in effect.
#[test]
fn what_it_forbids_is_said_where_a_lifetime_may_be_stored() {
    let told = |cdn| not_modified(&["cache-control: private", "etag: e"]).text(&tagging(), &dialect(cdn));
    let row = "untouched not-modified | cache-control: private";
    assert_eq!(told(Varnish), format!("{row} | etag: e | surrogate-control: no-store, max-age=0"));
    assert_eq!(told(Cloudflare), format!("{row} | cloudflare-cdn-cache-control: no-store | etag: e"));
    assert_eq!(told(Cloudfront), format!("{row} | etag: e"));
}

#[test]
fn it_may_shorten() {
    let unhealthy = |lines: &[&str], cdn| not_modified(lines).unhealthy().text(&tagging(), &dialect(cdn));
    let told = "fallback purging-unhealthy | ";
    assert_eq!(
        unhealthy(&["etag: e", "cache-control: max-age=60"], Varnish),
        format!("{told}cache-control: max-age=60 | etag: e | surrogate-control: max-age=60")
    );
    assert_eq!(
        unhealthy(&["cache-control: max-age=9000"], Cloudfront),
        format!("{told}cache-control: max-age=300, s-maxage=300")
    );
    // The page's lifetime is unknown, so only a moment is certainly no longer.
    assert_eq!(
        unhealthy(&["etag: e"], Fastly),
        format!("{told}cache-control: no-cache | etag: e | surrogate-control: max-age=1")
    );
    let (decision, headers) =
        not_modified(&["etag: e"]).held_against(&purged(), 1_000_000, &tagging(), &dialect(Cloudflare));
    assert_eq!(decision.outcome, Outcome::Guarded);
    assert_eq!(text(&headers), "cache-control: no-cache | cloudflare-cdn-cache-control: max-age=1 | etag: e");
}

#[test]
fn what_it_forbids_is_forbidden() {
    let check = |lines: &[&str], cdn, expected: &str| {
        assert_eq!(text(&not_modified(lines).rewritten(&tagging(), &dialect(cdn)).1), expected, "{cdn:?}");
    };
    check(&["cdn-cache-control: no-store"], Varnish, "surrogate-control: no-store, max-age=0");
    check(
        &["cache-control: no-store"],
        Fastly,
        "cache-control: private, no-store | surrogate-control: max-age=0",
    );
    let (_, headers) =
        not_modified(&["cache-control: private"]).unhealthy().rewritten(&site(), &dialect(Akamai));
    assert_eq!(text(&headers), "cache-control: private | edge-control: no-store");
}

#[test]
fn it_may_carry_any_tag() {
    let purged = Purged::default();
    purged.note([tag_key(Fastly, "product-42")], 1_000_000);
    let outcome = |lines: &[&str], began_ms| {
        not_modified(lines).held_against(&purged, began_ms, &tagging(), &dialect(Varnish)).0.outcome
    };
    assert_eq!(outcome(&["etag: e"], 1_000_000), Outcome::Guarded);
    assert_eq!(outcome(&["etag: e"], 1_000_001), Outcome::Untouched);
    assert_eq!(outcome(&["surrogate-key: other"], 1_000_000), Outcome::Lengthened);
    assert_eq!(outcome(&["surrogate-key: product-42"], 1_000_000), Outcome::Guarded);
}
