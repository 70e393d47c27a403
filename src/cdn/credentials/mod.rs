//! Checks of a CDN's credentials, reported in words: their owner, their rights, what is missing, and how to fix
//! it.
//!
//! [`report`] makes the calls and writes the report. The questions ([`Credentials::questions`]) and the meaning
//! of the answers ([`Credentials::report`]) are pure, and in the `credentials.rs` of each adapter.
//!
//! The worker's own check ([`super::Adapter::check_requests`]) makes fewer calls, because it runs every ten
//! minutes.

mod draft;

#[cfg(test)]
pub(super) mod testing;

pub(super) use draft::Draft;

use super::{Reply, RequestError, Sender, SignContext};
use crate::base::milliseconds;
use crate::base::with_causes;
use crate::config;
use crate::rewrite::CdnType;
use bytes::Bytes;
use http::Request;
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinSet;

/// The maximum number of rounds of a report. A question may depend on an earlier answer, but no report needs
/// more rounds than this.
const TURNS: usize = 5;

/// The result of a check of a CDN's credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CredentialReport {
    /// Whether purges get through with these credentials.
    pub usable: Usable,
    /// The owner of the credentials, if the CDN reports it.
    pub identity: Option<String>,
    /// The findings, the worst first.
    pub findings: Vec<Finding>,
}

/// Whether purges get through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Usable {
    /// Purges get through, which is proved.
    Yes,
    /// Purges do not get through.
    No,
    /// No problem was found, but only a purge can prove that purges get through.
    Unproved,
}

/// One finding of the check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    /// The severity of the finding.
    pub level: Level,
    /// The finding in one sentence, without secrets.
    pub text: String,
    /// The recommended action.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Purges do not get through.
    Error,
    /// Purges get through now, but some will not, or not for long.
    Warning,
    /// A fact worth knowing.
    Note,
    /// The item is as it should be.
    Ok,
}

/// A call that is part of a report.
#[derive(Debug)]
pub struct Question {
    /// The name of the question, unique within its adapter.
    pub name: &'static str,
    /// The call to make.
    pub request: Request<Bytes>,
}

/// The result of a [`Question`].
#[derive(Clone, Debug)]
pub struct Answer {
    /// The question's name.
    pub name: &'static str,
    /// Our own time when the answer arrived, in milliseconds since the epoch.
    pub at_ms: i64,
    /// The reply, or the reason why there is none, without secrets.
    pub outcome: Result<Reply, String>,
}

impl Answer {
    /// Returns the reply, if there is one.
    pub fn reply(&self) -> Option<&Reply> {
        self.outcome.as_ref().ok()
    }
}

/// The questions about a CDN's credentials. Pure, as [`super::Adapter`] is.
pub trait Credentials: Send + Sync {
    /// Returns the next questions, given the answers so far; none if [`Credentials::report`] has all that it
    /// needs. With `probe`, one of the questions is a purge of something that does not exist.
    ///
    /// # Errors
    ///
    /// A question cannot be written with these settings.
    fn questions(
        &self,
        so_far: Answers<'_>,
        probe: bool,
        sign: &SignContext,
    ) -> Result<Vec<Question>, RequestError>;

    /// Returns the report on `cdn`, whose adapter this is, given the answers.
    fn report(&self, cdn: &config::Cdn, answers: Answers<'_>) -> CredentialReport;
}

/// The answers so far.
#[derive(Clone, Copy, Debug)]
pub struct Answers<'a>(pub &'a [Answer]);

impl<'a> Answers<'a> {
    /// Returns the newest answer to a question.
    pub fn get(self, name: &str) -> Option<&'a Answer> {
        self.0.iter().rev().find(|answer| answer.name == name)
    }

    /// Returns the newest reply to a question.
    pub fn reply(self, name: &str) -> Option<&'a Reply> {
        self.get(name)?.reply()
    }

    /// Returns how often a question was asked.
    pub fn count(self, name: &str) -> usize {
        self.0.iter().filter(|answer| answer.name == name).count()
    }
}

