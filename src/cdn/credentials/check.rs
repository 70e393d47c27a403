//! The check itself: it makes the calls, and has the adapter write the report.

use super::draft::Draft;
use super::questions::{Answer, Answers, Question, clock_offset_ms};
use super::report::CredentialReport;
use crate::base::{milliseconds, with_causes};
use crate::cdn::{Sender, SignContext, make};
use crate::config;
use crate::rewrite::CdnType;
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinSet;

/// The maximum number of rounds of a report. A question may depend on an earlier answer, but no report needs
/// more rounds than this.
const TURNS: usize = 5;

/// Checks the CDN's credentials, and returns the report and the number of calls that it took. No content is
/// purged; with `probe`, something that does not exist is, which proves the right to purge. `now_ms` is the
/// time in milliseconds since the epoch.
pub async fn report(cdn: &config::Cdn, sender: &Sender, probe: bool, now_ms: i64) -> (CredentialReport, u64) {
    let adapter = make(cdn);
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
