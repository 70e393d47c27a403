//! Helpers that the adapters' tests share, and the properties that hold for all adapters.

use super::*;
use crate::config::secret::Secret;
use crate::config::{AkamaiNetwork, CloudflarePlan};
use crate::purge;
use bytes::Bytes;
use http::Request;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

/// Builds an answer.
pub fn reply(status: u16, headers: &[(&str, &str)], body: &str) -> Reply {
    let mut map = http::HeaderMap::new();
    for (name, value) in headers {
        let name = http::HeaderName::try_from(*name).expect("a header name");
        map.append(name, http::HeaderValue::from_str(value).expect("a header value"));
    }
    let status = http::StatusCode::from_u16(status).expect("a status");
    Reply { status, headers: map, body: Bytes::from(body.to_owned()) }
}

/// Builds a batch of items of one kind and hardness.
pub fn batch(kind: ItemKind, hard: bool, values: &[&str]) -> Batch {
    let items = values.iter().map(|value| Item { kind, value: (*value).to_owned(), hard });
    Batch { reference: "batch-1".to_owned(), items: items.collect() }
}

/// A context at noon of 23 November 2026, with a nonce that is easy to recognise.
pub fn sign() -> SignContext {
    SignContext { now_ms: 1_795_435_200_000, nonce: "00000000-0000-4000-8000-000000000000".to_owned() }
}

/// Compares the bytes of the calls of several batches, and of the check, with `snapshots/`.
pub fn check_calls(name: &str, adapter: &dyn Adapter, batches: &[Batch]) {
    let shown = |calls: &[Request<Bytes>]| calls.iter().map(show).collect::<Vec<_>>().join("\n");
    let mut text = String::new();
    for batch in batches {
        let calls = adapter.requests(batch, &sign()).expect("the batch has calls");
        let Item { kind, hard, .. } = batch.items[0];
        text += &format!("## {kind:?}, {}\n\n{}\n", if hard { "hard" } else { "soft" }, shown(&calls));
    }
    text += &format!("## check\n\n{}", shown(&adapter.check_requests(&sign()).expect("the check has calls")));
    insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!(name, text) });
}

