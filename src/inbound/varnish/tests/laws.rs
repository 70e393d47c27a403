//! The laws of reading: what a client quotes is read as what it meant, and a pattern is never read as less than it
//! matches.

use super::*;
use proptest::prelude::*;
use regex::Regex;
use std::collections::BTreeSet;

/// Quotes a text as PHP's `preg_quote` does, by which Symfony's clients quote.
fn preg_quote(text: &str) -> String {
    let quoted = |c: char| match c {
        _ if r".\+*?[^]$(){}=!<>|:-#".contains(c) => format!("\\{c}"),
        _ => c.to_string(),
    };
    text.chars().map(quoted).collect()
}

fn joined(tags: &[String], separator: &str, quote: impl Fn(&str) -> String) -> String {
    tags.iter().map(|tag| quote(tag)).collect::<Vec<_>>().join(separator)
}

/// FOSHttpCache by ban. In its tags, commas and line ends become `_`, in responses as well.
fn fos(tags: &[String]) -> String {
    format!("(^|,)({})(,|$)", joined(tags, "|", preg_quote))
}

fn magento(tags: &[String]) -> String {
    joined(tags, "|", |tag| format!("((^|,){tag}(,|$))"))
}

fn api_platform(tags: &[String]) -> String {
    format!(r"({})($|\,)", joined(tags, "|", preg_quote))
}

fn api_platform_2(tags: &[String]) -> String {
    match tags {
        [one] => format!(r"(^|\,){}($|\,)", preg_quote(one)),
        _ => joined(tags, "|", |tag| format!(r"((^|\,){}($|\,))", preg_quote(tag))),
    }
}

/// The tags that a response has which lists these, since spaces and commas separate tags there.
fn in_responses(tags: &[String]) -> BTreeSet<String> {
    let split = |tag: &String| tag.split([' ', ',']).map(str::to_owned).collect::<Vec<_>>();
    tags.iter().flat_map(split).filter(|tag| !tag.is_empty()).collect()
}

#[track_caller]
fn expect_tags(method: &str, header: &str, value: &str, tags: &[String]) {
    let read = asked(method, "/", &[("host", "cache"), (header, value)]);
    if tags.iter().any(|tag| tag.contains('*')) {
        // No purge can name it.
        assert_eq!(read.unwrap_err().status, 422, "{value}");
        return;
    }
    let read = read.unwrap_or_else(|error| panic!("{value}: {error}"));
    assert!(!read.everything, "{value}");
    assert_eq!(read.tags.into_iter().collect::<BTreeSet<_>>(), in_responses(tags), "{value}");
}

/// Generates lists of such tags.
fn tags_of(tag: &'static str) -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(tag, 1..8)
}

proptest! {
    #[test]
    fn tags_that_are_quoted_are_those_that_were_meant(
        tags in tags_of(r"[!-+\--~éß漢 ]{0,7}[!-)+\--~é漢]"),
    ) {
        for quote in [fos, api_platform, api_platform_2] {
            for header in ["x-cache-tags", "apiplatform-ban-regex"] {
                expect_tags("BAN", header, &quote(&tags), &tags);
            }
        }
    }

    #[test]
    fn tags_that_are_listed_are_those_that_were_meant(tags in tags_of(r"[!-+\--~é漢]{1,8}")) {
        expect_tags("PURGEKEYS", "xkey-softpurge", &tags.join(" "), &tags);
        expect_tags("PURGE", "xkey", &tags.join(" "), &tags);
        expect_tags("PURGE", "surrogate-key", &tags.join(", "), &tags);
        expect_tags("PURGETAGS", "x-cache-tags", &tags.join(","), &tags);
    }

    #[test]
    fn tags_that_are_not_quoted_are_those_that_were_meant(tags in tags_of("[A-Za-z0-9_:.é@/#=-]{1,8}")) {
        expect_tags("PURGE", "x-magento-tags-pattern", &magento(&tags), &tags);
        for header in ["cache-tags", "purge-cache-tags"] {
            for separator in [" ", "|", ","] {
                expect_tags("BAN", header, &tags.join(separator), &tags);
            }
        }
    }

    #[test]
    fn urls_are_those_that_were_meant(
        path in r"(/[!-~&&[^#?*%/\\]]{1,6}){1,3}/?",
        query in r"(\?[!-~&&[^#*%\\]]{0,6})?",
    ) {
        prop_assume!(!path.contains(".*") && !query.contains(".*"));
        // Not every URL of such characters is one.
        prop_assume!(format!("{path}{query}").parse::<http::Uri>().is_ok());
        let named = vec![Named { authority: "a.test".into(), path: path.clone(), query: query.clone() }];
        let host = [("host", "a.test")];
        for (method, target) in [
            ("PURGE", format!("{path}{query}")),
            ("URIBAN", format!("{path}{query}")),
            ("PURGE", format!("http://a.test{path}{query}")),
            ("PURGE", format!("/VirtualHostBase/https/a.test:443/Plone/VirtualHostRoot{path}{query}")),
        ] {
            prop_assume!(target.parse::<http::Uri>().is_ok());
            prop_assert_eq!(&asked(method, &target, &host).unwrap().urls, &named);
        }
        let ban = |pattern: String| asked("BAN", "/", &[("x-url", &pattern)]).unwrap();
        prop_assert_eq!(ban(format!("^{}$", preg_quote(&path))).pages, [&*path]);
        let below = format!("{}/", path.trim_end_matches('/'));
        prop_assert_eq!(ban(format!("^{}", preg_quote(&below))).prefixes, [&*below]);
    }
}

