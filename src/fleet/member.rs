//! A member from its own view: whether it takes part, until when it may give long lifetimes, and where it is in the
//! log.

use uuid::Uuid;

/// A place in the log: the number of an entry and its random id, which tells it from another entry that got the same
/// number after a failover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The number; 0 before the first entry.
    pub n: i64,
    /// The entry's id.
    pub entry: Uuid,
}

/// The lengths of time that all members must agree on, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Terms {
    /// How long a member takes part without a renewal.
    pub lease_ms: i64,
    /// The part of the lease that is not used: for pauses between a check and its effect, and for clocks that run at
    /// different speeds.
    pub margin_ms: i64,
    /// The longest time that a response with a long lifetime may still be on its way after the window.
    pub longest_response_ms: i64,
}

impl Terms {
    /// Returns how long a row must stay the same until nothing of its member can reach a cache any more.
    pub fn gone_after_ms(&self) -> i64 {
        self.lease_ms.saturating_add(self.longest_response_ms).saturating_add(self.margin_ms)
    }
}

/// A statement that joins or renews, as it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// When it was sent, by the member's clock.
    pub at_ms: i64,
    /// The latest entry that the member knew then. What it learned since then need not be in the answer.
    newest: Option<Position>,
    /// How many of its own entries were not confirmed then.
    unconfirmed: usize,
}

impl Asked {
    /// Returns the entries that a join has to look for in the log.
    pub fn sought(self, member: &Member) -> &[Position] {
        &member.unconfirmed[..self.unconfirmed.min(member.unconfirmed.len())]
    }
}

/// What the answer to a renewal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The member takes part.
    Member {
        /// Whether the log has entries that it has not applied.
        is_behind: bool,
    },
    /// The member was away for so long that the others gave it up. It has to join anew.
    Removed,
    /// Another server answers, which may have forgotten what the member reported. It has to join anew.
    Moved,
    /// The database lost something: the log is not the one that the member knows, or the row is missing although the
    /// lease had not ended. Accepted purges may be lost, and others may have been sent without waiting for this
    /// member.
    Lost,
}

/// A member. Moments are in milliseconds by its own clock, which has to go on while the machine sleeps.
#[derive(Clone, Debug)]
pub struct Member {
    terms: Terms,
    /// What was applied last; `None` while the instance takes no part.
    position: Option<Position>,
    /// The latest entry that the member knows to be in the log.
    newest: Option<Position>,
    /// The member's own purges that were accepted since it sent its last answered renewal. After a failover, they may
    /// have been accepted by either server.
    unconfirmed: Vec<Position>,
    /// When the last answered renewal was sent.
    sent_ms: i64,
    /// The server and its term of office, in which the member joined.
    server: String,
}

impl Member {
    /// Returns an instance that takes no part yet.
    pub fn new(terms: Terms) -> Self {
        let (sent_ms, server) = (i64::MIN, String::new());
        Self { terms, position: None, newest: None, unconfirmed: Vec::new(), sent_ms, server }
    }

    /// Returns what was applied last, or `None` if the instance takes no part.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// Returns the moment at which the window ends: from then on, the member must not give long lifetimes.
    pub fn until_ms(&self) -> i64 {
        match self.position {
            Some(_) => self.sent_ms.saturating_add(self.terms.lease_ms - self.terms.margin_ms),
            None => i64::MIN,
        }
    }

    /// Notes that a statement is about to be sent that joins or renews.
    pub fn ask(&self, now_ms: i64) -> Asked {
        Asked { at_ms: now_ms, newest: self.newest, unconfirmed: self.unconfirmed.len() }
    }

    /// Records that the instance has joined at this server, where the log ended at `head`. `has_all` tells whether the
    /// log has the entries that the join looked for. Returns whether it is the log that the instance knew before. If
    /// not, accepted purges may be lost, as with [`Standing::Lost`].
    pub fn joined(&mut self, asked: Asked, (head, server): (Position, &str), has_all: bool) -> bool {
        let is_known = has_all && asked.newest.is_none_or(|newest| continues(newest, head));
        let newest = self.newest.filter(|newest| is_known && newest.n > head.n);
        (self.position, self.newest, self.sent_ms) = (Some(head), newest.or(Some(head)), asked.at_ms);
        self.confirm(asked);
        server.clone_into(&mut self.server);
        is_known
    }

