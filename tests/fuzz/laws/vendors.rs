//! Answers of CDNs.

use super::purging::{SECRET, sign, sites};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use origin_shim::cdn::{
    self, Answer, Answers, Batch, CredentialReport, Item, ItemKind, Level, MESSAGE_BYTES, Progress, Question,
    Reply, Usable, Verdict,
};
use origin_shim::rewrite::CdnType;
use std::time::Duration;

/// A CDN's answer. Two bytes choose the CDN and the status. Header lines, an empty line and the body follow.
pub fn reply(data: &[u8]) {
    const STATUSES: [u16; 16] =
        [200, 201, 202, 204, 301, 400, 401, 403, 404, 408, 413, 422, 429, 500, 503, 507];
    let Some(([cdn, status], rest)) = data.split_first_chunk::<2>() else { return };
    let adapters = &sites().1;
    let adapter = &adapters[usize::from(*cdn) % adapters.len()];
    let status = StatusCode::from_u16(STATUSES[usize::from(*status) % STATUSES.len()]).unwrap();
    let (headers, body) = headers_and_body(rest);
    let reply = Reply { status, headers, body };

    let item = |value: &str| Item { kind: ItemKind::Tag, value: value.to_owned(), hard: true };
    let batch = Batch { reference: "r1".to_owned(), items: vec![item("a"), item("b")] };
    for classified in [
        adapter.classify(&reply),
        adapter.judge(&batch, &reply),
        adapter.classify_check(std::slice::from_ref(&reply)),
        adapter.classify_check(&[reply.clone(), reply.clone()]),
    ] {
        // Varnish has no secret.
        let has_secret = adapter.cdn_type() != CdnType::Varnish;
        is_fit_to_be_shown(&classified.message, has_secret);
        match classified.verdict {
            Verdict::Done => assert!(status.is_success(), "{status}: {classified:?}"),
            Verdict::Partial(left) => assert!(!left.is_empty() && left.iter().all(|index| *index < 2)),
            Verdict::Later(Some(wait)) => assert!(wait <= Duration::from_secs(3600)),
            _ => {}
        }
    }
    for hint in adapter.rate_hints(&reply) {
        assert!(hint.refreshed_after.is_none_or(|wait| wait <= Duration::from_secs(3600)));
    }
    if let Some(completion) = adapter.completion() {
        if let Some(work) = completion.work(&reply) {
            assert!(status.is_success());
            // Whatever name the CDN gives its work, a request for its progress is a valid call or a clear
            // error.
            let _ = completion.ask(&work, &sign());
        }
        let complete = completion.progress(&reply) == Progress::Complete;
        assert!(!complete || status.is_success());
    }
}

/// A CDN's answers to all questions about its credentials. Two bytes choose the CDN and whether a purge may be
/// among the questions. The answers follow, with a line `----` between them. Each has a line with the status
/// (or none, for no answer), header lines, an empty line and the body.
///
/// Whatever the answers, the questions end, go to the CDN's API only, and change nothing. The report contains
/// no secret, can be shown to people, and calls credentials usable only if an answer was successful.
pub fn credentials(data: &[u8]) {
    /// More turns than any report needs.
    const TURNS: usize = 5;
    let Some(([index, probe], rest)) = data.split_first_chunk::<2>() else { return };
    let cdns = &sites().0.sites[0].cdns;
    let cdn = &cdns[usize::from(*index) % cdns.len()];
    let (asked, probe) = (cdn::credentials(cdn), *probe % 2 == 1);
    let mut outcomes = outcomes(rest).into_iter();
    let mut answers: Vec<Answer> = Vec::new();
    let mut authorities: Vec<String> = Vec::new();
    for turn in 0.. {
        // A report can be made at any time, even from a part of the answers.
        report_of(cdn, &*asked, &answers);
        let Ok(questions) = asked.questions(Answers(&answers), probe, &sign()) else { break };
        if questions.is_empty() {
            break;
        }
        assert!(turn < TURNS, "without end: {answers:?}");
        for Question { name, request } in questions {
            let authority = request.uri().authority().unwrap().to_string();
            if turn == 0 {
                authorities.push(authority);
            } else {
                assert!(authorities.contains(&authority), "{authority}");
            }
            let is_harmless = match name {
                "probe" => probe,
                // A purge of a key that no response carries, a ban of a host that does not exist, and questions
                // that are POSTs.
                "node" | "ban" | "grant" | "identity" => true,
                _ => request.method() == Method::GET,
            };
            assert!(is_harmless, "{name}: {request:?}");
            let outcome = outcomes.next().flatten().ok_or_else(|| "no answer".to_owned());
            answers.push(Answer { name, at_ms: sign().now_ms, outcome });
        }
    }
    let report = report_of(cdn, &*asked, &answers);
    let success = |answer: &Answer| answer.reply().is_some_and(|reply| reply.status.is_success());
    assert!(report.usable != Usable::Yes || answers.iter().any(success), "{report:?}");
}

fn report_of(
    cdn: &origin_shim::config::Cdn,
    asked: &dyn cdn::Credentials,
    answers: &[Answer],
) -> CredentialReport {
    let report = asked.report(cdn, Answers(answers));
    let has_secret = cdn.dialect.cdn != CdnType::Varnish;
    let texts = report.findings.iter().flat_map(|finding| [Some(&finding.text), finding.advice.as_ref()]);
    texts.flatten().chain(&report.identity).for_each(|text| is_fit_to_be_shown(text, has_secret));
    assert!(report.findings.is_sorted_by_key(|finding| finding.level), "{report:?}");
    let has_error = report.findings.iter().any(|finding| finding.level == Level::Error);
    assert_eq!(report.usable == Usable::No, has_error, "{report:?}");
    report
}

/// Returns the answers of an input.
fn outcomes(data: &[u8]) -> Vec<Option<Reply>> {
    let lines: Vec<&[u8]> = super::lines(data).collect();
    let outcome = |lines: &[&[u8]]| {
        let (status, rest) = lines.split_first()?;
        let status = StatusCode::from_bytes(status.trim_ascii()).ok()?;
        let (headers, body) = headers_and_body(&rest.join(&b'\n'));
        Some(Reply { status, headers, body })
    };
    lines.split(|line| *line == b"----").map(outcome).collect()
}

/// Reads header lines, an empty line and the body.
fn headers_and_body(data: &[u8]) -> (HeaderMap, Bytes) {
    let mut headers = HeaderMap::new();
    let mut used = 0;
    for line in super::lines(data) {
        used += line.len() + 1;
        if line.is_empty() {
            break;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii())) {
            headers.append(name, value);
        }
    }
    (headers, data[used.min(data.len())..].to_vec().into())
}

/// Checks that a text is on one line, of bounded length, and without a secret.
fn is_fit_to_be_shown(text: &str, has_secret: bool) {
    assert!(text.len() <= MESSAGE_BYTES, "{text}");
    assert!(!text.chars().any(char::is_control), "{text}");
    assert!(!has_secret || !text.contains(SECRET), "{text}");
}
