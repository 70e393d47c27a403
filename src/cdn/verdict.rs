//! What an answer of a CDN means.

use std::time::Duration;

/// The meaning of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The CDN accepted every item.
    Done,
    /// The CDN accepted every item except those at these positions of the batch: try these again.
    Partial(Vec<usize>),
    /// The call failed for now: try again, and not before the given time if the CDN named one.
    Later(Option<Duration>),
    /// A success without the proof that the CDN's API always includes. Whoever answered, nothing shows that
    /// this purge took effect. Try again, and rely on no purge meanwhile.
    Unproven,
    /// The time of the signature differed from the CDN's: sign again by the CDN's clock ([`super::Reply::date_ms`]),
    /// at once if that is known.
    Resign,
    /// The call is too large, or one item poisons the rest: send halves.
    Split,
    /// The call will never be accepted.
    Refused,
    /// The credentials are invalid or lack the right to do this: pause, and lose nothing.
    BadCredentials,
}

/// A CDN's answer, in words for people, and its meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classified {
    /// The engine's next step.
    pub verdict: Verdict,
    /// The CDN's id of this call, to quote to the CDN's support.
    pub request_id: Option<String>,
    /// One line for people of at most [`super::MESSAGE_BYTES`], without secrets.
    pub message: String,
}