    /// Evaluates the answer to a renewal, which came at `now_ms`: where the log ends and which server says so, or
    /// `None` if the member has no row. Unless it is a member after that, it has to join anew.
    pub fn renewed(&mut self, asked: Asked, now_ms: i64, answer: Option<(Position, &str)>) -> Standing {
        let Some(position) = self.position else { return Standing::Removed };
        let standing = match answer {
            None if now_ms < self.sent_ms.saturating_add(self.terms.lease_ms) => Standing::Lost,
            None => Standing::Removed,
            Some((head, _)) if asked.newest.is_some_and(|newest| !continues(newest, head)) => Standing::Lost,
            Some((_, server)) if server != self.server => Standing::Moved,
            Some((head, _)) => {
                self.knows(head);
                self.confirm(asked);
                self.sent_ms = asked.at_ms;
                return Standing::Member { is_behind: head.n > position.n };
            }
        };
        if standing == Standing::Lost {
            // That is known now, and not to be reported once more.
            self.newest = None;
            self.unconfirmed.clear();
        }
        self.position = None;
        standing
    }

    /// Records that a purge of this member was accepted.
    pub fn accepted(&mut self, entry: Position) {
        self.unconfirmed.push(entry);
    }

    fn confirm(&mut self, asked: Asked) {
        self.unconfirmed.drain(..asked.unconfirmed.min(self.unconfirmed.len()));
    }

    fn knows(&mut self, entry: Position) {
        if self.newest.is_none_or(|newest| newest.n < entry.n) {
            self.newest = Some(entry);
        }
    }

    /// Returns whether these entries, which were read from the position on, continue the log that the member knows.
    /// The first one is that of the position, unless this one has been swept, and none is missing. If they do not, the
    /// member has to join anew, as if [`Standing::Lost`].
    pub fn follows(&mut self, entries: impl IntoIterator<Item = Position>) -> bool {
        let Some(mut last) = self.position else { return false };
        for entry in entries {
            if entry != last && entry.n != last.n + 1 {
                (self.position, self.newest) = (None, None);
                self.unconfirmed.clear();
                return false;
            }
            last = entry;
        }
        self.knows(last);
        true
    }

    /// Records that the member has applied an entry, and that this was acknowledged. Its own entries count as applied.
    pub fn applied(&mut self, entry: Position) {
        if self.position.is_some() {
            self.position = Some(entry);
        }
    }

    /// Records that the instance takes no part any more, or not yet again.
    pub fn leave(&mut self) {
        self.position = None;
    }
}

