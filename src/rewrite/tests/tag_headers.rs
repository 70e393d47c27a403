//! Tags of responses: collecting, translating, encoding and limiting them.

use super::*;
use crate::http::head::Value;
use crate::rewrite::aem::{ComputeKeys, Ids, Partition, Project};
use CdnType::{Akamai, Cloudflare, Cloudfront, Fastly, Varnish};

/// A site that adds tags of its own.
fn tagging_site() -> Policy {
    let rule = Rule {
        path: PathPattern::new("/blog/**").unwrap(),
        tags: vec!["posts".to_owned(), "node:1".to_owned()],
        ..rule()
    };
    Policy {
        tags: TagPolicy { path: true, site: true, sections: 2, ..TagPolicy::default() },
        rules: vec![rule],
        ..site()
    }
}

/// Returns the tag field that the dialect reads, and checks that no other is left.
fn tags(exchange: Exchange, policy: &Policy, dialect: &Dialect) -> Option<String> {
    let (_, mut headers) = exchange.rewritten(policy, dialect);
    let tags = dialect.tag_header.as_ref().and_then(|name| {
        let tags = headers.get(name).map(Value::to_owned);
        headers.remove(name);
        tags
    });
    for other in
        ["surrogate-key", "x-surrogate-key", "xkey", "cache-tag", "edge-cache-tag", "x-tags", "cache-tags"]
    {
        assert!(!headers.contains(other), "{other} is left");
    }
    tags.map(|value| value.to_str().unwrap().to_owned())
}

#[test]
fn the_most_important_first() {
    let exchange = get(&["surrogate-key: origin posts"]).path("/blog/2024/x");
    let check = |cdn, separator: &str, node: &str| {
        let expected = [
            "site-www",
            "p-b6f673f929f3c92738cd9b5acce1e1d4",
            "d-c26c47e1871d6cc6d7a3142717203097",
            "d-52c60c18881cce95e24de77d5b4c0d3c",
            "posts",
            node,
            "origin",
        ];
        let tags = tags(exchange.clone(), &tagging_site(), &dialect(cdn)).unwrap();
        assert_eq!(tags, expected.join(separator), "{cdn:?}");
    };
    check(Fastly, " ", "node:1");
    check(Akamai, ",", "c0396b94ed60bae669824eb23ac1fab0");
    check(Cloudflare, ",", "node:1");
    check(Cloudfront, ",", "node:1");
    check(Varnish, " ", "node:1");
}

#[test]
fn a_path_has_one_tag_however_it_is_written() {
    let policy =
        Policy { tags: TagPolicy { path: true, site: false, sections: 0, ..TagPolicy::default() }, ..site() };
    for path in ["/blog/first", "//blog/./first", "/%62log/x/../first"] {
        let tags = tags(get(&[]).path(path), &policy, &dialect(Fastly));
        assert_eq!(tags.unwrap(), "p-edca09dc535aa5231d8a872ef4fc49fd");
    }
}

#[test]
fn origins_speak_any_dialect() {
    let check = |lines: &[&str], expected: Option<&str>| {
        assert_eq!(tags(get(lines), &site(), &dialect(Fastly)).as_deref(), expected, "{lines:?}");
    };
    check(&[], None);
    check(&["surrogate-key: "], None);
    check(&["surrogate-key:  a  b\tc,d "], Some("a b c d"));
    check(&["surrogate-key: a, b"], Some("a b"));
    check(&["surrogate-key: ,a ,b, ,c,", "x-surrogate-key: d,e"], Some("a b c d e"));
    check(&["x-surrogate-key: a b"], Some("a b"));
    check(&["xkey: a, b c"], Some("a b c"));
    check(&["cache-tag: a,b , c"], Some("a b c"));
    check(&["edge-cache-tag: a b,c"], Some("a b c"));
    check(&["cache-tag: b", "surrogate-key: a", "xkey: c", "cache-tag: d"], Some("a c b d"));
    check(&["surrogate-key: a B a b"], Some("a B b"));
}

