use super::*;
use crate::cdn::tests::{adapters, batch, check_calls, reply, sign, verdicts};

fn varnish() -> Box<dyn Adapter> {
    adapters("fake-").swap_remove(4)
}

#[test]
fn calls() {
    check_calls(
        "varnish",
        &*varnish(),
        &[
            batch(ItemKind::Url, true, &["https://www.example.com/süß?x=1"]),
            batch(ItemKind::Url, false, &["https://www.example.com/a"]),
            batch(ItemKind::Tag, true, &["product-42", "site"]),
            batch(ItemKind::Tag, false, &["product-42"]),
            batch(ItemKind::Prefix, true, &["www.example.com/blog.(v1)+/"]),
            batch(ItemKind::Prefix, false, &["www.example.com/"]),
            batch(ItemKind::Everything, true, &["*"]),
            batch(ItemKind::Everything, false, &["*"]),
        ],
    );
}

#[test]
fn a_header_line_stays_below_7_000_bytes() {
    let tags: Vec<String> = (0..400).map(|number| format!("tag-{number:016}")).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    let calls = varnish().requests(&batch(ItemKind::Tag, false, &tags), &sign()).expect("calls");
    let lines: Vec<usize> = calls.iter().map(|call| call.headers()["xkey-softpurge"].len()).collect();
    assert_eq!(lines, [300 * 21 - 1, 300 * 21 - 1, 100 * 21 - 1, 100 * 21 - 1], "two nodes");
}

#[test]
fn prefixes_match_each_of_their_spellings() {
    let check = |path: &str, expected: &str| assert_eq!(spelt(path), expected);
    check("/blog/", "/blog/");
    check("/a-b_c~d%2F/", "/a-b_c~d%2[fF]/");
    check("/a.b(c)/", r"/a\.b(?:\(|%28)c(?:\)|%29)/");
    check("/caf%c3%a9/", r"/caf(?:%[cC]3|\xC3)(?:%[aA]9|\xA9)/");
    check("//a%3Ab%7C%20/", r"/a(?:\:|%3[aA])b(?:%7[cC]|\x7C)%20/");
    check("/100%25/", r"/100(?:%25|\x25)/");
}

#[test]
fn replies() {
    use Verdict::{BadCredentials, Done, Later, Refused, Split};
    let check = |status: u16, one: Verdict, more: Verdict| {
        let reply = reply(status, &[], "");
        assert_eq!(verdicts(&*varnish(), ItemKind::Tag, &reply), (one, more), "{status}");
    };
    check(200, Done, Done);
    for status in [401, 403, 405] {
        check(status, BadCredentials, BadCredentials);
    }
    for status in [400, 413, 431] {
        check(status, Refused, Split);
    }
    for status in [404, 410, 411] {
        check(status, Refused, Refused);
    }
    for status in [204, 301, 429, 500, 501, 503] {
        check(status, Later(None), Later(None));
    }
}

#[test]
fn every_node_must_take_the_check() {
    let purged = [("x-varnish", "7"), ("x-purged", "0")];
    let check = |statuses: &[u16], headers: &[(&str, &str)], verdict: Verdict, words: &str| {
        let replies: Vec<_> = statuses.iter().map(|status| reply(*status, headers, "")).collect();
        let classified = varnish().classify_check(&replies);
        assert_eq!((classified.verdict, classified.message.as_str()), (verdict, words), "{statuses:?}");
    };
    check(&[200, 200], &purged, Verdict::Done, "200 OK");
    check(&[200, 503], &purged, Verdict::Later(None), "node 2: 503 Service Unavailable");
    check(&[403, 200], &purged, Verdict::BadCredentials, "node 1: 403 Forbidden");
    check(&[200], &purged, Verdict::Later(None), "no answer");
    check(&[], &purged, Verdict::Later(None), "no answer");
    // The origin said so, not Varnish.
    let words = "node 1: a 200 without X-Purged: the VCL of origin-shim does not answer here";
    check(&[200, 200], &[], Verdict::Later(None), words);
}
