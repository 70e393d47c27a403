use super::*;
use crate::cdn::tests::{adapters, batch, check_calls, reply, sign, verdicts};

fn akamai() -> Box<dyn Adapter> {
    adapters("fake-").swap_remove(1)
}

#[test]
fn calls() {
    check_calls(
        "akamai",
        &*akamai(),
        &[
            batch(ItemKind::Url, true, &["https://www.example.com/süß?x=1", "http://www.example.com/"]),
            batch(ItemKind::Url, false, &["https://www.example.com/a"]),
            batch(ItemKind::Tag, true, &["product-42", "site"]),
            batch(ItemKind::Tag, false, &["product-42"]),
            batch(ItemKind::Everything, true, &["*"]),
            batch(ItemKind::Everything, false, &["*"]),
        ],
    );
}

#[test]
fn staging_and_no_cp_codes() {
    let secret = Secret::new("fake");
    let adapter =
        Akamai::new("https://h.example", &secret, &secret, &secret, AkamaiNetwork::Staging, Vec::new());
    let tag = adapter.requests(&batch(ItemKind::Tag, true, &["a"]), &sign()).expect("a call");
    assert_eq!(tag[0].uri(), "https://h.example/ccu/v3/delete/tag/staging");
    let everything = adapter.requests(&batch(ItemKind::Everything, true, &["*"]), &sign());
    assert!(matches!(everything, Err(RequestError::Lacks(_))));
}

#[test]
fn a_body_fills_50_000_bytes_and_no_more() {
    let tags: Vec<String> = (0..3_000).map(|number| format!("tag-{number:013}")).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    let calls = akamai().requests(&batch(ItemKind::Tag, true, &tags), &sign()).expect("calls");
    let sizes: Vec<usize> = calls.iter().map(|call| call.body().len()).collect();
    // A tag with its quotes and comma has 20 bytes; 2,499 of them fit in addition to the frame.
    assert_eq!(sizes, [2_499 * 20 + 14 - 1, 501 * 20 + 14 - 1]);
    let authorizations: Vec<_> = calls.iter().map(|call| &call.headers()[AUTHORIZATION]).collect();
    let nonce = |number: usize| {
        authorizations[number].to_str().expect("ASCII").split("nonce=").nth(1).map(str::to_owned)
    };
    assert_ne!(nonce(0), nonce(1), "a nonce is good for one request");
}

