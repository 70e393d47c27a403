//! The rules of the protocol, each of which can be left out.

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Outside its window, a member gives no long lifetimes.
    Fence,
    /// The window counts from when the renewal was sent, and not from its answer.
    WindowFromSending,
    /// A part of the lease is not used.
    Margin,
    /// Who joins treats everything that was requested before as old.
    JoinMakesOld,
    /// Who joins again is waited for only until what it has on its way then has arrived.
    JoinReleases,
    /// Who is answered by another server joins again.
    JoinIfMoved,
    /// Who applies a purge treats what was requested before as old.
    ApplyMakesOld,
    /// The moment of learning of a purge counts, and not that of its acceptance by another machine's clock.
    OwnMoment,
    /// A purge waits for the members to apply it.
    WaitToApply,
    /// What left before a member applied the purge is sent once more.
    AgainIfLate,
    /// A member reports what it has on its way.
    TellFollowUps,
    /// Joining is a synchronous commit.
    DurableJoin,
    /// The position in the log moves after the acknowledgement, and not before.
    AcknowledgeFirst,
    /// A purge that was applied again is reported as arrived, even if nothing is on its way any more.
    TellAfterLostAnswer,
    /// A member is gone after its longest response, and not when its lease ends.
    LongestResponse,
    /// What waits for a run that has no row when the purge is committed waits for a limited time.
    WaitLimited,
    /// A response that overstays is aborted.
    AbortOverstaying,
    /// Only a row that is still as it was seen is removed.
    RemoveAsSeen,
    /// A row that comes again does not look as before.
    FreshBeat,
    /// The watch begins anew when the server does.
    WatchAnew,
    /// The end of the log comes with every renewal, whether a notification came or not.
    Poll,
    /// Members that are gone are removed.
    RemoveGone,
    /// A log that went back is noticed.
    NoticeLoss,
    /// Entries are compared by their ids, and not only by their numbers.
    EntryIds,
}

/// The rules that hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    left_out: Option<Rule>,
}

impl Rules {
    /// All but one.
    pub fn without(rule: Rule) -> Self {
        Self { left_out: Some(rule) }
    }

    /// Whether nobody may believe that something was lost. Without one of the rules, it may well be right.
    pub fn forbid_alarms(self) -> bool {
        matches!(self.left_out, None | Some(Rule::FreshBeat))
    }

    pub fn hold(self, rule: Rule) -> bool {
        self.left_out != Some(rule)
    }
}
