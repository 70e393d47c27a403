//! Signatures of the vendors' own libraries, and the laws of signatures.

use super::*;
use http::HeaderValue;
use proptest::prelude::*;
use serde::Deserialize;
use std::collections::BTreeMap;

const SECRET: &[u8] = b"a secret of enough characters";
const HEADER: HeaderName = HeaderName::from_static("x-signature");
const NOW: i64 = 1_795_432_954_000;

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    lines.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect()
}

fn verify(scheme: HookScheme, lines: &[(&str, &str)], body: &[u8]) -> Result<Verified, NotVerified> {
    let sent = Sent { method: "POST", target: "/entries", headers: &headers(lines), body };
    Verifier { scheme, header: &HEADER, secret: SECRET }.verify(sent, NOW)
}

/// The content of `tests/vectors/webhooks.json`.
#[derive(Deserialize)]
struct Vectors {
    secret: String,
    body: String,
    at_ms: i64,
    signed: BTreeMap<String, Vec<(String, String)>>,
}

#[test]
fn what_the_vendors_libraries_sign_is_verified() {
    let vectors: Vectors =
        serde_json::from_str(include_str!("../../../../tests/vectors/webhooks.json")).unwrap();
    for (name, lines) in &vectors.signed {
        let scheme: HookScheme = serde_json::from_value(name.as_str().into()).unwrap();
        let lines: Vec<(&str, &str)> = lines.iter().map(|(name, value)| (&**name, &**value)).collect();
        let headers = headers(&lines);
        let verifier = Verifier { scheme, header: &HEADER, secret: vectors.secret.as_bytes() };
        let verify = |body: &str, now_ms: i64| {
            let sent = Sent { method: "POST", target: "/entries", headers: &headers, body: body.as_bytes() };
            verifier.verify(sent, now_ms)
        };
        let verified = verify(&vectors.body, vectors.at_ms).unwrap_or_else(|error| panic!("{name}: {error}"));
        let has_time = matches!(scheme, HookScheme::Contentful | HookScheme::Sanity);
        assert_eq!(verified.once.is_some(), has_time, "{name}");
        assert_eq!(verify(&(vectors.body.clone() + " "), vectors.at_ms), Err(NotVerified::Wrong), "{name}");
        for other in [vectors.at_ms + WINDOW_MS + 1, vectors.at_ms - WINDOW_MS - 1] {
            let result = verify(&vectors.body, other).err();
            assert_eq!(result, has_time.then_some(NotVerified::Time), "{name}");
        }
    }
}

#[test]
fn a_header_has_the_signature_in_any_usual_form() {
    let mac = sha256(SECRET, &[b"body"]);
    let hexed = hex::encode(&mac);
    for text in [
        hexed.clone(),
        format!("sha256={hexed}"),
        hexed.to_uppercase(),
        BASE64.encode(&mac),
        BASE64.encode(&mac).trim_end_matches('=').to_owned(),
        BASE64_URL.encode(&mac),
    ] {
        assert!(verify(HookScheme::HmacSha256, &[("x-signature", &text)], b"body").is_ok(), "{text}");
    }
    let of_sha1 = format!("sha1={}", hex::encode(sha1(SECRET, &[b"body"])));
    assert!(verify(HookScheme::HmacSha1, &[("x-signature", &of_sha1)], b"body").is_ok());
    assert_eq!(verify(HookScheme::HmacSha256, &[], b"body"), Err(NotVerified::Missing));
    assert_eq!(verify(HookScheme::HmacSha256, &[("x-signature", "!")], b"body"), Err(NotVerified::Malformed));
    assert_eq!(verify(HookScheme::HmacSha256, &[("x-signature", "")], b"body"), Err(NotVerified::Wrong));
    let twice = [("x-signature", &*hexed), ("x-signature", &*hexed)];
    assert_eq!(verify(HookScheme::HmacSha256, &twice, b"body"), Err(NotVerified::Malformed));
}

