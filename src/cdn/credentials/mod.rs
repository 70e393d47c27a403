//! What a CDN's credentials are good for, in words: who the key is, what it may do, what is missing, and what to do about it.
//!
//! [`report`] asks and tells. What is asked ([`Credentials::questions`]) and what the answers mean
//! ([`Credentials::report`]) is pure, in the `credentials.rs` of each adapter.
//!
//! The worker's check of an adapter ([`super::Adapter::check_requests`]) asks less, since it is made every ten minutes.

mod draft;

#[cfg(test)]
pub(super) mod testing;

pub(super) use draft::Draft;

use super::{Reply, RequestError, Sender, SignContext};
use crate::causes::with_causes;
use crate::config;
use crate::rewrite::CdnType;
use bytes::Bytes;
use http::Request;
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// A question may depend on the answer before it, but no report needs more turns than this.
const TURNS: usize = 5;

/// What is known of a CDN's credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CredentialReport {
    /// Whether purges get through with them.
    pub usable: Usable,
    /// Who they belong to, where the CDN tells.
    pub identity: Option<String>,
    /// What was found, the worst first.
    pub findings: Vec<Finding>,
}

/// Whether purges get through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Usable {
    /// Proved.
    Yes,
    /// They do not.
    No,
    /// Nothing speaks against it, but only a purge can tell.
    Unproved,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    /// How much it matters.
    pub level: Level,
    /// One sentence; no secret.
    pub text: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Purges do not get through.
    Error,
    /// Purges get through now, but some will not, or not for long.
    Warning,
    /// Worth knowing.
    Note,
    /// As it should be.
    Ok,
}

/// A call that is part of a report.
#[derive(Debug)]
pub struct Question {
    /// What is asked, within its adapter.
    pub name: &'static str,
    /// The call.
    pub request: Request<Bytes>,
}

/// What became of a [`Question`].
#[derive(Clone, Debug)]
pub struct Answer {
    /// The question's name.
    pub name: &'static str,
    /// Our own clock when it came, in milliseconds since the epoch.
    pub at_ms: i64,
    /// The reply; or why there is none, without a secret.
    pub outcome: Result<Reply, String>,
}

impl Answer {
    /// The reply, if there is one.
    pub fn reply(&self) -> Option<&Reply> {
        self.outcome.as_ref().ok()
    }
}

/// What can be asked about a CDN's credentials. Pure, as [`super::Adapter`] is.
pub trait Credentials: Send + Sync {
    /// What to ask next, given the answers so far; nothing: [`Credentials::report`] can tell. With `probe` one of the
    /// questions is a purge of something that nobody has.
    ///
    /// # Errors
    ///
    /// A question that cannot be written with these settings.
    fn questions(
        &self,
        so_far: Answers<'_>,
        probe: bool,
        sign: &SignContext,
    ) -> Result<Vec<Question>, RequestError>;

    /// What the answers tell of `cdn`, whose adapter this is.
    fn report(&self, cdn: &config::Cdn, answers: Answers<'_>) -> CredentialReport;
}

/// The answers so far.
#[derive(Clone, Copy, Debug)]
pub struct Answers<'a>(pub &'a [Answer]);

impl<'a> Answers<'a> {
    /// The newest answer to a question.
    pub fn get(self, name: &str) -> Option<&'a Answer> {
        self.0.iter().rev().find(|answer| answer.name == name)
    }

    /// The newest reply to a question.
    pub fn reply(self, name: &str) -> Option<&'a Reply> {
        self.get(name)?.reply()
    }

    /// How often a question was asked.
    pub fn count(self, name: &str) -> usize {
        self.0.iter().filter(|answer| answer.name == name).count()
    }
}

/// Asks the CDN about its credentials. No content is purged; with `probe` something is that nobody has, which proves the
/// permission. `now_ms` is the time in milliseconds since the epoch. How many calls that took is told, too.
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

/// One CDN of a site.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CdnReport {
    /// Its name within the site.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub cdn_type: CdnType,
    /// What is known of its credentials.
    #[serde(flatten)]
    pub report: CredentialReport,
    /// Calls that it took, which count towards the rate of the CDN's account.
    #[serde(skip)]
    pub calls: u64,
}

/// [`report`] for every CDN of a site, in their order, all at once.
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

/// Asks all at once; the answers in the order of the questions.
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

/// How far the CDN's clock is ahead of ours, as of its first dated answer. `Date` is exact to a second.
pub fn clock_offset_ms(answers: Answers<'_>) -> Option<i64> {
    let offset = |answer: &Answer| Some(answer.reply()?.date_ms()?.saturating_sub(answer.at_ms));
    answers.0.iter().find_map(offset)
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
