use super::*;
use crate::cdn::tests::{adapters, batch, check_calls, reply, sign, verdicts};

fn fastly() -> Box<dyn Adapter> {
    adapters("fake-").swap_remove(0)
}

#[test]
fn calls() {
    check_calls(
        "fastly",
        &*fastly(),
        &[
            batch(
                ItemKind::Url,
                true,
                &["https://www.example.com/a b%20c?x=1", "http://www.example.com:8080/"],
            ),
            batch(ItemKind::Url, false, &["https://www.example.com/a"]),
            batch(ItemKind::Tag, true, &["product-42", "a\"/?%b"]),
            batch(ItemKind::Tag, false, &["product-42"]),
            batch(ItemKind::Everything, true, &["*"]),
            batch(ItemKind::Everything, false, &["*"]),
        ],
    );
}

#[test]
fn a_257th_tag_is_another_call() {
    let tags: Vec<String> = (0..257).map(|number| number.to_string()).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    let calls = |count: usize| {
        fastly().requests(&batch(ItemKind::Tag, true, &tags[..count]), &sign()).expect("calls").len()
    };
    assert_eq!((calls(256), calls(257)), (1, 2));
}

#[test]
fn the_answer_to_a_full_call_can_be_read_whole() {
    let tags: Vec<String> = (0..256).map(|number| format!("{number:0182}")).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    let full = batch(ItemKind::Tag, true, &tags);
    assert_eq!(fastly().requests(&full, &sign()).expect("calls").len(), 1);
    let ids: Map<String, Value> =
        tags.iter().map(|tag| ((*tag).to_owned(), json!("108-1391560174-974124"))).collect();
    let answer = Value::Object(ids).to_string();
    assert!(answer.len() < 64 * 1024, "{} bytes", answer.len());
    assert_eq!(fastly().judge(&full, &reply(200, &[], &answer)).verdict, Verdict::Done);
}