fn show(request: &Request<Bytes>) -> String {
    let mut headers: Vec<String> = Vec::new();
    for (name, value) in request.headers() {
        headers.push(format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    headers.sort();
    let body = String::from_utf8_lossy(request.body());
    let body = if body.is_empty() { String::new() } else { format!("\n{body}\n") };
    format!("{} {}\n{}{body}", request.method(), request.uri(), headers.concat())
}

/// Returns the verdicts on one answer for a batch with one item and for a batch with several.
pub fn verdicts(adapter: &dyn Adapter, kind: ItemKind, reply: &Reply) -> (Verdict, Verdict) {
    let values = match kind {
        ItemKind::Url => ["https://www.example.com/a", "https://www.example.com/b"],
        ItemKind::Tag => ["a", "b"],
        ItemKind::Prefix => ["www.example.com/a/", "www.example.com/b/"],
        ItemKind::Everything => ["*", "*"],
    };
    let one = adapter.judge(&batch(kind, true, &values[..1]), reply);
    let two = adapter.judge(&batch(kind, true, &values), reply);
    assert!(!one.message.is_empty() && !two.message.is_empty(), "no message: {reply:?}");
    (one.verdict, two.verdict)
}

/// Returns one adapter of each CDN, in the order of [`CdnType`], with every secret derived from `secret`.
pub(super) fn adapters(secret: &str) -> Vec<Box<dyn Known>> {
    let secret = |name: &str| Secret::new(format!("{secret}{name}"));
    vec![
        Box::new(fastly::Fastly::new("SU1Z0isxPaozGVKXdv0eY", &secret("auth"), "https://api.fastly.com")),
        Box::new(akamai::Akamai::new(
            "https://akab-host.purge.akamaiapis.net",
            &secret("client"),
            &secret("key"),
            &secret("access"),
            AkamaiNetwork::Production,
            vec![12345, 67890],
        )),
        Box::new(cloudflare::Cloudflare::new(
            "023e105f4ecef8ad9ca31a8372d0c353",
            &secret("api"),
            CloudflarePlan::Free,
            false,
            "https://api.cloudflare.com/client/v4",
        )),
        Box::new(cloudfront::Cloudfront::new(
            "EDFDVBD6EXAMPLE",
            "AKIDEXAMPLE",
            &secret("key"),
            Some(&secret("session")),
            "https://cloudfront.amazonaws.com",
            Some(&http::HeaderName::from_static("cache-tag")),
        )),
        Box::new(varnish::Varnish::new(&["http://127.0.0.1:6081".to_owned(), "http://10.0.0.2".to_owned()])),
    ]
}

/// Returns the names in a call to any CDN.
fn names_in(request: &Request<Bytes>) -> Vec<String> {
    let header =
        |name: &str| request.headers().get(name).map(|value| value.to_str().expect("ASCII").to_owned());
    if let Some(tags) = header("xkey-purge").or(header("xkey-softpurge")) {
        return tags.split(' ').map(str::to_owned).collect();
    }
    let body = std::str::from_utf8(request.body()).expect("text");
    if body.starts_with('<') {
        return cloudfront::tests::paths(body);
    }
    let Ok(json) = serde_json::from_str::<BTreeMap<String, serde_json::Value>>(body) else {
        return vec![header("x-ban-prefix").unwrap_or_else(|| request.uri().path().to_owned())];
    };
    let values = json.into_values().find_map(|value| value.as_array().cloned()).unwrap_or_default();
    values.iter().map(|value| value.as_str().map_or(value.to_string(), str::to_owned)).collect()
}

/// Returns the size that a CDN limits: that of the body, or of Varnish's header line.
fn size(request: &Request<Bytes>) -> usize {
    let lines = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    request.body().len().max(lines.max().unwrap_or_default())
}

fn items(kind: ItemKind) -> BoxedStrategy<Vec<String>> {
    let value = match kind {
        ItemKind::Url => "https://www\\.example\\.com/[a-zà-ü /\"'<&%]{0,60}(\\?[a-z=&'\"*]{0,9})?",
        ItemKind::Tag => "[!-~]{1,128}",
        ItemKind::Prefix => "www\\.example\\.com/[a-zà-ü.&+$|]{0,20}/",
        ItemKind::Everything => "\\*",
    };
    prop::collection::vec(value, 1..1000).boxed()
}

fn kinds() -> impl Strategy<Value = ItemKind> {
    prop::sample::select(vec![ItemKind::Url, ItemKind::Tag, ItemKind::Prefix, ItemKind::Everything])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_call_is_over_a_limit_and_no_item_is_missed(
        (kind, values) in kinds().prop_flat_map(|kind| (Just(kind), items(kind))),
        hard: bool,
    ) {
        for adapter in adapters("secret") {
            let limits = adapter.capabilities();
            let refs: Vec<&str> = values.iter().map(String::as_str).collect();
            let Ok(calls) = adapter.requests(&batch(kind, hard, &refs), &sign()) else {
                prop_assert_eq!(limits.items_per_call(kind), 0, "{:?} {:?}", adapter, kind);
                continue;
            };
            let nodes = if adapter.cdn_type() == CdnType::Varnish { 2 } else { 1 };
            let mut named = 0;
            for call in &calls {
                let names = names_in(call).len();
                named += names;
                prop_assert!(size(call) <= limits.bytes_per_call + 100, "{} bytes: {:?}", size(call), call);
                if kind != ItemKind::Everything {
                    prop_assert!(names <= limits.items_per_call(kind), "{} names: {:?}", names, call);
                }
            }
            if kind != ItemKind::Everything {
                prop_assert_eq!(named, values.len() * nodes, "{:?}", adapter);
            }
        }
    }

    #[test]
    fn a_batch_within_the_capabilities_is_one_call(
        (kind, values) in kinds().prop_flat_map(|kind| (Just(kind), items(kind))),
    ) {
        for adapter in adapters("secret") {
            let limits = adapter.capabilities();
            let mut bytes = 0;
            let fitting: Vec<&str> = values
                .iter()
                .map(String::as_str)
                .filter(|value| value.is_ascii() && !value.contains([' ', '"', '<', '\'', '\\', '*', '|']))
                .take(limits.items_per_call(kind))
                .take_while(|value| {
                    bytes += value.len() + 3;
                    bytes <= limits.bytes_per_call
                })
                .collect();
            let Ok(calls) = adapter.requests(&batch(kind, true, &fitting), &sign()) else { continue };
            let nodes = if adapter.cdn_type() == CdnType::Varnish { 2 } else { 1 };
            prop_assert_eq!(calls.len(), if fitting.is_empty() { 0 } else { nodes }, "{:?}", adapter);
        }
    }

    #[test]
    fn no_answer_confuses_an_adapter(status in 200u16..600, body in "\\PC{0,80}|[{<]\\PC{0,40}[}>]") {
        for adapter in adapters("secret") {
            let reply = reply(status, &[], &body);
            let classified = adapter.judge(&batch(ItemKind::Tag, true, &["a"]), &reply);
            prop_assert!(!classified.message.is_empty());
            prop_assert!(classified.verdict != Verdict::Split, "one item cannot be split");
            if status >= 500 {
                prop_assert!(matches!(classified.verdict, Verdict::Later(_)), "{:?}", adapter);
            }
            if status < 300 {
                prop_assert_eq!(classified.verdict, Verdict::Unproven, "{:?}", adapter);
            }
            adapter.classify_check(&[reply]);
        }
    }
}

#[test]
fn a_secret_is_never_shown() {
    const CANARY: &str = "canary-3f9a";
    const ASKED: [&str; 11] = [
        "token", "service", "probe", "grant", "client", "zone", "user", "account", "identity", "list",
        "config",
    ];
    let configured = credentials::testing::cdn(config::CdnSettings::Varnish(crate::config::cdns::Varnish {
        api_urls: vec!["http://10.0.0.2".to_owned()],
    }));
    for adapter in adapters(CANARY) {
        let calls = adapter.requests(&batch(ItemKind::Tag, true, &["a"]), &sign()).expect("tags have calls");
        let checks = adapter.check_requests(&sign()).expect("the check has calls");
        let mut shown = vec![format!("{adapter:?} {calls:?} {checks:?}")];

        // This CDN echoes all that it was sent, in a body and as the id of the call.
        let sent: String = calls.iter().chain(&checks).map(show).collect();
        let line = sent.replace('\n', " ").replace(['"', '<'], "");
        for status in [200, 201, 400, 401, 403, 404, 413, 429, 500] {
            for body in [
                sent.clone(),
                serde_json::json!({ "msg": sent, "title": sent, "httpStatus": status, "supportId": sent, "id": sent })
                    .to_string(),
                serde_json::json!({ "success": false, "errors": [{ "code": 1, "message": sent }] }).to_string(),
                serde_json::json!({ "scope": sent, "services": [] }).to_string(),
                serde_json::json!({ "success": true, "result": { "id": sent, "status": sent } }).to_string(),
                format!("<ErrorResponse><Error><Code>X</Code><Message>{line}</Message></Error></ErrorResponse>"),
                format!("<Invalidation><Id>{line}</Id></Invalidation>"),
            ] {
                let echo = reply(status, &[("cf-ray", &line), ("x-amzn-requestid", &line), ("x-varnish", &line)], &body);
                shown.push(format!("{:?}", adapter.judge(&batch(ItemKind::Tag, true, &["a"]), &echo)));
                shown.push(format!("{:?}", adapter.classify_check(&vec![echo.clone(); checks.len()])));
                let answer = |name| credentials::Answer { name, at_ms: 0, outcome: Ok(echo.clone()) };
                let answers = ASKED.map(answer);
                shown.push(format!("{:?}", adapter.report(&configured, credentials::Answers(&answers))));
            }
        }
        for text in shown {
            assert!(!text.contains(CANARY), "{text}");
        }
    }
    // This secret is not a valid header value.
    for adapter in adapters("canary-3f9a\n") {
        let Err(error) = adapter.requests(&batch(ItemKind::Tag, true, &["a"]), &sign()) else { continue };
        assert!(!format!("{error:?} {error}").contains(CANARY), "{error:?}");
    }
}

/// The answers are those of a captive portal, of an origin past a cache, or of an API that lost a part of
/// itself.
#[test]
fn a_success_without_its_proof_is_not_done() {
    use CdnType::{Akamai, Cloudflare, Cloudfront, Fastly, Varnish};
    use ItemKind::{Everything, Prefix, Tag, Url};
    const KINDS: [ItemKind; 4] = [Url, Tag, Prefix, Everything];
    const ID: &str = "an id";
    const OK_AND_ID: &str = "status `ok` and an id";
    const SUCCESS: &str = "`success: true`";
    const PURGE_ID: &str = "httpStatus 201 and a purgeId";
    const INVALIDATION: &str = "the Id of an Invalidation";
    const X_PURGED: &str = "X-Purged";
    let table: [(CdnType, &[ItemKind], u16, &str, &str); 27] = [
        (Fastly, &KINDS, 200, "{}", ID),
        (Fastly, &KINDS, 200, "<html>Welcome</html>", ID),
        (Fastly, &KINDS, 204, "", ID),
        (Fastly, &[Url, Tag], 200, r#"{"status":"ok"}"#, "id"),
        (Fastly, &[Url], 200, r#"{"status":"ok","id":""}"#, OK_AND_ID),
        (Fastly, &[Url], 200, r#"{"id":"108-1"}"#, OK_AND_ID),
        (Fastly, &[Tag], 200, r#"{"status":"ok","id":"108-1"}"#, "an id for each tag"),
        (Fastly, &[Tag], 200, r#"{"a":"","other":"108-1"}"#, "an id for each tag"),
        (Fastly, &[Tag], 200, r#"{"a":null}"#, ID),
        (Fastly, &[Everything], 200, r#"{"id":"108-1"}"#, "status `ok`"),
        (Akamai, &KINDS, 201, "", PURGE_ID),
        (Akamai, &KINDS, 200, "<html>Welcome</html>", PURGE_ID),
        (Akamai, &KINDS, 201, r#"{"httpStatus":201,"detail":"Request accepted"}"#, PURGE_ID),
        (Akamai, &KINDS, 201, r#"{"httpStatus":201,"purgeId":""}"#, PURGE_ID),
        (Akamai, &KINDS, 201, r#"{"purgeId":"e535071c"}"#, PURGE_ID),
        (Akamai, &KINDS, 201, r#"{"httpStatus":500,"purgeId":"e535071c"}"#, PURGE_ID),
        (Cloudflare, &KINDS, 200, "{}", SUCCESS),
        (Cloudflare, &KINDS, 200, "<html>Welcome</html>", SUCCESS),
        (Cloudflare, &KINDS, 204, "", SUCCESS),
        (Cloudflare, &KINDS, 200, r#"{"success":false,"errors":[],"result":{"id":"z"}}"#, SUCCESS),
        (Cloudfront, &KINDS, 201, "", INVALIDATION),
        (Cloudfront, &KINDS, 200, "<html><Id>1</Id></html>", INVALIDATION),
        (Cloudfront, &KINDS, 201, "<Invalidation><Status>InProgress</Status></Invalidation>", INVALIDATION),
        (Cloudfront, &KINDS, 201, "<Invalidation><Id></Id></Invalidation>", INVALIDATION),
        (Varnish, &KINDS, 200, "Purged\n", X_PURGED),
        (Varnish, &KINDS, 200, "<html>Welcome</html>", X_PURGED),
        (Varnish, &KINDS, 204, "", X_PURGED),
    ];
    for (cdn, kinds, status, body, missing) in table {
        let adapters = adapters("secret");
        let adapter = adapters.iter().find(|adapter| adapter.cdn_type() == cdn).expect("an adapter of each");
        for kind in kinds {
            let answer = adapter.judge(&batch(*kind, true, &["a"]), &reply(status, &[], body));
            assert_eq!(answer.verdict, Verdict::Unproven, "{cdn:?} {kind:?} {status} {body}");
            let told = &answer.message;
            assert!(told.starts_with(&format!("{status} without ")), "{told}");
            assert!(told.contains(missing), "{told} should name {missing}");
        }
    }
}

#[test]
fn kinds_that_a_cdn_lacks_are_errors() {
    for adapter in adapters("secret") {
        for (kind, value) in [(ItemKind::Prefix, "www.example.com/a/"), (ItemKind::Tag, "a")] {
            let result = adapter.requests(&batch(kind, true, &[value]), &sign());
            assert_eq!(
                result.is_err(),
                adapter.capabilities().items_per_call(kind) == 0,
                "{adapter:?} {kind:?}"
            );
        }
        for (kind, value) in [(ItemKind::Url, "/a b\n"), (ItemKind::Tag, "a b"), (ItemKind::Prefix, "/a/")] {
            assert!(adapter.requests(&batch(kind, true, &[value]), &sign()).is_err(), "{adapter:?} {kind:?}");
        }
    }
}

#[test]
fn adapters_are_built_from_the_configuration() {
    let dialect = |tag_header| crate::rewrite::Dialect {
        cdn: CdnType::Cloudfront,
        ttl_header: http::header::CACHE_CONTROL,
        tag_header,
        tag_form: Default::default(),
    };
    let cdn = |settings, tag_header| config::Cdn {
        name: "cdn".to_owned(),
        hosts: Vec::new(),
        hard: true,
        everything: config::Everything::SiteTag,
        repeat_after: Duration::ZERO,
        repeat_everything_after: Duration::ZERO,
        verify: false,
        verify_url: None,
        account: "main".to_owned(),
        rate: Default::default(),
        dialect: dialect(tag_header),
        settings,
    };
    let cloudfront = config::CdnSettings::Cloudfront(crate::config::cdns::Cloudfront {
        distribution_id: "E".to_owned(),
        access_key_id: "A".to_owned(),
        secret_access_key: Secret::new("k"),
        session_token: None,
        api_url: "https://cloudfront.amazonaws.com".to_owned(),
    });
    assert!(!build(&cdn(cloudfront.clone(), None)).capabilities().tags);
    let with_tags = build(&cdn(cloudfront, Some(http::HeaderName::from_static("cache-tag"))));
    assert!(with_tags.capabilities().tags && with_tags.cdn_type() == CdnType::Cloudfront);

    let cloudflare = |plan, enterprise_only| {
        let settings = config::CdnSettings::Cloudflare(crate::config::cdns::Cloudflare {
            zone_id: "z".to_owned(),
            api_token: Secret::new("t"),
            plan,
            enterprise_only,
            api_url: "https://api.cloudflare.com/client/v4".to_owned(),
        });
        let capabilities = build(&cdn(settings, None)).capabilities();
        (capabilities.tags, capabilities.prefixes, capabilities.urls_per_call)
    };
    assert_eq!(cloudflare(CloudflarePlan::Free, false), (true, true, 100));
    assert_eq!(cloudflare(CloudflarePlan::Free, true), (false, false, 100));
    assert_eq!(cloudflare(CloudflarePlan::Enterprise, true), (true, true, 500));
}

/// The planner, the worker and the limits of calls depend on these capabilities.
#[test]
fn what_each_cdn_can_do() {
    let mut text = String::new();
    let cdns = CdnType::ALL.into_iter().map(|cdn| ("", purge::testing::cdn(cdn)));
    let plan = |plan, enterprise_only| {
        let mut cdn = purge::testing::cdn(CdnType::Cloudflare);
        if let config::CdnSettings::Cloudflare(crate::config::cdns::Cloudflare {
            plan: own,
            enterprise_only: only,
            ..
        }) = &mut cdn.settings
        {
            (*own, *only) = (plan, enterprise_only);
        }
        cdn
    };
    let mut tagged = purge::testing::cdn(CdnType::Cloudfront);
    tagged.dialect.tag_header = Some(http::HeaderName::from_static("x-tags"));
    let others = [
        ("enterprise", plan(CloudflarePlan::Enterprise, true)),
        ("free, enterprise-only", plan(CloudflarePlan::Free, true)),
        ("with a tag header", tagged),
    ];
    for (what, cdn) in cdns.chain(others) {
        assert_eq!(capabilities(&cdn), build(&cdn).capabilities(), "{cdn:?}");
        text += &format!("{} {what}\n{:#?}\n", cdn.dialect.cdn.as_str(), capabilities(&cdn));
    }
    insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!("capabilities", text) });
}
