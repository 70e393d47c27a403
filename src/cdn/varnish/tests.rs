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
    use Verdict::{BadCredentials, Done, Later, Refused, Split, Unproven};
    let check = |status: u16, one: Verdict, more: Verdict| {
        let reply = reply(status, &[("x-purged", "0")], "");
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
    check(204, Unproven, Unproven);
    for status in [301, 429, 500, 501, 503] {
        check(status, Later(None), Later(None));
    }
}

#[test]
fn every_node_must_prove_a_purge_and_a_ban() {
    const PURGED: (u16, &str) = (200, "0");
    const BANNED: (u16, &str) = (200, "ban");
    let check = |answers: &[(u16, &str)], verdict: Verdict, words: &str| {
        let reply = |(status, proof): &(u16, &str)| match *proof {
            "" => reply(*status, &[("x-varnish", "7")], "Purged"),
            proof => reply(*status, &[("x-varnish", "7"), ("x-purged", proof)], ""),
        };
        let replies: Vec<_> = answers.iter().map(reply).collect();
        let classified = varnish().classify_check(&replies);
        assert_eq!((classified.verdict, classified.message.as_str()), (verdict, words), "{answers:?}");
    };
    check(&[PURGED, BANNED, PURGED, BANNED], Verdict::Done, "200 OK");
    check(&[PURGED, BANNED, (503, "0"), BANNED], Verdict::Later(None), "node 2: 503 Service Unavailable");
    check(&[(403, "0"), BANNED, PURGED, BANNED], Verdict::BadCredentials, "node 1: 403 Forbidden");
    check(&[PURGED, (405, "0"), PURGED, BANNED], Verdict::BadCredentials, "node 1: 405 Method Not Allowed");
    for too_few in [&[PURGED, BANNED][..], &[PURGED, BANNED, PURGED], &[]] {
        check(too_few, Verdict::Later(None), "no answer");
    }
    // The origin answered instead of Varnish.
    let words = "node 2: 200 without X-Purged, so the VCL of origin-shim does not answer here: Purged";
    check(&[PURGED, BANNED, (200, ""), (200, "")], Verdict::Unproven, words);
    // The node has the VCL of an earlier release.
    let words = format!("node 1: {OLD_VCL}");
    check(&[PURGED, (200, ""), PURGED, BANNED], Verdict::Unproven, &words);
}