/// Generates patterns, most of which are odd.
fn patterns(pieces: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(pieces), 1..9).prop_map(|pieces| pieces.concat())
}

/// Every URL of up to three short names, with and without queries.
fn urls() -> Vec<String> {
    let names = ["", "a", "b", "ab", "a.b", "axb", "a*"];
    let mut paths = vec![String::new()];
    for _ in 0..3 {
        let longer = paths.iter().flat_map(|path| names.map(|name| format!("{path}/{name}")));
        paths = paths.iter().cloned().chain(longer).collect::<BTreeSet<_>>().into_iter().collect();
    }
    paths.retain(|path| path.starts_with('/'));
    paths.iter().flat_map(|path| ["", "?", "?a", "?a/b"].map(|query| format!("{path}{query}"))).collect()
}

/// Whether a purge reaches a URL.
fn covers(purge: &Asked, url: &str) -> bool {
    let path = url.split('?').next().unwrap_or_default().replace('*', "%2A");
    purge.everything
        || purge.pages.contains(&path)
        || purge.prefixes.iter().any(|prefix| prefix.ends_with('/') && path.starts_with(prefix))
}

const URL_PIECES: &[&str] = &[
    "^",
    "^/",
    "$",
    "/",
    "/a",
    "a",
    "b",
    "ab",
    ".",
    r"\.",
    ".*",
    ".*$",
    "*",
    r"\*",
    "?",
    "(",
    ")",
    "|",
    "(?:",
    "(a|b)",
    r"\?",
    r"(\?.*)?$",
    r"(\?|$)",
    "+",
    "[ab]",
    "{2}",
    r"\d",
    r"\/",
];

const TAG_PIECES: &[&str] = &[
    "(^|,)",
    "(,|$)",
    r"(^|\,)",
    r"($|\,)",
    r"\b",
    "(",
    ")",
    "|",
    "a",
    "b",
    "ab",
    "(a|b)",
    "(a)",
    "-",
    r"\-",
    ".",
    r"\.",
    ".*",
    "^",
    "$",
    ",",
    " ",
    "( |$)",
    "*",
    "+",
    "?",
    "{2}",
    "[ab]",
    "((^|,)a(,|$))",
    r"\w",
];

/// Whether a match in a list consists of whole tags.
fn is_whole(list: &str, found: std::ops::Range<usize>) -> bool {
    let is_separator = |c: char| matches!(c, ',' | ' ');
    let text = &list[found.clone()];
    let starts = text.starts_with(is_separator)
        || list[..found.start].is_empty()
        || list[..found.start].ends_with(is_separator);
    let ends = text.ends_with(is_separator)
        || list[found.end..].is_empty()
        || list[found.end..].starts_with(is_separator);
    starts && ends && text.contains(|c| !is_separator(c))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn a_pattern_of_urls_is_never_read_as_less_than_it_matches(pattern in patterns(URL_PIECES)) {
        let Ok(read) = asked("BAN", "/", &[("x-url", &pattern)]) else { return Ok(()) };
        let real = Regex::new(&pattern).unwrap();
        for url in urls() {
            prop_assert!(!real.is_match(&url) || covers(&read, &url), "{pattern} matches {url}: {read:?}");
        }
    }

    #[test]
    fn a_pattern_in_a_target_is_never_read_as_less_than_it_matches(pattern in patterns(URL_PIECES)) {
        let target = format!("/{pattern}");
        // Dots are dots there, since clients do not quote them.
        if target.parse::<http::Uri>().is_err() || pattern.replace(".*", "").contains('.') {
            return Ok(());
        }
        let Ok(read) = asked("PURGE", &target, &[("x-purge-method", "regex")]) else { return Ok(()) };
        let real = Regex::new(&format!("^(?:{target})")).unwrap();
        for url in urls() {
            prop_assert!(!real.is_match(&url) || covers(&read, &url), "{target} matches {url}: {read:?}");
        }
    }

    #[test]
    fn a_pattern_of_tags_is_never_read_as_less_than_it_names(pattern in patterns(TAG_PIECES)) {
        let Ok(read) = asked("BAN", "/", &[("x-cache-tags", &pattern)]) else { return Ok(()) };
        prop_assume!(pattern.contains(['(', '\\']));
        let real = Regex::new(pattern.trim()).unwrap();
        let names = ["a", "b", "ab", "a-b", "a.b", "-", "c"];
        for (first, second) in names.iter().flat_map(|first| names.map(|second| (*first, second))) {
            for list in [first.to_owned(), format!("{first},{second}"), format!("{first} {second}")] {
                let is_named = real.find_iter(&list).any(|found| is_whole(&list, found.range()));
                let is_covered = read.everything || read.tags.iter().any(|tag| *tag == first || list.len() > first.len() && *tag == second);
                prop_assert!(!is_named || is_covered, "{pattern} names tags of {list}: {read:?}");
            }
        }
    }
}
