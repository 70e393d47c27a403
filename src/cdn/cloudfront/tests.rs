use super::*;
use crate::cdn::tests::{adapters, batch, check_calls, reply, sign, verdicts};
use proptest::prelude::*;
use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::Event;
use std::time::Duration;

fn cloudfront() -> Box<dyn Adapter> {
    adapters("fake-").swap_remove(3)
}

/// Returns the paths of a body, which must be well-formed and state their number.
pub fn paths(body: &str) -> Vec<String> {
    let mut reader = Reader::from_str(body);
    reader.config_mut().enable_all_checks(true);
    let mut paths = Vec::new();
    let mut quantity = None;
    loop {
        match reader.read_event().expect("well-formed") {
            Event::Start(start) if matches!(start.name().as_ref(), "Path" | "Quantity") => {
                let name = start.name().as_ref().to_owned();
                let raw = reader.read_text(start.name()).expect("well-formed").into_inner();
                assert!(!raw.contains('<'), "{raw}");
                let text = unescape(&raw).expect("escaped").into_owned();
                match name.as_str() {
                    "Path" => paths.push(text),
                    _ => quantity = text.parse().ok(),
                }
            }
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(quantity, Some(paths.len()));
    paths
}

#[test]
fn calls() {
    let mut mixed = batch(ItemKind::Url, true, &["/süß/<a>&'b'?x=1&y=*", "https://www.example.com/c?*"]);
    mixed.items.extend(batch(ItemKind::Tag, false, &["product-42", "a<&>\"'b"]).items);
    mixed.items.extend(batch(ItemKind::Prefix, true, &["www.example.com/blog/"]).items);
    check_calls("cloudfront", &*cloudfront(), &[mixed, batch(ItemKind::Everything, true, &["*"])]);
}

#[test]
fn without_a_session_token_or_a_tag_header() {
    let adapter = Cloudfront::new("E", "AKID", &Secret::new("k"), None, "http://127.0.0.1:5000", None);
    let calls = adapter.requests(&batch(ItemKind::Url, true, &["/a"]), &sign()).expect("a call");
    assert!(!calls[0].headers().contains_key("x-amz-security-token"));
    let tags = adapter.requests(&batch(ItemKind::Tag, true, &["a"]), &sign());
    assert!(matches!(tags, Err(RequestError::Kind { .. })));
}

#[test]
fn what_is_too_much_for_one_call_gets_references_of_its_own() {
    let reference = |call: &Request<Bytes>| {
        let body = std::str::from_utf8(call.body()).expect("text");
        let after = body.split("<CallerReference>").nth(1).expect("a reference");
        (paths(body).len(), after.split('<').next().unwrap_or_default().to_owned())
    };
    let calls = |values: &[String]| -> Vec<(usize, String)> {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let calls = cloudfront().requests(&batch(ItemKind::Url, true, &values), &sign()).expect("calls");
        calls.iter().map(reference).collect()
    };
    let many: Vec<String> = (0..3_001).map(|number| format!("/{number}")).collect();
    assert_eq!(calls(&many), [(3_000, "batch-1".to_owned()), (1, "batch-1-1".to_owned())]);
    let wild: Vec<String> = (0..16).map(|number| format!("/{number}/*")).collect();
    assert_eq!(calls(&wild), [(15, "batch-1".to_owned()), (1, "batch-1-1".to_owned())]);
}

proptest! {
    #[test]
    fn the_body_is_well_formed_whatever_is_in_it(
        values in prop::collection::vec("/\\PC{0,40}", 1..20),
        tags in prop::collection::vec("[!-~]{1,40}", 0..20),
        reference in "\\PC{1,40}",
    ) {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        let mut both = batch(ItemKind::Url, true, &values);
        both.items.extend(batch(ItemKind::Tag, true, &tags).items);
        both.reference = reference;
        let calls = cloudfront().requests(&both, &sign()).expect("calls");
        let named: Vec<String> = calls
            .iter()
            .flat_map(|call| paths(std::str::from_utf8(call.body()).expect("text")))
            .collect();
        prop_assert_eq!(named.len(), both.items.len());
        let tags: Vec<String> = tags.iter().map(|tag| format!("#{tag}")).collect();
        prop_assert_eq!(&named[values.len()..], tags);
    }
}

fn failed(code: &str, message: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<ErrorResponse xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><Error>\
         <Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>\
         <RequestId>r-1</RequestId></ErrorResponse>"
    )
}

const ACCEPTED: &str = "<?xml version=\"1.0\"?>\n<Invalidation xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\">\
    <Id>I2J0I21PCUYOIK</Id><Status>InProgress</Status><InvalidationBatch><Paths><Quantity>1</Quantity><Items>\
    <Path>/Id</Path></Items></Paths><CallerReference>batch-1</CallerReference></InvalidationBatch></Invalidation>";

#[test]
fn replies() {
    use Verdict::{BadCredentials, Done, Later, Refused, Resign, Split, Unproven};
    let check = |status: u16, body: &str, one: Verdict, more: Verdict| {
        let reply = reply(status, &[], body);
        assert_eq!(verdicts(&*cloudfront(), ItemKind::Url, &reply), (one, more), "{status} {body}");
    };
    check(201, ACCEPTED, Done, Done);
    check(200, ACCEPTED, Done, Done);
    check(201, &ACCEPTED[..ACCEPTED.len() - 90], Done, Done);
    check(200, "<html>Welcome</html>", Unproven, Unproven);
    check(201, "", Unproven, Unproven);
    let code = |status: u16, code: &str, one: Verdict, more: Verdict| {
        check(status, &failed(code, "m"), one.clone(), more.clone());
        let other_form = format!("<Errors><Error><Code>{code}</Code><Message>m</Message></Error></Errors>");
        check(status, &other_form, one, more);
    };
    // These errors are retryable, although their status is 400.
    for throttling in
        ["Throttling", "ThrottlingException", "TooManyInvalidationsInProgress", "TooManyRequestsException"]
    {
        code(400, throttling, Later(None), Later(None));
    }
    check(400, &failed("X", "Rate exceeded"), Later(None), Later(None));
    for (status, unavailable) in [(503, "ServiceUnavailable"), (503, "SlowDown"), (500, "InternalError")] {
        code(status, unavailable, Later(None), Later(None));
    }
    for poison in ["InvalidArgument", "InvalidationBatchAlreadyExists"] {
        code(400, poison, Refused, Split);
    }
    code(413, "BatchTooLarge", Refused, Split);
    for mistake in ["InconsistentQuantities", "MissingBody", "MalformedXML"] {
        code(400, mistake, Refused, Refused);
    }
    code(404, "NoSuchDistribution", Refused, Refused);
    for credentials in ["AccessDenied", "InvalidClientTokenId", "SignatureDoesNotMatch", "ExpiredToken"] {
        code(403, credentials, BadCredentials, BadCredentials);
    }
    let clock = "Signature expired: 20261123T120000Z is now earlier than 20261123T121000Z";
    check(403, &failed("SignatureDoesNotMatch", clock), Resign, Resign);
    check(403, &failed("SignatureDoesNotMatch", "Signature not yet current: x"), Resign, Resign);
    check(400, &failed("RequestExpired", "m"), Resign, Resign);
    // The status decides for an unknown code.
    code(400, "BrandNew", Refused, Split);
    code(404, "BrandNew", Refused, Refused);
    check(403, "", BadCredentials, BadCredentials);
    check(502, "<html>", Later(None), Later(None));
}

#[test]
fn words_and_ids() {
    let check = |status, headers: &[(&str, &str)], body: &str, id: &str, words: &str| {
        let classified = cloudfront().classify(&reply(status, headers, body));
        assert_eq!(
            (classified.request_id.unwrap_or_default(), classified.message),
            (id.into(), words.into())
        );
    };
    check(201, &[("x-amzn-requestid", "r-2")], ACCEPTED, "r-2", "Invalidation I2J0I21PCUYOIK InProgress");
    check(400, &[], &failed("InvalidArgument", "a &lt;b&gt; &amp; c"), "r-1", "InvalidArgument: a <b> & c");
    check(400, &[], "<Errors><Error><Code>X", "", "<Errors><Error><Code>X");
}

#[test]
fn what_the_check_says() {
    let check = |status: u16, body: &str, verdict: Verdict, words: &str| {
        let classified = cloudfront().classify_check(&[reply(status, &[], body)]);
        assert_eq!(classified.verdict, verdict, "{body}");
        assert!(classified.message.contains(words), "{}", classified.message);
    };
    let list = "<InvalidationList><Marker/><MaxItems>1</MaxItems><Quantity>0</Quantity></InvalidationList>";
    check(200, list, Verdict::Done, "may list");
    check(
        403,
        &failed("InvalidClientTokenId", "The security token is invalid"),
        Verdict::BadCredentials,
        "security token",
    );
    // A key that may only purge cannot be distinguished from one without any rights.
    check(403, &failed("AccessDenied", "not authorized"), Verdict::Refused, "cloudfront:ListInvalidations");
    check(404, &failed("NoSuchDistribution", "no"), Verdict::Refused, "NoSuchDistribution");
    check(400, &failed("Throttling", "Rate exceeded"), Verdict::Later(None), "Rate exceeded");
    check(200, "<html/>", Verdict::Unproven, "<html/>");
    let wait =
        cloudfront().classify(&reply(503, &[("retry-after", "3")], &failed("ServiceUnavailable", "m")));
    assert_eq!(wait.verdict, Verdict::Later(Some(Duration::from_secs(3))));
}