#[test]
fn replies() {
    use Verdict::{BadCredentials, Done, Later, Refused, Resign, Split, Unproven};
    let check = |status: u16, headers: &[(&str, &str)], body: &str, one: Verdict, more: Verdict| {
        let reply = reply(status, headers, body);
        assert_eq!(verdicts(&*akamai(), ItemKind::Url, &reply), (one, more), "{status} {body}");
    };
    let accepted = r#"{"httpStatus":201,"detail":"Request accepted","estimatedSeconds":5,"purgeId":"p","supportId":"s"}"#;
    check(201, &[], accepted, Done, Done);
    check(200, &[], "<html>Welcome</html>", Unproven, Unproven);
    // One object poisons the rest.
    let bad_url =
        r#"{"supportId":"s","httpStatus":400,"title":"bad URL","detail":"Invalid or malformed URL 'x'"}"#;
    check(400, &[], bad_url, Refused, Split);
    let not_ours =
        r#"{"httpStatus":403,"title":"unauthorized arl","detail":"http://www.example.org/","supportId":"s"}"#;
    check(403, &[], not_ours, Refused, Split);
    // The gateway rejects the clock, the authentication or the authorisation.
    let clock = r#"{"type":"https://problems.luna.akamaiapis.net/-/pep-authn/request-error","title":"Bad request","status":400,"detail":"Invalid timestamp","requestId":"r"}"#;
    check(400, &[], clock, Resign, Resign);
    let header = r#"{"type":"https://problems.luna.akamaiapis.net/-/pep-authn/request-error","title":"Bad request","status":400,"detail":"Invalid authorization header"}"#;
    check(400, &[], header, BadCredentials, BadCredentials);
    let signature = r#"{"type":"https://problems.luna.akamaiapis.net/-/pep-authn/deny","title":"Not authorized","status":401,"detail":"The signature does not match"}"#;
    check(401, &[], signature, BadCredentials, BadCredentials);
    let grant = r#"{"type":"https://problems.luna.akamaiapis.net/-/pep-authz/deny","title":"Forbidden","status":403,"detail":"The client does not have the grant needed for the request"}"#;
    check(403, &[], grant, BadCredentials, BadCredentials);
    // The firewall's rate control also answers 400.
    check(400, &[], "<HTML>Bad Request</HTML>", Later(None), Later(None));
    check(413, &[], "", Refused, Split);
    check(404, &[], "", Refused, Refused);
    check(415, &[], "", Refused, Refused);
    for status in [500, 503, 504, 507] {
        check(status, &[], r#"{"title":"internal error","httpStatus":500}"#, Later(None), Later(None));
    }
}

#[test]
fn after_too_many() {
    let check = |headers: &[(&str, &str)], body: &str, expected: Verdict| {
        let judged = akamai().judge(&batch(ItemKind::Tag, true, &["a", "b"]), &reply(429, headers, body));
        assert_eq!(judged.verdict, expected, "{body}");
    };
    let later = |seconds| Verdict::Later(Some(Duration::from_secs(seconds)));
    let calls = r#"{"httpStatus":429,"title":"Rate Limit exceeded","rateLimit":100,"rateLimitCurrentRequestSize":1,"rateLimitRemaining":0}"#;
    check(&[("x-ratelimit-limit-per-second", "50.00")], calls, later(5));
    // 100 of 2,000 tags are left, and the other 1,900 return at 8 a second.
    let tags = r#"{"httpStatus":429,"title":"TAG Rate Limit exceeded","rateLimit":5000,"rateLimitCurrentRequestSize":2000,"rateLimitRemaining":100}"#;
    check(
        &[("x-ratelimit-limit-per-second-objects", "8.00")],
        tags,
        Verdict::Later(Some(Duration::from_millis(237_500))),
    );
    check(&[], tags, later(5));
    check(&[("x-ratelimit-limit-per-second-objects", "0")], tags, later(5));
    let never = r#"{"httpStatus":429,"title":"URL Rate Limit exceeded","rateLimit":10,"rateLimitCurrentRequestSize":11,"rateLimitRemaining":10}"#;
    check(&[], never, Verdict::Split);
    check(&[], "", later(5));
}

#[test]
fn words_and_ids() {
    let check = |status, body: &str, id: &str, words: &str| {
        let classified = akamai().classify(&reply(status, &[], body));
        assert_eq!(
            (classified.request_id.unwrap_or_default(), classified.message),
            (id.into(), words.into())
        );
    };
    check(
        201,
        r#"{"httpStatus":201,"detail":"Request accepted","purgeId":"p","supportId":"s"}"#,
        "p",
        "Request accepted",
    );
    check(
        403,
        r#"{"httpStatus":403,"title":"unauthorized arl","detail":"http://x/","supportId":"s"}"#,
        "s",
        "unauthorized arl http://x/",
    );
    check(
        401,
        r#"{"title":"Not authorized","detail":"Inactive client token","requestId":"r"}"#,
        "r",
        "Not authorized Inactive client token",
    );
}

#[test]
fn rate_hints() {
    let headers = [
        ("x-ratelimit-remaining", "99"),
        ("x-ratelimit-seconds-to-refresh-limit", "0.02"),
        ("x-ratelimit-remaining-objects", "9904"),
        ("x-ratelimit-seconds-to-refresh-limit-objects", "0.48"),
    ];
    let hint = |counted, remaining, millis| RateHint {
        counted,
        remaining,
        refreshed_after: Some(Duration::from_millis(millis)),
    };
    let expected = [hint(Counted::Calls, 99, 20), hint(Counted::Items, 9904, 480)];
    assert_eq!(akamai().rate_hints(&reply(201, &headers, "")), expected);
    assert_eq!(akamai().rate_hints(&reply(201, &[("x-ratelimit-remaining", "many")], "")), []);
}

#[test]
fn the_rate_limit_status_proves_the_client() {
    let check = |status: u16, headers: &[(&str, &str)], body: &str, expected: Verdict| {
        assert_eq!(
            akamai().classify_check(&[reply(status, headers, body)]).verdict,
            expected,
            "{status} {body}"
        );
    };
    check(201, &[("x-ratelimit-remaining", "100")], "", Verdict::Done);
    check(201, &[], r#"{"httpStatus":201,"detail":"Success","supportId":"s"}"#, Verdict::Done);
    check(200, &[], "<html>", Verdict::Unproven);
    check(
        401,
        &[],
        r#"{"title":"Not authorized","detail":"The signature does not match"}"#,
        Verdict::BadCredentials,
    );
    check(403, &[], r#"{"title":"Forbidden"}"#, Verdict::BadCredentials);
    check(429, &[("x-ratelimit-remaining", "0")], "", Verdict::Later(Some(WAIT_AFTER_429)));
}
