use super::*;
use crate::cdn::tests::{adapters, batch, check_calls, reply, sign, verdicts};

fn cloudflare() -> Box<dyn Adapter> {
    adapters("fake-").swap_remove(2)
}

#[test]
fn calls() {
    check_calls(
        "cloudflare",
        &*cloudflare(),
        &[
            batch(ItemKind::Url, true, &["https://www.example.com/süß?x=1", "http://www.example.com/"]),
            batch(ItemKind::Url, false, &["https://www.example.com/a"]),
            batch(ItemKind::Tag, true, &["product-42", "site"]),
            batch(ItemKind::Tag, false, &["product-42"]),
            batch(ItemKind::Prefix, true, &["www.example.com/blog/", "www.example.com/"]),
            batch(ItemKind::Prefix, false, &["www.example.com/blog/"]),
            batch(ItemKind::Everything, true, &["*"]),
            batch(ItemKind::Everything, false, &["*"]),
        ],
    );
}

#[test]
fn replies() {
    use Verdict::{BadCredentials, Done, Later, Refused, Split, Unproven};
    let check = |status: u16, headers: &[(&str, &str)], body: &str, one: Verdict, more: Verdict| {
        let reply = reply(status, headers, body);
        assert_eq!(verdicts(&*cloudflare(), ItemKind::Tag, &reply), (one, more), "{status} {body}");
    };
    let failed = |code: i64| {
        format!(
            r#"{{"success":false,"errors":[{{"code":{code},"message":"m"}}],"messages":[],"result":null}}"#
        )
    };
    let ok = r#"{"success":true,"errors":[],"messages":[],"result":{"id":"z"}}"#;
    check(200, &[], ok, Done, Done);
    // A 200 with `success: false` is no acceptance.
    check(200, &[], &failed(1016), Later(None), Later(None));
    check(200, &[], r#"{"success":false}"#, Unproven, Unproven);
    check(200, &[], "<html>Welcome</html>", Unproven, Unproven);
    // This 200 carries a known refusal.
    let too_long = r#"{"success":false,"errors":[{"code":1100,"message":"Tag exceeds maximum length"},{"code":1016,"message":"One or more cache purge errors"}],"messages":[],"result":null}"#;
    check(200, &[], too_long, Refused, Split);
    check(200, &[], &failed(1315), Refused, Split);
    check(200, &[], &failed(1107), Refused, Refused);
    check(200, &[], &failed(10000), BadCredentials, BadCredentials);
    check(429, &[("retry-after", "12")], &failed(10429), later(12), later(12));
    check(429, &[], &failed(1), Later(None), Later(None));
    for status in [500, 502, 503, 520, 522, 530] {
        check(status, &[], &failed(10000), Later(None), Later(None));
    }
    check(400, &[], &failed(1099), Refused, Split);
    check(400, &[], &failed(1012), Refused, Refused);
    check(400, &[], &failed(1000), BadCredentials, BadCredentials);
    let malformed = r#"{"success":false,"errors":[{"code":6003,"message":"Invalid request headers","error_chain":[{"code":6111,"message":"Invalid format for Authorization header"}]}]}"#;
    check(400, &[], malformed, BadCredentials, BadCredentials);
    check(401, &[], &failed(10000), BadCredentials, BadCredentials);
    check(403, &[], &failed(10000), BadCredentials, BadCredentials);
    check(403, &[], &failed(9109), BadCredentials, BadCredentials);
    check(403, &[], "", BadCredentials, BadCredentials);
    check(404, &[], &failed(7003), Refused, Refused);
    check(413, &[], "", Refused, Split);
}

fn later(seconds: u64) -> Verdict {
    Verdict::Later(Some(Duration::from_secs(seconds)))
}

#[test]
fn words_and_ids() {
    let check = |headers: &[(&str, &str)], body: &str, id: &str, words: &str| {
        let classified = cloudflare().classify(&reply(400, headers, body));
        assert_eq!(
            (classified.request_id.unwrap_or_default(), classified.message),
            (id.into(), words.into())
        );
    };
    let malformed = r#"{"success":false,"errors":[{"code":6003,"message":"Invalid request headers","error_chain":[{"code":6111,"message":"Invalid format"}]},{"code":1,"message":"more"}]}"#;
    check(
        &[("cf-ray", "8a-FRA")],
        malformed,
        "8a-FRA",
        "6003 Invalid request headers: 6111 Invalid format; 1 more",
    );
    check(&[], r#"{"result":{"id":"z"}}"#, "z", r#"{"result":{"id":"z"}}"#);
    check(&[], "", "", "400 Bad Request");
}

#[test]
fn rate_hints() {
    let check = |value: &str, expected: &[(u64, Option<u64>)]| {
        let hints = cloudflare().rate_hints(&reply(200, &[("ratelimit", value)], ""));
        let hints: Vec<_> = hints.iter().map(|hint| (hint.remaining, hint.refreshed_after)).collect();
        let expected: Vec<_> = expected.iter().map(|(r, t)| (*r, t.map(Duration::from_secs))).collect();
        assert_eq!(hints, expected, "{value}");
    };
    check(r#""default";r=50;t=30"#, &[(50, Some(30))]);
    check(r#""default"; r=0; t=7, "other";r=3"#, &[(0, Some(7)), (3, None)]);
    check("nonsense", &[]);
}

#[test]
fn the_check_fits_the_token() {
    let paths = |token: &str| -> Vec<String> {
        let adapter =
            Cloudflare::new("z", &Secret::new(token), CloudflarePlan::Free, false, "https://h.example");
        let calls = adapter.check_requests(&sign()).expect("calls");
        calls.iter().map(|call| format!("{} {}", call.method(), call.uri().path())).collect()
    };
    assert_eq!(paths("cfut_x"), ["GET /user/tokens/verify"]);
    assert_eq!(paths("cfat_x"), ["POST /zones/z/invalidate_cache"]);
    assert_eq!(paths("old"), ["POST /zones/z/invalidate_cache"]);
}

#[test]
fn what_the_check_says() {
    let check = |status: u16, body: &str, verdict: Verdict, words: &str| {
        let classified = cloudflare().classify_check(&[reply(status, &[], body)]);
        assert_eq!(classified.verdict, verdict, "{body}");
        assert!(classified.message.contains(words), "{}", classified.message);
    };
    check(200, r#"{"success":true,"result":{"id":"t","status":"active"}}"#, Verdict::Done, "active");
    check(200, r#"{"success":true,"result":{"id":"z"}}"#, Verdict::Done, "");
    check(
        200,
        r#"{"success":true,"result":{"status":"expired"}}"#,
        Verdict::BadCredentials,
        "the token is expired",
    );
    let invalid = r#"{"success":false,"errors":[{"code":1000,"message":"Invalid API Token"}]}"#;
    check(401, invalid, Verdict::BadCredentials, "1000 Invalid API Token");
    check(503, "", Verdict::Later(None), "503");
    check(200, "<html>", Verdict::Unproven, "<html>");
}
