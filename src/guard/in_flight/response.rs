//! A response in flight, and which questions concern it.

use super::waiting::Waiting;
use crate::guard::{Question, Report};
use crate::rewrite::{CdnTypes, Provenance};
use std::collections::BTreeSet;

/// One response.
#[derive(Debug)]
pub struct Response {
    /// The number of its site.
    pub site: u32,
    /// The types of the CDNs that get the response, or may get it.
    pub cdns: CdnTypes,
    /// Whether the response has none of our tags.
    pub untagged: bool,
    /// How long the last bytes take to arrive after they have left the queue, in milliseconds.
    pub margin_ms: i64,
    /// The keys by which the response can be purged, and when it was generated.
    pub provenance: Provenance,
    /// The purges that wait for the response's arrival.
    pub waiting: Waiting,
}

impl Response {
    pub(super) fn is_meant(&self, question: &Question) -> bool {
        self.site == question.site && self.provenance.generated_ms <= question.until_ms
    }

    pub(super) fn tell_if_untagged(&self, question: &Question) {
        if self.untagged {
            // The channel is closed if the purge was not accepted after all.
            drop(question.answers.send(Report::Untagged(self.cdns)));
        }
    }

    /// Adds the items that concern the response. Returns whether there are any.
    pub(super) fn add_to(&self, found: &mut BTreeSet<(usize, u32)>, question: &Question) -> bool {
        let mut any = false;
        let jobs = question.jobs.iter().enumerate();
        for (job, items) in jobs.filter(|(_, items)| items.concerns(self.cdns)) {
            for item in items.matching(self.provenance.keys.all()) {
                any = true;
                found.insert((job, item));
            }
        }
        any
    }
}
