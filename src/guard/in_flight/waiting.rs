//! The purges that wait for the arrival of a response.

use crate::guard::Report;
use tokio::sync::mpsc::UnboundedSender;

/// The channels to notify when a response has arrived. Nearly always there are none, so that only an empty
/// option is moved along.
#[derive(Clone, Debug, Default)]
#[expect(
    clippy::box_collection,
    reason = "a pointer is moved with every response, and a vector is three times as long"
)]
pub struct Waiting(Option<Box<Vec<UnboundedSender<Report>>>>);

impl Waiting {
    /// Adds one channel.
    pub(super) fn add(&mut self, answers: UnboundedSender<Report>) {
        self.0.get_or_insert_default().push(answers);
    }

    /// Adds the channels of `others`.
    pub(super) fn join(&mut self, others: Self) {
        match (&mut self.0, others.0) {
            (Some(these), Some(others)) => these.extend(*others),
            (none, others) => *none = none.take().or(others),
        }
    }

    /// Returns whether no purge waits.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Reports the moment of arrival to all channels, and removes them.
    pub(super) fn tell(&mut self, arrived_ms: i64) {
        for answers in self.0.take().into_iter().flat_map(|all| *all) {
            // The channel is closed if the purge was not accepted after all.
            drop(answers.send(Report::Ends(arrived_ms)));
        }
    }
}
