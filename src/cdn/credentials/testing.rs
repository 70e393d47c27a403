//! Helpers that the tests of the reports share.

use super::{Answer, Answers};
use crate::cdn::tests::{reply, sign};
use crate::cdn::{Reply, make};
use crate::config::{self, secret::Secret};
use std::fmt::Write;
use std::time::Duration;

/// A CDN of the site `www.example.com` with these settings.
pub fn cdn(settings: config::CdnSettings) -> config::Cdn {
    config::Cdn {
        name: "cdn".to_owned(),
        hosts: vec!["www.example.com".to_owned()],
        hard: true,
        everything: config::Everything::SiteTag,
        repeat_after: Duration::ZERO,
        repeat_everything_after: Duration::ZERO,
        verify: false,
        verify_url: None,
        rate: Default::default(),
        account: "main".to_owned(),
        dialect: crate::rewrite::Dialect {
            cdn: crate::rewrite::CdnType::Cloudflare,
            ttl_header: http::header::CACHE_CONTROL,
            tag_header: None,
            tag_form: Default::default(),
        },
        settings,
    }
}

/// A secret.
pub fn secret() -> Secret {
    Secret::new("canary-3f9a")
}

/// An answer of this status and body, with a date that agrees with our clock.
pub fn said(status: u16, body: &str) -> Result<Reply, String> {
    Ok(reply(status, &[("date", "Mon, 23 Nov 2026 12:00:00 GMT")], body))
}

/// The outcome of a call that nobody answered.
pub fn silence() -> Result<Reply, String> {
    Err("no connection to api.example".to_owned())
}

/// Returns the questions that follow these answers: name, method and path, without random parts.
pub fn asked(
    cdn: &config::Cdn,
    answers: &[(&'static str, Result<Reply, String>)],
    probe: bool,
) -> Vec<String> {
    let questions = make(cdn).questions(Answers(&answered(answers)), probe, &sign()).expect("questions");
    let show = |question: &super::Question| {
        let (name, request) = (question.name, &question.request);
        format!("{name}: {} {}", request.method(), request.uri().path())
    };
    questions.iter().map(show).collect()
}

/// Returns the report on these answers as text.
pub fn told(cdn: &config::Cdn, answers: &[(&'static str, Result<Reply, String>)]) -> String {
    let report = make(cdn).report(cdn, Answers(&answered(answers)));
    let mut text = format!("{:?}", report.usable);
    if let Some(identity) = &report.identity {
        text += &format!(": {identity}");
    }
    text += "\n";
    for finding in report.findings {
        let _ = writeln!(text, "{:?}: {}", finding.level, finding.text);
        if let Some(advice) = finding.advice {
            let _ = writeln!(text, "    {advice}");
        }
    }
    assert!(!text.contains("canary"), "{text}");
    text
}

fn answered(answers: &[(&'static str, Result<Reply, String>)]) -> Vec<Answer> {
    let answer = |(name, outcome): &(&'static str, Result<Reply, String>)| Answer {
        name,
        at_ms: sign().now_ms,
        outcome: outcome.clone(),
    };
    answers.iter().map(answer).collect()
}

/// Reports as one document in `src/cdn/snapshots/`, with a title for each case.
pub struct Cases {
    name: &'static str,
    text: String,
}

impl Cases {
    /// Creates a document without cases.
    pub fn new(name: &'static str) -> Self {
        Self { name, text: String::new() }
    }

    /// Adds a case.
    pub fn case(&mut self, title: &str, told: String) {
        self.text += &format!("## {title}\n\n{told}\n");
    }

    /// Compares the document with its snapshot.
    pub fn check(self) {
        insta::with_settings!({ omit_expression => true, snapshot_path => "../snapshots" }, {
            insta::assert_snapshot!(self.name, self.text);
        });
    }
}
