//! The questions about a CDN's credentials, and their answers.

use super::report::CredentialReport;
use crate::cdn::{Reply, RequestError, SignContext};
use crate::config;
use bytes::Bytes;
use http::Request;

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

/// The questions about a CDN's credentials. Pure, as [`crate::cdn::Adapter`] is.
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

/// Returns how far the CDN's clock is ahead of ours, by its first dated answer. `Date` is exact to a second.
pub fn clock_offset_ms(answers: Answers<'_>) -> Option<i64> {
    let offset = |answer: &Answer| Some(answer.reply()?.date_ms()?.saturating_sub(answer.at_ms));
    answers.0.iter().find_map(offset)
}