#[test]
fn a_configured_header_is_read_and_written() {
    let check = |cdn, name: &'static str, lines: &[&str], expected: &str| {
        let dialect = Dialect::new(cdn, None, Some(HeaderName::from_static(name)));
        assert_eq!(tags(get(lines), &site(), &dialect).as_deref(), Some(expected));
    };
    check(Cloudfront, "x-tags", &["x-tags: a, b c", "cache-tag: d"], "d,a,b,c");
    check(Cloudfront, "cache-tag", &["cache-tag: a,b"], "a,b");
    check(Cloudfront, "surrogate-key", &["surrogate-key: a,b"], "a,b");
    check(Fastly, "x-tags", &["x-tags: a b,c"], "a b c");
}

#[test]
fn a_header_without_tags_is_removed() {
    let (_, headers) = get(&["x-tags: ,"]).status(206).rewritten(&site(), &dialect(Cloudfront));
    assert_eq!(text(&headers), "");
}

#[test]
fn case_is_told_apart_where_the_cdn_does() {
    let check = |cdn, expected: &str| {
        let tags = tags(get(&["xkey: Ab aB c:C C:c"]), &site(), &dialect(cdn));
        assert_eq!(tags.as_deref(), Some(expected), "{cdn:?}");
    };
    check(Fastly, "Ab aB c:C C:c");
    check(Akamai, "Ab,aB,2379d77c4e8020bcebaf26c05aba1e48,ce970c08fed92dc1f43d1f688d09bd78");
    check(Cloudflare, "Ab,c:C");
    check(Cloudfront, "Ab,c:C");
    check(Varnish, "Ab aB c:C C:c");
}

#[test]
fn a_cdn_without_tags_gets_none() {
    let dialect = Dialect::new(Cloudfront, None, None);
    let many = format!("cache-tag: {}", vec!["x"; 9_000].join(","));
    let exchange = get(&["surrogate-key: a", "xkey: b", &many, "edge-cache-tag: d", "x-surrogate-key: e"]);
    assert_eq!(
        exchange.text(&tagging_site(), &dialect),
        "lengthened ttl-table | cache-control: max-age=7200, s-maxage=172800"
    );
}

#[test]
fn tags_are_translated_whatever_the_status() {
    for status in [200, 206, 302, 404, 416, 500] {
        let exchange = Exchange { method: Method::POST, ..get(&["surrogate-key: a b", "set-cookie: x"]) };
        assert_eq!(tags(exchange.status(status), &site(), &dialect(Akamai)).as_deref(), Some("a,b"));
    }
}

/// Returns `count` tags of `length` bytes each.
fn many(count: usize, length: usize) -> Vec<String> {
    (0..count).map(|i| format!("{i:0length$}")).collect()
}

#[test]
fn what_does_not_fit_means_fallback() {
    let check = |cdn, count, length, fitting: usize, reason: Option<Reason>| {
        let given = many(count, length);
        let dialect = dialect(cdn);
        let exchange = get(&[&format!("xkey: {}", given.join(" "))]);
        let (decision, headers) = exchange.rewritten(&site(), &dialect);
        let outcome = if reason.is_some() { Outcome::Fallback } else { Outcome::Lengthened };
        assert_eq!(decision, Decision { outcome, reason: reason.unwrap_or(Reason::TtlTable) }, "{cdn:?}");
        let value = headers.get(dialect.tag_header.as_ref().unwrap()).unwrap().to_str().unwrap();
        let written: Vec<_> = value.split([' ', ',']).collect();
        assert_eq!(written, given[..fitting], "{cdn:?}");
        let edge = if reason.is_some() { "300" } else { "172800" };
        assert!(headers.get(&dialect.ttl_header).unwrap().to_str().unwrap().contains(&format!("age={edge}")));
    };
    let (many, large) = (Some(Reason::TagsTooMany), Some(Reason::TagsTooLarge));
    check(Akamai, 128, 10, 128, None);
    check(Akamai, 129, 10, 128, many);
    check(Akamai, 65, 127, 64, large);
    check(Cloudflare, 2_730, 5, 2_730, None);
    check(Cloudflare, 2_731, 5, 2_730, large);
    check(Cloudflare, 129, 127, 128, large);
    check(Cloudfront, 50, 10, 50, None);
    check(Cloudfront, 51, 10, 50, many);
    check(Cloudfront, 33, 255, 32, large);
    check(Fastly, 2_000, 7, 2_000, None);
    check(Fastly, 129, 127, 128, large);
    check(Fastly, 2_731, 5, 2_730, large);
    // Exactly 16 KiB.
    check(Fastly, 113, 144, 113, None);
    check(Fastly, 114, 144, 113, large);
}