/// Whether a log that ends at `head` may contain the entry `known`.
fn continues(known: Position, head: Position) -> bool {
    head.n > known.n || head == known
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms { lease_ms: 5_000, margin_ms: 1_500, longest_response_ms: 60_000 };

    fn at(n: i64, entry: u128) -> Position {
        Position { n, entry: Uuid::from_u128(entry) }
    }

    fn member() -> Member {
        let mut member = Member::new(TERMS);
        assert_eq!(member.until_ms(), i64::MIN);
        assert!(member.joined(member.ask(100_000), (at(7, 77), "1"), true));
        member
    }

    fn renew(member: &mut Member, now_ms: i64, head: Option<Position>) -> Standing {
        let server = member.server.clone();
        member.renewed(member.ask(now_ms), now_ms, head.map(|head| (head, &*server)))
    }

    #[test]
    fn the_window_counts_from_when_the_renewal_was_sent() {
        let mut member = member();
        assert_eq!(member.until_ms(), 103_500);
        let behind = Standing::Member { is_behind: true };
        let asked = member.ask(101_000);
        assert_eq!(member.renewed(asked, 250_000, Some((at(8, 88), "1"))), behind);
        assert_eq!(member.until_ms(), 104_500, "however late the answer came");
        member.leave();
        assert_eq!((member.until_ms(), member.position()), (i64::MIN, None));
    }

    #[test]
    fn who_was_away_joins_anew_and_who_was_not_has_lost_something() {
        let mut away = member();
        assert_eq!(renew(&mut away, 105_000, None), Standing::Removed);
        assert_eq!(away.until_ms(), i64::MIN);
        assert_eq!(renew(&mut member(), 104_999, None), Standing::Lost);
    }

    #[test]
    fn at_another_server_a_member_joins_anew() {
        let mut member = member();
        let asked = member.ask(101_000);
        assert_eq!(member.renewed(asked, 101_000, Some((at(7, 77), "2"))), Standing::Moved);
        assert_eq!(member.until_ms(), i64::MIN);
    }

    #[test]
    fn a_log_that_went_back_or_became_another_one_is_noticed() {
        let check = |head, expected| assert_eq!(renew(&mut member(), 101_000, Some(head)), expected);
        check(at(7, 77), Standing::Member { is_behind: false });
        check(at(6, 66), Standing::Lost);
        check(at(7, 78), Standing::Lost);
        check(at(9, 99), Standing::Member { is_behind: true });

        // So is one that lacks what it heard of.
        let mut heard = member();
        renew(&mut heard, 101_000, Some(at(9, 99)));
        assert_eq!(renew(&mut heard, 102_000, Some(at(9, 98))), Standing::Lost);
    }

    #[test]
    fn who_joins_again_still_knows_the_log() {
        let check = |head, is_known| {
            let mut member = member();
            member.leave();
            assert_eq!(member.joined(member.ask(200_000), (head, "2"), true), is_known);
            assert_eq!(member.position(), Some(head));
            let standing = renew(&mut member, 201_000, Some(head));
            assert_eq!(standing, Standing::Member { is_behind: false }, "it is told once");
        };
        check(at(7, 77), true);
        check(at(9, 99), true);
        check(at(6, 66), false);
        check(at(7, 78), false);
        let mut lost = member();
        assert_eq!(renew(&mut lost, 101_000, Some(at(6, 66))), Standing::Lost);
        assert!(lost.joined(lost.ask(102_000), (at(6, 66), "1"), true), "it is told once");
    }

    #[test]
    fn own_entries_are_looked_for_until_a_renewal_confirms_the_server() {
        let mut member = member();
        member.accepted(at(8, 88));
        let asked = member.ask(101_000);
        member.accepted(at(9, 99));
        let standing = member.renewed(asked, 101_001, Some((at(8, 88), "1")));
        assert_eq!(standing, Standing::Member { is_behind: true });
        assert_eq!(member.unconfirmed, [at(9, 99)], "it need not be in the answer");
        let asked = member.ask(102_000);
        assert_eq!(member.renewed(asked, 102_000, Some((at(9, 98), "2"))), Standing::Moved);
        let asked = member.ask(102_001);
        assert_eq!(asked.sought(&member), [at(9, 99)]);
        assert!(!member.joined(asked, (at(9, 98), "2"), false));
        assert_eq!(member.unconfirmed, []);
    }

    #[test]
    fn entries_continue_the_log() {
        let check = |entries: &[Position], expected| {
            let mut member = member();
            assert_eq!(member.follows(entries.iter().copied()), expected, "{entries:?}");
            assert_eq!(member.position().is_some(), expected);
        };
        check(&[], true);
        check(&[at(7, 77), at(8, 88), at(9, 99)], true);
        check(&[at(8, 88)], true);
        check(&[at(7, 78), at(8, 88)], false);
        check(&[at(9, 99)], false);
        check(&[at(7, 77), at(9, 99)], false);
        let mut member = member();
        member.follows([at(7, 77), at(8, 88)]);
        member.applied(at(8, 88));
        assert_eq!(member.position(), Some(at(8, 88)));
        assert!(!Member::new(TERMS).follows([]), "who takes no part follows nothing");
    }
}