#[test]
fn credentials() {
    let bearer = format!("Bearer {}", String::from_utf8_lossy(SECRET));
    let basic = format!("basic {}", BASE64.encode(SECRET));
    assert!(verify(HookScheme::Bearer, &[("authorization", &bearer)], b"").is_ok());
    assert!(verify(HookScheme::Basic, &[("authorization", &basic)], b"").is_ok());
    assert_eq!(verify(HookScheme::Bearer, &[("authorization", &basic)], b""), Err(NotVerified::Malformed));
    assert_eq!(verify(HookScheme::Bearer, &[("authorization", "Bearer x")], b""), Err(NotVerified::Wrong));
    assert_eq!(verify(HookScheme::Basic, &[("authorization", "Basic")], b""), Err(NotVerified::Malformed));
}

/// Signs as each sender does.
fn signed(scheme: HookScheme, body: &[u8]) -> Vec<(&'static str, String)> {
    let time = NOW.to_string();
    match scheme {
        HookScheme::HmacSha256 => vec![("x-signature", hex::encode(sha256(SECRET, &[body])))],
        HookScheme::HmacSha1 => vec![("x-signature", hex::encode(sha1(SECRET, &[body])))],
        HookScheme::Storyblok => vec![("webhook-signature", hex::encode(sha1(SECRET, &[body])))],
        HookScheme::Kontent => vec![("x-kontent-ai-signature", BASE64.encode(sha256(SECRET, &[body])))],
        HookScheme::Sanity => {
            let mac = BASE64_URL.encode(sha256(SECRET, &[time.as_bytes(), b".", body]));
            vec![("sanity-webhook-signature", format!("t={time},v1={}", mac.trim_end_matches('=')))]
        }
        _ => {
            let head = format!(
                "POST\n/entries\nx-contentful-signed-headers:x-contentful-signed-headers,x-contentful-timestamp;\
                 x-contentful-timestamp:{time}\n"
            );
            let mac = sha256(SECRET, &[head.as_bytes(), body]);
            vec![
                ("x-contentful-signature", hex::encode(mac)),
                ("x-contentful-signed-headers", "x-contentful-signed-headers,x-contentful-timestamp".into()),
                ("x-contentful-timestamp", time),
            ]
        }
    }
}

const SIGNING: [HookScheme; 6] = [
    HookScheme::HmacSha256,
    HookScheme::HmacSha1,
    HookScheme::Storyblok,
    HookScheme::Kontent,
    HookScheme::Sanity,
    HookScheme::Contentful,
];

proptest! {
    #[test]
    fn what_was_signed_is_verified_and_any_change_is_not(
        body in prop::collection::vec(any::<u8>(), 1..60),
        scheme in prop::sample::select(&SIGNING[..]),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let lines = signed(scheme, &body);
        let lines: Vec<(&str, &str)> = lines.iter().map(|(name, value)| (*name, &**value)).collect();
        prop_assert!(verify(scheme, &lines, &body).is_ok());
        let mut changed = body.clone();
        changed[at.index(body.len())] ^= 1 << bit;
        prop_assert_eq!(verify(scheme, &lines, &changed), Err(NotVerified::Wrong));
        // The signature itself.
        let (name, value) = lines[0];
        let place = value.len() - 1 - at.index(value.len() - 1).min(12);
        let mut text = value.as_bytes().to_vec();
        // The last character of a base64 text may have bits that mean nothing.
        let place = place.saturating_sub(3);
        text[place] = if text[place] == b'b' { b'a' } else { b'b' };
        let changed = String::from_utf8(text).unwrap();
        let mut others = lines.clone();
        others[0] = (name, &changed);
        prop_assert!(verify(scheme, &others, &body).is_err());
    }

    #[test]
    fn no_header_is_too_much(value in "[ -~]{0,40}", scheme in prop::sample::select(&SIGNING[..])) {
        for name in [
            "x-signature",
            "webhook-signature",
            "x-kontent-ai-signature",
            "sanity-webhook-signature",
            "x-contentful-signature",
        ] {
            if HeaderValue::from_str(&value).is_ok() {
                prop_assert!(verify(scheme, &[(name, &value)], b"body").is_err());
            }
        }
    }
}