/// Varnish reads a field of many lines, none of which may be too long. Their values together have a limit, too.
#[test]
fn a_long_list_takes_several_lines() {
    let check = |count: usize, length: usize, lines: usize, fits: bool| {
        let given = many(count, length);
        let exchange = get(&["via: x", &format!("xkey: {}", given.join(" ")), "etag: y"]);
        let (decision, headers) = exchange.rewritten(&site(), &dialect(Varnish));
        assert_eq!(decision.reason, if fits { Reason::TtlTable } else { Reason::TagsTooLarge });
        let values: Vec<_> = headers.get_all("xkey").map(|value| value.to_str().unwrap()).collect();
        assert!(values.iter().all(|value| "xkey: ".len() + value.len() <= 8_000));
        assert_eq!(values.len(), lines);
        let written: Vec<_> = values.iter().flat_map(|value| value.split(' ')).collect();
        assert_eq!(written, given[..written.len()]);
        assert_eq!(written.len() == count, fits, "{}", written.len());
        let names: Vec<_> = headers.lines().map(|line| line.name()).collect();
        assert_eq!(names[..3], ["via", "xkey", "etag"]);
    };
    check(999, 7, 1, true);
    check(1_000, 7, 2, true);
    check(2_990, 7, 3, true);
    check(3_100, 7, 4, false);
    check(30, 1_000, 4, false);
}

/// The rules of the pages with the longest lists: Drupal's and Magento's.
#[test]
fn long_lists_are_made_to_fit() {
    let drupal: Vec<_> = (0..1_500)
        .map(|n| format!("node:{}", 10_000 + n))
        .chain(["rendered".into(), "config:system.site".into()])
        .collect();
    let drupal = [&*format!("cache-tags: {}", drupal.join(" "))].map(str::to_owned);
    let magento: Vec<_> = (0..1_100).map(|n| format!("cat_p_{n}")).collect();
    let magento = [format!("x-magento-tags: {}", magento.join(","))];
    let reason = |lines: &[String], cdn, form, broad: &[&str]| {
        let broad = broad.iter().map(|pattern| TagPattern::new(pattern).unwrap()).collect();
        let policy = Policy { tags: TagPolicy { broad, ..TagPolicy::default() }, ..site() };
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        get(&lines).rewritten(&policy, &Dialect { tag_form: form, ..dialect(cdn) }).0.reason
    };
    let (full, short) = (TagForm::Full, TagForm::Short);
    for cdn in [Fastly, Cloudflare, Varnish] {
        let fits_in_full = if cdn == Varnish { Reason::TtlTable } else { Reason::TagsTooLarge };
        assert_eq!(reason(&drupal, cdn, full, &[]), fits_in_full, "{cdn:?}");
        assert_eq!(reason(&drupal, cdn, short, &[]), Reason::TtlTable, "{cdn:?}");
        assert_eq!(reason(&drupal, cdn, full, &["node:1*", "rendered"]), Reason::TtlTable, "{cdn:?}");
        assert_eq!(reason(&magento, cdn, full, &[]), Reason::TtlTable, "{cdn:?}");
    }
    for cdn in [Akamai, Cloudfront] {
        assert_eq!(reason(&magento, cdn, short, &[]), Reason::TagsTooMany, "{cdn:?}");
        assert_eq!(reason(&magento, cdn, full, &["cat_p_*"]), Reason::TtlTable, "{cdn:?}");
    }
}

#[test]
fn broad_tags_are_not_sent_unless_they_are_the_sites_own() {
    let broad = ["rendered", "config:*", "site-*"].map(|pattern| TagPattern::new(pattern).unwrap()).to_vec();
    let policy = Policy { tags: TagPolicy { broad, path: false, ..TagPolicy::default() }, ..site() };
    let tags =
        tags(get(&["cache-tags: rendered node:1 config:a config rendered2"]), &policy, &dialect(Fastly));
    assert_eq!(tags.as_deref(), Some("site-www node:1 config rendered2"));
}