/// Checks the CDN's credentials, and returns the report and the number of calls that it took. No content is
/// purged; with `probe`, something that does not exist is, which proves the right to purge. `now_ms` is the
/// time in milliseconds since the epoch.
pub async fn report(cdn: &config::Cdn, sender: &Sender, probe: bool, now_ms: i64) -> (CredentialReport, u64) {
    let adapter = super::make(cdn);
    let started = Instant::now();
    let now_ms = || now_ms.saturating_add(milliseconds(started.elapsed()));
    let mut answers: Vec<Answer> = Vec::new();
    for _ in 0..TURNS {
        let now_ms = now_ms().saturating_add(clock_offset_ms(Answers(&answers)).unwrap_or_default());
        let sign = SignContext { now_ms, nonce: uuid::Uuid::new_v4().to_string() };
        match adapter.questions(Answers(&answers), probe, &sign) {
            Ok(questions) if questions.is_empty() => break,
            Ok(questions) => answers.extend(ask(questions, sender, &started, now_ms).await),
            Err(error) => {
                let mut draft = Draft::new(&[]);
                draft.error(format!("The check cannot be written: {}.", with_causes(&error)), "");
                return (draft.finish(), answers.len() as u64);
            }
        }
    }
    (adapter.report(cdn, Answers(&answers)), answers.len() as u64)
}

/// The report on one CDN of a site.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CdnReport {
    /// The CDN's name within the site.
    pub name: String,
    /// The CDN's type.
    #[serde(rename = "type")]
    pub cdn_type: CdnType,
    /// The result of the check of its credentials.
    #[serde(flatten)]
    pub report: CredentialReport,
    /// The number of calls that were made, which count towards the rate of the CDN's account.
    #[serde(skip)]
    pub calls: u64,
}

/// Runs [`report`] for all CDNs of a site at the same time, and returns the results in the order of the CDNs.
pub async fn report_site(site: &config::Site, sender: &Sender, probe: bool, now_ms: i64) -> Vec<CdnReport> {
    let mut under_way = JoinSet::new();
    for (index, cdn) in site.cdns.iter().enumerate() {
        let (cdn, sender) = (Arc::clone(cdn), sender.clone());
        under_way.spawn(async move {
            let (report, calls) = report(&cdn, &sender, probe, now_ms).await;
            (index, CdnReport { name: cdn.name.clone(), cdn_type: cdn.dialect.cdn, report, calls })
        });
    }
    let mut reports: Vec<_> = under_way.join_all().await;
    reports.sort_by_key(|(index, _)| *index);
    reports.into_iter().map(|(_, report)| report).collect()
}

/// Asks all questions at the same time, and returns the answers in the order of the questions.
async fn ask(questions: Vec<Question>, sender: &Sender, started: &Instant, now_ms: i64) -> Vec<Answer> {
    let asked = started.elapsed();
    let mut under_way = JoinSet::new();
    let mut answers: Vec<Answer> = Vec::with_capacity(questions.len());
    for (index, Question { name, request }) in questions.into_iter().enumerate() {
        let sender = sender.clone();
        answers.push(Answer { name, at_ms: now_ms, outcome: Err("the call broke off".to_owned()) });
        under_way.spawn(async move { (index, sender.send(request).await) });
    }
    while let Some(ended) = under_way.join_next().await {
        // A call that panicked keeps the answer above.
        let Ok((index, reply)) = ended else { continue };
        let took = started.elapsed().saturating_sub(asked);
        answers[index].at_ms = now_ms.saturating_add(milliseconds(took));
        answers[index].outcome = reply.map_err(|error| with_causes(&error));
    }
    answers
}

/// Returns how far the CDN's clock is ahead of ours, by its first dated answer. `Date` is exact to a second.
pub fn clock_offset_ms(answers: Answers<'_>) -> Option<i64> {
    let offset = |answer: &Answer| Some(answer.reply()?.date_ms()?.saturating_sub(answer.at_ms));
    answers.0.iter().find_map(offset)
}