#[test]
fn replies() {
    use Verdict::{BadCredentials, Done, Later, Partial, Refused, Split, Unproven};
    let date = ("date", "Mon, 23 Nov 2026 12:00:00 GMT");
    let reset = ("fastly-ratelimit-reset", "1795435320");
    // Each row has the status, headers and body, and the verdicts for one item and for several.
    let check =
        |kind: ItemKind, status: u16, headers: &[(&str, &str)], body: &str, one: Verdict, more: Verdict| {
            assert_eq!(
                verdicts(&*fastly(), kind, &reply(status, headers, body)),
                (one, more),
                "{kind:?} {status} {body}"
            );
        };
    let (url, tag, all) = (ItemKind::Url, ItemKind::Tag, ItemKind::Everything);
    check(url, 200, &[], r#"{"status":"ok","id":"108-1391560174-974124"}"#, Done, Done);
    check(tag, 200, &[], r#"{"a":"108-1","b":"108-2"}"#, Done, Done);
    check(all, 200, &[], r#"{"status":"ok"}"#, Done, Done);
    // A tag without an id was not purged.
    check(tag, 200, &[], r#"{"a":"108-1"}"#, Done, Partial(vec![1]));
    check(tag, 200, &[], r#"{"b":"108-1"}"#, Unproven, Partial(vec![0]));
    check(tag, 200, &[], r#"{"c":"108-1"}"#, Unproven, Unproven);
    // Something other than Fastly answered.
    check(url, 200, &[], "<html>Welcome</html>", Unproven, Unproven);
    check(url, 302, &[], "", Later(None), Later(None));
    check(tag, 429, &[date, reset], r#"{"msg":"Rate limit exceeded"}"#, later(120), later(120));
    check(tag, 429, &[("retry-after", "9")], "", later(9), later(9));
    check(tag, 429, &[reset], "", Later(None), Later(None));
    for status in [500, 502, 503, 504] {
        check(tag, status, &[], r#"{"msg":"Internal error"}"#, Later(None), Later(None));
    }
    check(tag, 400, &[], r#"{"msg":"Bad request","detail":"key too long"}"#, Refused, Split);
    check(tag, 413, &[], "", Refused, Split);
    check(
        tag,
        401,
        &[],
        r#"{"msg":"Provided credentials are missing or invalid"}"#,
        BadCredentials,
        BadCredentials,
    );
    check(tag, 403, &[], r#"{"msg":"You are not authorized"}"#, BadCredentials, BadCredentials);
    // A token that may purge tags may still lack the right to `purge_all`, or the service of this URL.
    check(all, 403, &[], r#"{"msg":"You are not authorized"}"#, Refused, Refused);
    check(url, 403, &[], r#"{"msg":"You are not authorized"}"#, Refused, Refused);
    check(all, 401, &[], "", BadCredentials, BadCredentials);
    check(url, 404, &[], r#"{"msg":"Record not found","details":"Cannot find service"}"#, Refused, Refused);
}

fn later(seconds: u64) -> Verdict {
    Verdict::Later(Some(Duration::from_secs(seconds)))
}

#[test]
fn words_and_ids() {
    let classified = |status, body: &str| {
        let classified = fastly().classify(&reply(status, &[], body));
        (classified.request_id.unwrap_or_default(), classified.message)
    };
    let check =
        |status, body, id: &str, words: &str| assert_eq!(classified(status, body), (id.into(), words.into()));
    check(200, r#"{"status":"ok","id":"108-1"}"#, "108-1", r#"{"status":"ok","id":"108-1"}"#);
    check(200, r#"{"a":"108-2"}"#, "108-2", r#"{"a":"108-2"}"#);
    check(200, r#"{"status":"ok"}"#, "", r#"{"status":"ok"}"#);
    check(
        404,
        r#"{"msg":"Record not found","detail":"Cannot find service"}"#,
        "",
        "Record not found Cannot find service",
    );
    check(503, "", "", "503 Service Unavailable");
}

#[test]
fn rate_hints() {
    let headers = [
        ("fastly-ratelimit-remaining", "998"),
        ("fastly-ratelimit-reset", "1795435320"),
        ("date", "Mon, 23 Nov 2026 12:00:00 GMT"),
    ];
    let expected =
        RateHint { counted: Counted::Calls, remaining: 998, refreshed_after: Some(Duration::from_secs(120)) };
    assert_eq!(fastly().rate_hints(&reply(200, &headers, "")), [expected]);
    assert_eq!(fastly().rate_hints(&reply(200, &[], "")), []);
}

#[test]
fn the_token_tells_what_it_may() {
    let check = |status: u16, body: &str, verdict: Verdict, words: &str| {
        let classified = fastly().classify_check(&[reply(status, &[], body)]);
        assert_eq!(classified.verdict, verdict, "{body}");
        assert!(classified.message.contains(words), "{}", classified.message);
    };
    let (good, bad, later) = (Verdict::Done, Verdict::BadCredentials, Verdict::Later(None));
    check(200, r#"{"scope":"global","services":[]}"#, good.clone(), "global");
    check(200, r#"{"scope":"global:read purge_select"}"#, good.clone(), "purge_select");
    check(200, r#"{"scope":"purge_select","services":["x","SU1Z0isxPaozGVKXdv0eY"]}"#, good, "");
    check(200, r#"{"scope":"global:read","services":[]}"#, bad.clone(), "needs `purge_select`");
    check(200, r#"{"scope":"purge_all"}"#, bad.clone(), "needs `purge_select`");
    check(200, r#"{"scope":"purge_select","services":["x"]}"#, bad.clone(), "limited to other services");
    check(401, r#"{"msg":"Provided credentials are missing or invalid"}"#, bad, "missing or invalid");
    check(200, "<html>", later.clone(), "<html>");
    check(503, "", later.clone(), "503");
    assert_eq!(fastly().classify_check(&[]).verdict, later);
}
