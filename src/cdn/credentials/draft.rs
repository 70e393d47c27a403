//! A report in the making, and the findings that several CDNs share.

use super::questions::{Answers, clock_offset_ms};
use super::report::{CredentialReport, Finding, Level, Usable};
use crate::cdn::{Reply, scrub};
use crate::config;
use std::borrow::Cow;

/// The number of days before a token's end from which on a warning is given.
const SOON: i64 = 14;

/// A report in the making. Secrets are removed from each sentence that is added.
#[derive(Debug)]
pub struct Draft<'a> {
    secrets: &'a [&'a str],
    identity: Option<String>,
    findings: Vec<Finding>,
    proved: bool,
}

impl<'a> Draft<'a> {
    /// Creates an empty report, which shows none of `secrets`.
    pub fn new(secrets: &'a [&'a str]) -> Self {
        Self { secrets, identity: None, findings: Vec::new(), proved: false }
    }

    /// Sets the owner of the key.
    pub fn identity(&mut self, identity: impl Into<String>) {
        self.identity = Some(identity.into());
    }

    /// Adds the proof that purges get through.
    pub fn proved(&mut self, text: impl Into<String>) {
        self.proved = true;
        self.ok(text);
    }

    /// Adds something that is as it should be.
    pub fn ok(&mut self, text: impl Into<String>) {
        self.add(Level::Ok, &text.into(), "");
    }

    /// Adds something worth knowing.
    pub fn note(&mut self, text: impl Into<String>, advice: &str) {
        self.add(Level::Note, &text.into(), advice);
    }

    /// Adds the warning that some purges will not get through, or not for long.
    pub fn warning(&mut self, text: impl Into<String>, advice: &str) {
        self.add(Level::Warning, &text.into(), advice);
    }

    /// Adds an error: purges do not get through.
    pub fn error(&mut self, text: impl Into<String>, advice: &str) {
        self.add(Level::Error, &text.into(), advice);
    }

    /// Returns the reply to a question, if it was asked. A missing answer is added as an error.
    pub fn reply_to<'r>(&mut self, answers: Answers<'r>, question: &str, api: &str) -> Option<&'r Reply> {
        match &answers.get(question)?.outcome {
            Ok(reply) => Some(reply),
            Err(why) => {
                self.unreachable(api, why);
                None
            }
        }
    }

    /// Adds the error that a question on which the report depends had no answer.
    pub fn unreachable(&mut self, api: &str, why: &str) {
        let advice = "Check that this machine may connect to it (firewall, HTTPS_PROXY, DNS), and that its address in the \
                      configuration is correct.";
        self.error(format!("{api} did not answer: {why}."), advice);
    }

    /// Adds the error that an API gave an unexpected answer.
    pub fn unforeseen(&mut self, api: &str, said: &str) {
        let advice = "The CDN may be in trouble: look at its status page and try again. If it stays, check the address \
                      of the API in the configuration.";
        self.error(format!("{api} gave an unexpected answer: {said}"), advice);
    }

    /// Returns a CDN's answer in quotes: `words`, or the body if `words` is empty. Secrets are removed before
    /// the end is cut off, because half of a secret would not be recognised.
    pub fn said(&self, reply: &Reply, words: &str) -> String {
        const LONGEST: usize = 200;
        let status = reply.status;
        let words = if words.trim().is_empty() { reply.text() } else { Cow::Borrowed(words) };
        let words = scrub(&words, self.secrets);
        match words.char_indices().nth(LONGEST) {
            _ if words.is_empty() => format!("HTTP {status}"),
            Some((end, _)) => format!("HTTP {}, “{}…”", status.as_u16(), &words[..end]),
            None => format!("HTTP {}, “{words}”", status.as_u16()),
        }
    }

    /// Whether an error was found already.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.level == Level::Error)
    }

    /// Adds a finding about the expiry of a token, if it has one.
    pub fn expiry(&mut self, ends: Option<&str>, now_ms: i64, renew: &str) {
        let Some(date) = ends.and_then(|ends| ends.parse::<jiff::Timestamp>().ok()) else { return };
        let days = date.as_millisecond().saturating_sub(now_ms).div_euclid(24 * 60 * 60 * 1000);
        let date = date.strftime("%d %B %Y, %H:%M UTC");
        if days < 0 {
            self.error(format!("The token expired on {date}."), renew);
        } else if days < SOON {
            let when = match days {
                0 => "in less than a day".to_owned(),
                1 => "in one day".to_owned(),
                days => format!("in {days} days"),
            };
            self.warning(format!("The token expires {when}, on {date}."), renew);
        } else {
            self.ok(format!("The token is valid until {date}."));
        }
    }

    /// Warns of a clock that is wrong by more than `most_seconds`, which invalidates signatures, because they
    /// contain the time. The shim corrects the time by the CDN's answers, but only after one refusal.
    pub fn clock(&mut self, answers: Answers<'_>, most_seconds: i64) {
        let Some(seconds) = clock_offset_ms(answers).map(|ms| ms / 1000) else { return };
        if seconds.abs() > most_seconds {
            let (slow, by) = (if seconds > 0 { "slow" } else { "fast" }, seconds.abs());
            self.warning(
                format!(
                    "This machine's clock is {by} seconds {slow}; signatures are only valid for a short time."
                ),
                "Let the machine keep its time by NTP (for example: timedatectl set-ntp true).",
            );
        }
    }

    /// Warns of configured hosts that the CDN does not serve under these credentials.
    pub fn strange_hosts(&mut self, cdn: &config::Cdn, serves: impl Fn(&str) -> bool, place: &str) {
        let strange: Vec<&str> = cdn
            .hosts
            .iter()
            .map(String::as_str)
            .filter(|host| !host.starts_with("*.") && !serves(host))
            .collect();
        if !strange.is_empty() {
            self.warning(
                format!(
                    "{} {} not part of {place}: purges of URLs there reach nothing.",
                    strange.join(", "),
                    are(&strange)
                ),
                "Correct `hosts` of this CDN in the configuration, or the id of what it purges.",
            );
        }
    }

    /// Returns the report, in which the credentials are proved only if there is no error.
    pub fn finish(self) -> CredentialReport {
        let Self { secrets, identity, mut findings, proved } = self;
        findings.sort_by_key(|finding| finding.level);
        let usable = match findings.first().map(|finding| finding.level) {
            Some(Level::Error) => Usable::No,
            _ if proved => Usable::Yes,
            _ => Usable::Unproved,
        };
        CredentialReport { usable, identity: identity.map(|text| scrub(&text, secrets)), findings }
    }

    /// Adds a finding. Empty advice means none.
    fn add(&mut self, level: Level, text: &str, advice: &str) {
        let clean = |text: &str| scrub(text, self.secrets);
        let advice = Some(clean(advice)).filter(|advice| !advice.is_empty());
        self.findings.push(Finding { level, text: clean(text), advice });
    }
}

