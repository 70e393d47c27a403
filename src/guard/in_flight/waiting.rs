//! Who waits for the arrival of a response.

use crate::guard::Report;
use tokio::sync::mpsc::UnboundedSender;

/// Those who are told when a response has arrived. Nearly always there are none, which is then all that is carried along.
#[derive(Clone, Debug, Default)]
#[expect(
    clippy::box_collection,
    reason = "a pointer is moved with every response, and a vector is three times as long"
)]
pub struct Waiting(Option<Box<Vec<UnboundedSender<Report>>>>);

impl Waiting {
    /// One more waits.
    pub(super) fn add(&mut self, answers: UnboundedSender<Report>) {
        self.0.get_or_insert_default().push(answers);
    }

    /// So do these.
    pub(super) fn join(&mut self, others: Self) {
        match (&mut self.0, others.0) {
            (Some(these), Some(others)) => these.extend(*others),
            (none, others) => *none = none.take().or(others),
        }
    }

    /// Whether nobody does.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Tells them when it has arrived. Then they do not wait any more.
    pub(super) fn tell(&mut self, arrived_ms: i64) {
        for answers in self.0.take().into_iter().flat_map(|all| *all) {
            // Nobody listens any more where the purge was not accepted after all.
            drop(answers.send(Report::Ends(arrived_ms)));
        }
    }
}
