//! The results of purges that the origin asks for in a response.

/// How a purge went that the origin asked for in a response, as a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderPurge {
    /// The purge was committed before the response was handed on.
    Committed,
    /// The purge was not committed in time, and is tried again.
    Late,
    /// The response asked for something that no purge can name, which was ignored.
    Unreadable,
}

impl HeaderPurge {
    /// All results, in the order of their declaration.
    pub const ALL: [Self; 3] = [Self::Committed, Self::Late, Self::Unreadable];

    /// Returns the label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Late => "late",
            Self::Unreadable => "unreadable",
        }
    }
}
