//! What a purge waits for before it is sent, and before it is done. `store/postgres/awaited.rs` and `follow_up.rs`
//! keep the same in rows.

use std::collections::BTreeSet;
use uuid::Uuid;

/// One item of a purge at one CDN. Members are named by their runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Barrier {
    /// The members that have not applied the purge.
    unapplied: BTreeSet<Uuid>,
    /// The members that have something on its way which the purge covers.
    under_way: BTreeSet<Uuid>,
    /// Whether the first send has left.
    has_left: bool,
    /// Whether one more send is owed, and due.
    is_owed: bool,
}

impl Barrier {
    /// Begins to wait for all `members` but the one that accepts the purge, `by`. It has applied the purge before, and
    /// `found` tells whether it then had something on its way.
    pub fn new(members: impl IntoIterator<Item = Uuid>, by: Uuid, found: bool) -> Self {
        Self {
            unapplied: members.into_iter().filter(|run| *run != by).collect(),
            under_way: found.then_some(by).into_iter().collect(),
            has_left: false,
            is_owed: false,
        }
    }

    /// Records that a member has applied the purge, and whether it then had something on its way. A repetition changes
    /// nothing.
    pub fn applied(&mut self, run: Uuid, found: bool) {
        if !self.unapplied.remove(&run) {
            return;
        }
        if found {
            self.under_way.insert(run);
        } else {
            // The member may have filled a cache since the first send. If that is still to leave, nothing is owed.
            self.is_owed |= self.has_left;
        }
    }

    /// Records that what a member had on its way has arrived.
    pub fn arrived(&mut self, run: Uuid) {
        self.is_owed |= self.under_way.remove(&run);
    }

    /// Records that a member is gone, and that nothing of it can reach a cache any more.
    pub fn gone(&mut self, run: Uuid) {
        self.applied(run, false);
        self.arrived(run);
    }

    /// Returns whether a send may leave now. `has_waited` tells whether the first one has waited for as long as it
    /// may.
    pub fn may_leave(&self, has_waited: bool) -> bool {
        self.is_owed || !self.has_left && (has_waited || self.unapplied.is_empty())
    }

    /// Records that a send leaves. It serves everything that is owed up to now.
    pub fn leaves(&mut self) {
        (self.has_left, self.is_owed) = (true, false);
    }

    /// Returns whether the last send has left: no copy from before the purge can be in the CDN after it.
    pub fn is_done(&self) -> bool {
        self.has_left && !self.is_owed && self.unapplied.is_empty() && self.under_way.is_empty()
    }

    /// Whether the purge waits for what this member has on its way.
    pub fn is_under_way(&self, run: Uuid) -> bool {
        self.under_way.contains(&run)
    }

    /// Returns the members that the purge waits for.
    pub fn awaited(&self) -> impl Iterator<Item = Uuid> {
        self.unapplied.union(&self.under_way).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Uuid = Uuid::from_u128(1);
    const B: Uuid = Uuid::from_u128(2);

    #[test]
    fn a_purge_that_all_apply_at_once_is_sent_once() {
        let mut purge = Barrier::new([A, B], A, false);
        assert!(!purge.may_leave(false) && purge.may_leave(true));
        purge.applied(B, false);
        assert!(purge.may_leave(false));
        purge.leaves();
        assert!(purge.is_done() && !purge.may_leave(true));
    }

    #[test]
    fn what_left_too_early_is_sent_once_more() {
        let mut purge = Barrier::new([A, B], A, false);
        purge.leaves();
        assert!(!purge.is_done() && !purge.may_leave(true));
        purge.applied(B, false);
        assert!(purge.may_leave(false));
        purge.leaves();
        assert!(purge.is_done());
        purge.applied(B, true);
        assert!(purge.is_done(), "a repetition changes nothing");
    }

    #[test]
    fn what_is_on_its_way_is_waited_for() {
        let mut purge = Barrier::new([A, B], A, true);
        purge.applied(B, true);
        assert_eq!(purge.awaited().collect::<Vec<_>>(), [A, B]);
        purge.leaves();
        purge.arrived(A);
        assert!(purge.may_leave(false));
        purge.leaves();
        assert!(!purge.is_done());
        purge.arrived(B);
        purge.leaves();
        assert!(purge.is_done());
    }

    #[test]
    fn who_is_gone_is_waited_for_no_more() {
        let mut purge = Barrier::new([A, B], A, false);
        purge.gone(B);
        assert!(purge.may_leave(false), "once is enough");
        let mut late = Barrier::new([A, B], A, true);
        late.leaves();
        late.gone(A);
        late.gone(B);
        assert!(late.may_leave(false));
        late.leaves();
        assert!(late.is_done());
    }

    #[test]
    fn a_single_member_waits_for_itself_only() {
        let mut purge = Barrier::new([A], A, false);
        assert!(purge.may_leave(false));
        purge.leaves();
        assert!(purge.is_done());
    }
}