fn are(names: &[&str]) -> &'static str {
    if names.len() == 1 { "is" } else { "are" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_as_good_as_its_worst_finding() {
        let check = |build: fn(&mut Draft<'_>), usable: Usable, first: Level| {
            let mut draft = Draft::new(&[]);
            build(&mut draft);
            let report = draft.finish();
            assert_eq!((report.usable, report.findings[0].level), (usable, first), "{report:?}");
        };
        check(|draft| draft.ok("known"), Usable::Unproved, Level::Ok);
        check(|draft| draft.proved("may purge"), Usable::Yes, Level::Ok);
        check(
            |draft| {
                draft.proved("may purge");
                draft.warning("not for long", "renew");
            },
            Usable::Yes,
            Level::Warning,
        );
        check(
            |draft| {
                draft.proved("may purge");
                draft.note("by the way", "");
                draft.error("but nothing is there", "");
            },
            Usable::No,
            Level::Error,
        );
    }

    #[test]
    fn no_secret_gets_in() {
        let mut draft = Draft::new(&["canary"]);
        draft.identity("the token canary");
        draft.error("it said canary", "try canary");
        let shown = format!("{:?}", draft.finish());
        assert!(!shown.contains("canary"), "{shown}");
    }

    #[test]
    fn what_was_said_is_cut_after_its_secrets_are_gone() {
        let draft = Draft::new(&["canary-of-many-letters"]);
        let check = |body: &str, words: &str, expected: &str| {
            assert_eq!(draft.said(&crate::cdn::tests::reply(403, &[], body), words), expected);
        };
        check("the body", "the words", "HTTP 403, “the words”");
        check("the body", " ", "HTTP 403, “the body”");
        check("", "", "HTTP 403 Forbidden");
        let long = format!("{} canary-of-many-letters", "x".repeat(190));
        check(&long, "", &format!("HTTP 403, “{} [secret]”", "x".repeat(190)));
        check(&"ü".repeat(201), "", &format!("HTTP 403, “{}…”", "ü".repeat(200)));
    }

    #[test]
    fn expiry() {
        let noon = 1_795_435_200_000; // 23 November 2026
        let check = |ends: Option<&str>, expected: Option<(Level, &str)>| {
            let mut draft = Draft::new(&[]);
            draft.expiry(ends, noon, "renew");
            let found = draft.findings.first().map(|finding| (finding.level, finding.text.as_str()));
            assert_eq!(found, expected, "{ends:?}");
        };
        check(None, None);
        check(Some("some day"), None);
        check(
            Some("2026-11-23T11:59:59Z"),
            Some((Level::Error, "The token expired on 23 November 2026, 11:59 UTC.")),
        );
        check(
            Some("2026-11-24T11:00:00Z"),
            Some((Level::Warning, "The token expires in less than a day, on 24 November 2026, 11:00 UTC.")),
        );
        check(
            Some("2026-12-07T11:59:00+00:00"),
            Some((Level::Warning, "The token expires in 13 days, on 07 December 2026, 11:59 UTC.")),
        );
        check(
            Some("2027-01-01T00:00:00Z"),
            Some((Level::Ok, "The token is valid until 01 January 2027, 00:00 UTC.")),
        );
    }
}
