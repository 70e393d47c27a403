//! What the writing of a call needs from outside, and why a call cannot be written.

use super::item::ItemKind;
use crate::config;
use crate::rewrite::CdnType;

/// The external inputs of signing: time and randomness.
#[derive(Clone, Debug)]
pub struct SignContext {
    /// The current time in milliseconds since the epoch, by the CDN's clock if that is known from
    /// [`super::Reply::date_ms`].
    pub now_ms: i64,
    /// A fresh nonce (a UUID).
    pub nonce: String,
}

impl SignContext {
    /// Formats the current time in UTC as `strftime` does.
    pub(super) fn utc(&self, format: &str) -> Result<String, RequestError> {
        let now = jiff::Timestamp::from_millisecond(self.now_ms).map_err(|_| RequestError::Clock)?;
        Ok(now.strftime(format).to_string())
    }
}

/// A call that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The adapter has no call for this kind of item.
    #[error("{cdn:?} cannot purge {kind:?} items")]
    Kind {
        /// The type of the CDN.
        cdn: CdnType,
        /// The kind of the item.
        kind: ItemKind,
    },
    /// The CDN's purge-all needs something that is not configured.
    #[error("{}, and `{}` is empty", .0.why, .0.key)]
    Lacks(config::cdns::Lack),
    /// The value of an item does not have the form that its kind requires.
    #[error("{value:?} is not {expected}")]
    Value {
        /// The item's value.
        value: String,
        /// The required form.
        expected: &'static str,
    },
    /// The clock shows a time that cannot be written as a date.
    #[error("the clock is out of range")]
    Clock,
    /// The parts do not make a valid HTTP request.
    #[error("the request is not valid HTTP")]
    Http(#[from] http::Error),
}
