//! Tests of the fake CDNs themselves: what they refuse, and how they misbehave.

use super::bucket::Bucket;
use super::cloudfront::Completion;
use super::objects::Stored;
use super::*;
use crate::harness::http::{Answer as Got, Request};
use std::time::Duration;

fn ask<V: Vendor>(
    fake: &FakeCdn<V>,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> std::io::Result<Got> {
    let request = Request { body: body.as_bytes(), ..Request::get(target).method("POST").headers(headers) };
    request.try_send(fake.address)
}

const ZONE: &str = "/zones/023e105f4ecef8ad9ca31a8372d0c353/purge_cache";
const SOFT: &str = "/zones/023e105f4ecef8ad9ca31a8372d0c353/invalidate_cache";
const BEARER: [(&str, &str); 1] = [("authorization", "Bearer cfut_fake-cloudflare-token")];
const PAGE: &str = "https://www.example.test/a";

#[test]
fn purges_take_effect_on_what_is_held() {
    let fake = FakeCdn::start(Cloudflare::enterprise());
    let check = |target: &str, body: &str, expected: [Stored; 2]| {
        let other = "https://www.example.test/blog/b";
        fake.put(PAGE, &["one", "site"]);
        fake.put(other, &["two", "site"]);
        assert_eq!(ask(&fake, target, &BEARER, body).unwrap().status, 200, "{body}");
        assert_eq!([fake.holds(PAGE), fake.holds(other)], expected, "{body}");
    };
    use Stored::{Fresh, Gone, Stale};
    check(ZONE, r#"{"tags":["one"]}"#, [Gone, Fresh]);
    check(SOFT, r#"{"tags":["site"]}"#, [Stale, Stale]);
    check(ZONE, r#"{"files":["https://www.example.test/a"]}"#, [Gone, Fresh]);
    check(ZONE, r#"{"prefixes":["www.example.test/blog/"]}"#, [Fresh, Gone]);
    check(ZONE, r#"{"purge_everything":true}"#, [Gone, Gone]);
    assert_eq!(fake.holds("https://www.example.test/never"), Gone);
    assert_eq!(fake.purged().len(), 5);
}

#[test]
fn each_fault_is_told_apart() {
    let fake = FakeCdn::start(Cloudflare::enterprise());
    let check = |fault: Fault, status: Option<u16>, takes_effect: bool| {
        fake.forget();
        fake.misbehave(Faults::always(fault));
        let got = ask(&fake, ZONE, &BEARER, r#"{"tags":["one"]}"#).ok().map(|answer| answer.status);
        assert_eq!(got, status, "{fault:?}");
        let calls = fake.calls();
        assert_eq!((calls[0].fault, calls[0].status()), (Some(fault), status), "{fault:?}");
        assert_eq!(!fake.purged().is_empty(), takes_effect, "{fault:?}");
        assert!(!calls[0].is_over_rate());
    };
    check(Fault::TooMany, Some(429), false);
    check(Fault::Unavailable, Some(503), false);
    check(Fault::Reset, None, false);
    check(Fault::LostAnswer, None, true);
    check(Fault::Partly, Some(200), false);
    fake.behave();
    assert_eq!(ask(&fake, ZONE, &BEARER, r#"{"tags":["one"]}"#).unwrap().status, 200);
}

#[test]
fn every_call_is_remembered() {
    let fake = FakeCdn::start(Cloudflare::default());
    ask(&fake, "/first", &[("x-a", "1")], "body").unwrap();
    ask(&fake, "/second", &[], "").unwrap();
    let calls = fake.calls();
    let [first, second] = &calls[..] else { panic!("{calls:?}") };
    assert_eq!(
        (first.method.as_str(), first.target.as_str(), &first.body[..]),
        ("POST", "/first", &b"body"[..])
    );
    assert_eq!((&first.headers["x-a"], first.status()), (&http::HeaderValue::from_static("1"), Some(401)));
    assert!(second.at >= first.at && second.target == "/second");
}

#[test]
fn the_dice_are_the_same_for_the_same_seed() {
    let thrown = |seed| {
        let mut faults = Faults {
            too_many: 0.3,
            unavailable: 0.1,
            hang: 0.05,
            reset: 0.05,
            partly: 0.05,
            ..Faults::seed(seed)
        };
        let mut dice = fastrand::Rng::with_seed(faults.seed);
        (0..1_000).map(|_| faults.throw(&mut dice)).collect::<Vec<_>>()
    };
    assert_eq!(thrown(1), thrown(1));
    assert_ne!(thrown(1), thrown(2));
    let count = |fault| thrown(1).into_iter().filter(|thrown| *thrown == fault).count();
    assert!((250..350).contains(&count(Some(Fault::TooMany))), "{}", count(Some(Fault::TooMany)));
    assert!((400..500).contains(&count(None)), "{}", count(None));
    assert_eq!(count(Some(Fault::LostAnswer)), 0);
}

#[test]
fn an_answer_that_breaks_off_has_taken_effect() {
    let fake = FakeCdn::start(Node::default());
    fake.misbehave(Faults::always(Fault::Partly));
    let request = Request::get("/").method("PURGE").headers(&[("xkey-purge", "a b")]);
    assert!(request.try_send(fake.address).is_err());
    assert_eq!(fake.purged(), Purged::all(Kind::Tag, true, ["a", "b"]));
}

#[test]
fn fastly_answers_half_of_a_batch() {
    let fake = FakeCdn::start(Fastly::default());
    let call = |keys: &str| {
        let body = format!(r#"{{"surrogate_keys":{keys}}}"#);
        let headers = [("fastly-key", "fake-fastly-token")];
        ask(&fake, "/service/SU1Z0isxPaozGVKXdv0eY/purge", &headers, &body).unwrap()
    };
    assert_eq!(call(r#"["a","b"]"#).json().as_object().unwrap().len(), 2);
    let many: Vec<String> = (0..257).map(|number| number.to_string()).collect();
    assert_eq!(call(&serde_json::json!(many).to_string()).status, 400);
    assert_eq!(call(&format!(r#"["{}"]"#, "x".repeat(1025))).status, 400);
    fake.misbehave(Faults::always(Fault::Partly));
    assert_eq!(call(r#"["c","d"]"#).json().as_object().unwrap().len(), 1);
    assert_eq!(fake.purged().len(), 3);
    fake.behave();
    fake.change(|fastly| fastly.token.scope = "global:read".to_owned());
    assert_eq!(call(r#"["a"]"#).status, 403);
    fake.change(|fastly| fastly.revoked = true);
    assert_eq!(call(r#"["a"]"#).status, 401);
}

#[test]
fn sizes_and_rates_are_kept() {
    let fake = FakeCdn::start(Cloudflare { calls: Bucket::full(2.0, 1e-9), ..Cloudflare::default() });
    let call = |body: &str| ask(&fake, ZONE, &BEARER, body).unwrap();
    let many: Vec<String> = (0..101).map(|number| number.to_string()).collect();
    assert_eq!(call(&serde_json::json!({ "tags": many }).to_string()).status, 400);
    assert_eq!(call(r#"{"tags":["a"],"files":["b"]}"#).status, 400);
    assert_eq!(call(r#"{"tags":["a"]}"#).header("ratelimit").split(';').nth(1), Some("r=1"));
    assert_eq!(call(r#"{"tags":["b"]}"#).status, 200);
    let refused = call(r#"{"tags":["c"]}"#);
    assert_eq!(refused.status, 429);
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
    assert!(fake.calls().last().unwrap().is_over_rate());
    assert_eq!(fake.purged().len(), 2);
}

#[test]
fn a_bucket_fills_while_nobody_looks() {
    let start = std::time::Instant::now();
    let mut bucket = Bucket::full(10.0, 2.0);
    assert!(bucket.take(10.0, start) && !bucket.take(1.0, start));
    assert_eq!(bucket.until(1.0, start), Duration::from_millis(500));
    let later = start + Duration::from_secs(2);
    assert!(bucket.take(4.0, later) && !bucket.take(0.5, later));
    assert_eq!(bucket.until_full(later), Duration::from_secs(5));
    assert_eq!(bucket.level(later + Duration::from_secs(60)), 10.0);
    assert_eq!((bucket.size(), bucket.per_second()), (10.0, 2.0));
}

#[test]
fn cloudfront_knows_references_and_what_is_in_progress() {
    let mut cloudfront = Cloudfront { completion: Completion::AfterPolls(2), ..Cloudfront::default() };
    let now = std::time::Instant::now();
    let batch = |reference: &str, paths: &[&str]| {
        let items: String = paths.iter().map(|path| format!("<Path>{path}</Path>")).collect();
        let body = format!(
            "<InvalidationBatch><Paths><Quantity>{}</Quantity><Items>{items}</Items></Paths>\
             <CallerReference>{reference}</CallerReference></InvalidationBatch>",
            paths.len()
        );
        http::Request::new(Bytes::from(body))
    };
    let mut check = |reference: &str, paths: &[&str], status: u16, words: &str| {
        let answer = cloudfront.create(&batch(reference, paths), now);
        assert_eq!(answer.status, status, "{}", answer.body);
        assert!(answer.body.contains(words), "{}", answer.body);
        answer.purged.len()
    };
    assert_eq!(check("r1", &["/a", "/b*", "#tag"], 201, "<Id>I0000000000001</Id>"), 3);
    assert_eq!(check("r1", &["/a", "/b*", "#tag"], 201, "<Id>I0000000000001</Id>"), 0);
    check("r1", &["/other"], 400, "InvalidationBatchAlreadyExists");
    check("r2", &["/*/a"], 400, "InvalidArgument");
    check("r2", &["no-slash"], 400, "InvalidArgument");
    let wild: Vec<String> = (0..15).map(|number| format!("/{number}/*")).collect();
    let wild: Vec<&str> = wild.iter().map(String::as_str).collect();
    check("r3", &wild, 400, "TooManyInvalidationsInProgress");
    check("r3", &wild[..14], 201, "InProgress");
    let mut poll = |id: &str| cloudfront.get(id, now);
    assert!(poll("I0000000000001").body.contains("<Status>InProgress</Status>"));
    assert!(poll("I0000000000001").body.contains("<Status>Completed</Status>"));
    assert_eq!(poll("I9").status, 404);
    assert_eq!(cloudfront.create(&batch("r4", &["/c*"]), now).status, 201);
}