#[test]
fn a_site_chooses_the_fields_that_are_read() {
    let fields = TagFields::new([
        (HeaderName::from_static("x-cms"), Separator::Byte(b'|')),
        (HeaderName::from_static("cache-groups"), Separator::List),
    ]);
    let policy = Policy { tags: TagPolicy { fields, ..site().tags }, ..site() };
    let read = |lines: &[&str]| tags(get(lines), &policy, &dialect(Fastly));
    assert_eq!(read(&["x-cms: a|b c,d"]).as_deref(), Some("a b c d"));
    assert_eq!(read(&["surrogate-key: a"]), None, "a field of a CDN is removed all the same");
    let (_, headers) = get(&["x-magento-tags: a", "x-cms: b"]).rewritten(&policy, &dialect(Fastly));
    assert_eq!(headers.get("x-magento-tags").unwrap(), "a", "no CDN reads this field, so it is left");
}

#[test]
fn structured_lists() {
    let check = |line: &str, expected: Option<&str>, reason: Reason| {
        let exchange = get(&[&format!("cache-groups: {line}")]);
        assert_eq!(exchange.clone().rewritten(&site(), &dialect(Fastly)).0.reason, reason, "{line}");
        assert_eq!(tags(exchange, &site(), &dialect(Fastly)).as_deref(), expected, "{line}");
    };
    check(r#""a", "b";x=1, 5, c, ("d")"#, Some("a b"), Reason::TtlTable);
    check(r#""a b", "c""#, Some("c8687a08aa5d6ed2044328fa6a697ab8 c"), Reason::TagsUnnameable);
    check(r#""a"#, None, Reason::TagsUnnameable);
    check("", None, Reason::TtlTable);
}

#[test]
fn tags_that_come_twice_count_once() {
    let exchange = get(&[&format!("xkey: {}", vec!["a"; 500].join(" "))]);
    assert_eq!(tags(exchange, &site(), &dialect(Cloudfront)).as_deref(), Some("a"));
    // From some number on, repetitions are found in another way.
    let once = many(300, 5);
    let exchange = get(&[&format!("xkey: {}", [once.join(" "), once.join(" ")].join(" "))]);
    assert_eq!(tags(exchange, &site(), &dialect(Cloudflare)), Some(once.join(",")));
}

#[test]
fn what_is_untouched_is_shortened_when_its_tags_do_not_fit() {
    let line = format!("xkey: {}", many(51, 4).join(" "));
    let check = |exchange: Exchange, expected: &str| {
        let (decision, headers) = exchange.rewritten(&site(), &dialect(Cloudfront));
        assert_eq!(decision, Decision { outcome: Outcome::Fallback, reason: Reason::TagsTooMany });
        assert_eq!(headers.get("cache-control").unwrap(), expected);
    };
    check(get(&["cache-control: max-age=9000, s-maxage=60", &line]).status(206), "max-age=300, s-maxage=60");
    // A response that only a minimum TTL could keep gets no lifetime.
    check(get(&["cache-control: private, max-age=9000", &line]), "private, max-age=9000");
    check(get(&["set-cookie: a=b", &line]), "private");
    check(get(&["vary: cookie", &line]), "max-age=0, s-maxage=300");
    check(get(&["cache-control: no-cache", &line]), "no-cache");
}

#[test]
fn unhealthy_purging_is_named_before_tags() {
    let exchange = get(&[&format!("xkey: {}", many(51, 4).join(" "))]).unhealthy();
    let (decision, _) = exchange.rewritten(&site(), &dialect(Cloudfront));
    assert_eq!(decision.reason, Reason::PurgingUnhealthy);
}

#[test]
fn keys_of_aem_where_the_origin_sends_none() {
    let ids = Ids {
        content_bus_id: "cb1".into(),
        code_ref: "main".into(),
        repo: "repo".into(),
        owner: "owner".into(),
        ..Ids::default()
    };
    let policy = |compute| Policy {
        aem: Some(Project::new(ids.clone(), Partition::Live, vec![], compute)),
        tags: TagPolicy { path: false, site: true, sections: 0, ..TagPolicy::default() },
        ..site()
    };
    let check = |compute, exchange: Exchange, expected: &str| {
        assert_eq!(tags(exchange, &policy(compute), &dialect(Fastly)).as_deref(), Some(expected));
    };
    let keys = "DznXGYQ2dwEHyt2m cb1_metadata main--repo--owner_head cb1";
    let page = |lines: &[&str]| get(lines).path("/blog/first");
    check(ComputeKeys::Missing, page(&[]), &format!("site-www {keys}"));
    check(ComputeKeys::Missing, page(&["x-surrogate-key:  "]), &format!("site-www {keys}"));
    check(ComputeKeys::Missing, page(&["x-surrogate-key: a b"]), "site-www a b");
    check(
        ComputeKeys::Always,
        page(&["x-surrogate-key: a cb1"]),
        "site-www a cb1 DznXGYQ2dwEHyt2m cb1_metadata main--repo--owner_head",
    );
    check(ComputeKeys::Never, page(&[]), "site-www");
    check(
        ComputeKeys::Missing,
        page(&[]).status(404),
        "site-www DznXGYQ2dwEHyt2m 9c4UkTQwpRgLlrSk main--repo--owner_404 main--repo--owner_code cb1",
    );
}

#[test]
fn a_path_that_is_not_canonical_has_the_tag_of_the_canonical_form_besides() {
    let policy =
        Policy { tags: TagPolicy { path: true, site: false, sections: 1, ..TagPolicy::default() }, ..site() };
    let of = |path| tags(get(&[]).path(path), &policy, &dialect(Fastly)).unwrap();
    let expected = |paths: &[&str], sections: &[&str]| {
        let pairs = paths.iter().zip(sections).flat_map(|(path, section)| {
            [crate::rewrite::tags::path_tag("www", path), crate::rewrite::tags::section_tag("www", section)]
        });
        let mut tags: Vec<String> = Vec::new();
        for tag in pairs {
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        tags.join(" ")
    };
    assert_eq!(of("/a:b/c(1)"), expected(&["/a:b/c(1)"], &["/a:b/"]));
    assert_eq!(of("/a%3ab/c"), expected(&["/a%3Ab/c", "/a:b/c"], &["/a%3Ab/", "/a:b/"]));
    assert_eq!(of("/a/c%281)"), expected(&["/a/c%281)", "/a/c(1)"], &["/a/", "/a/"]));
    assert_eq!(of("/a%2Fb/c"), expected(&["/a%2Fb/c"], &["/a%2Fb/"]));
}

#[test]
fn tags_that_no_purge_can_name_mean_fallback() {
    let check = |tags: &[u8], cdn, expected: Reason| {
        let mut exchange = get(&[]);
        exchange.headers.append(
            &http::HeaderName::from_static("surrogate-key"),
            &http::HeaderValue::from_bytes(tags).unwrap(),
        );
        assert_eq!(exchange.rewritten(&tagging_site(), &dialect(cdn)).0.reason, expected, "{tags:?}");
    };
    let (named, unnameable) = (Reason::TtlTable, Reason::TagsUnnameable);
    check("product-42 café".as_bytes(), Fastly, named);
    check(b"product-42 caf\xe9", Fastly, unnameable);
    check(b"product-42 caf\xe9", Akamai, unnameable);
    check(b"a* b", Varnish, unnameable);
    check("x".repeat(1_100).as_bytes(), Varnish, named);
    check("x".repeat(20_000).as_bytes(), Cloudflare, unnameable);
    // The tags that can be named are sent all the same.
    let mut exchange = get(&[]);
    exchange.headers.append(
        &http::HeaderName::from_static("xkey"),
        &http::HeaderValue::from_bytes(b"a caf\xe9 b").unwrap(),
    );
    let policy = Policy {
        tags: TagPolicy { path: false, site: false, sections: 0, ..TagPolicy::default() },
        ..site()
    };
    let sent = tags(exchange, &policy, &dialect(Varnish)).unwrap();
    assert!(sent.starts_with("a ") && sent.ends_with(" b"), "{sent}");
}

#[test]
fn varnish_alone_is_told_the_page_of_a_path_that_is_not_canonical() {
    let page = http::HeaderName::from_static("x-origin-shim-path");
    let told = |path: &str, cdn, exchange: Exchange| {
        let (_, headers) = exchange.path(path).rewritten(&site(), &dialect(cdn));
        headers.get(&page).map(|value| value.to_str().unwrap().to_owned())
    };
    let check = |path, expected: Option<&str>| {
        assert_eq!(told(path, Varnish, get(&[])).as_deref(), expected, "{path}");
        assert_eq!(told(path, Fastly, get(&[])), None);
    };
    check("/a/b", None);
    check("/foo%20(1)", None);
    check("/foo%20%281%29", Some("/foo%20(1)"));
    check("/caf%c3%a9/", Some("/caf%C3%A9/"));
    check("/café/", Some("/caf%C3%A9/"));
    check("//a/./b", Some("/a/b"));
    // Varnish reads 8,000 bytes of the line: the name of the field has 18, and its separator 2.
    let longest = format!("/{}", "x".repeat(7_979));
    assert_eq!(told(&format!("/{longest}"), Varnish, get(&[])), Some(longest.clone()));
    assert_eq!(told(&format!("/{longest}x"), Varnish, get(&[])), None);
    // The origin cannot set this header, and it makes no difference whether the response is lengthened.
    let lying = get(&["x-origin-shim-path: /other", "cache-control: private"]);
    assert_eq!(told("/a", Varnish, lying.clone()), None);
    assert_eq!(told("//a", Varnish, lying).as_deref(), Some("/a"));
}

proptest::proptest! {
    /// The tags of a response match those of a purge of another spelling of its page.
    #[test]
    fn a_response_is_found_by_a_purge_of_any_spelling(
        (held, named) in crate::rewrite::spelling::testing::respelt(), cdn in proptest::sample::select(&CdnType::ALL),
    ) {
        use crate::rewrite::tags::{path_tags, section_tags};
        let policy = Policy { tags: TagPolicy { path: true, site: false, sections: 9, ..TagPolicy::default() }, ..site() };
        let dialect = Dialect::new(cdn, None, Some(HeaderName::from_static("x-tags")));
        let carried = |path: &str| -> Vec<String> {
            let tags = tags(get(&[]).path(path), &policy, &dialect).unwrap_or_default();
            tags.split([' ', ',']).map(str::to_owned).collect()
        };
        proptest::prop_assert!(path_tags("www", &named).iter().any(|tag| carried(&held).contains(tag)));
        let section = named + "/";
        if crate::rewrite::path::normalise(&section) != "/" {
            let below = carried(&(held + "/page"));
            proptest::prop_assert!(section_tags("www", &section).iter().any(|tag| below.contains(tag)));
        }
    }
}

/// Two CDNs may read one field, each with its own encoding.
#[test]
fn where_it_cannot_be_told_who_asked_each_finds_its_tags() {
    let long = "x".repeat(300);
    let dialects = [
        Dialect::new(Cloudflare, None, None),
        Dialect::new(Fastly, None, None),
        Dialect::new(Cloudfront, None, Some(HeaderName::from_static("cache-tag"))),
    ];
    let mut exchange = get(&["cache-control: max-age=900", &format!("xkey: {long} b")]);
    let asked = Asked::default();
    let request = RequestFacts {
        method: &Method::GET,
        path: "/a",
        authorization: false,
        bound: false,
        cookie: false,
        asked,
    };
    let edge = Edge { dialects: &dialects, fallback: Some(Reason::CdnInDispute), guard: None };
    let (decision, provenance) =
        rewrite(&tagging_site(), request, edge, StatusCode::OK, &mut exchange.headers);
    assert_eq!(decision, Decision { outcome: Outcome::Fallback, reason: Reason::CdnInDispute });
    let read = |name: &str, separator: char| -> Vec<String> {
        let value = exchange.headers.get(name).unwrap().to_str().unwrap();
        value.split(separator).map(str::to_owned).collect()
    };
    let keys = provenance.unwrap().keys;
    for (name, separator, cdn) in
        [("cache-tag", ',', Cloudflare), ("surrogate-key", ' ', Fastly), ("cache-tag", ',', Cloudfront)]
    {
        for tag in ["b", &long, "site-www"] {
            let tag = tags::encode(cdn, TagForm::Full, tag);
            assert!(read(name, separator).contains(&tag.to_string()), "{cdn:?} {tag}");
            let key = crate::rewrite::keys::tag_key(cdn, &tag);
            assert!(keys.any(|known| known == key), "{cdn:?} {tag}");
        }
    }
    assert!(!exchange.headers.contains("xkey"));
    assert_eq!(exchange.headers.get("cache-control").unwrap(), "max-age=300, s-maxage=300");
    assert_eq!(exchange.headers.get("surrogate-control").unwrap(), "max-age=300");
    assert_eq!(exchange.headers.get("cloudflare-cdn-cache-control").unwrap(), "max-age=300");
}
