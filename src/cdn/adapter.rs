//! What every adapter does: the calls of a batch, and the meaning of their answers.

use super::capabilities::Capabilities;
use super::item::{Batch, Item};
use super::reply::{RateHint, Reply};
use super::request::{RequestError, SignContext};
use super::verdict::{Classified, Verdict};
use crate::rewrite::CdnType;
use bytes::Bytes;

/// One CDN's adapter, pure on both sides.
pub trait Adapter: Send + Sync + std::fmt::Debug {
    /// The type of the CDN.
    fn cdn_type(&self) -> CdnType;

    /// The CDN's capabilities.
    fn capabilities(&self) -> Capabilities;

    /// Returns the calls that carry `batch`, which is complete when all of them have been answered. A batch
    /// within [`Capabilities`] is one call (Varnish: one for each node). A larger batch becomes several calls,
    /// none of them over a limit of the CDN.
    ///
    /// # Errors
    ///
    /// An item cannot be purged by any call of the CDN, or is invalid on every CDN; a retry cannot succeed then. Or
    /// the clock or the configuration allows no valid request ([`RequestError::Clock`], [`RequestError::Http`]), which
    /// can be mended.
    fn requests(&self, batch: &Batch, sign: &SignContext) -> Result<Vec<http::Request<Bytes>>, RequestError>;

    /// Returns the meaning of an answer by itself, without the batch.
    fn classify(&self, reply: &Reply) -> Classified;

    /// Returns the meaning of an answer for the batch that its call carried: [`Adapter::classify`], corrected
    /// by what follows from the batch. This is the method that the engine uses: a single item that poisons its
    /// call is refused instead of being split again.
    fn judge(&self, batch: &Batch, reply: &Reply) -> Classified {
        let mut classified = self.classify(reply);
        if classified.verdict == Verdict::Split && batch.items.len() < 2 {
            classified.verdict = Verdict::Refused;
        }
        classified
    }

    /// Returns the item to try in place of a refused one before the whole site is purged: a broader item of the
    /// same kind. `None` if no item lies in between.
    fn broader(&self, _refused: &Item) -> Option<Item> {
        None
    }

    /// How to follow an accepted call until it takes effect; `None` if acceptance completes it.
    fn completion(&self) -> Option<&dyn Completion> {
        None
    }

    /// Returns the hints in an answer about the account's rate.
    fn rate_hints(&self, _reply: &Reply) -> Vec<RateHint> {
        Vec::new()
    }

    /// Returns the cheapest calls that prove the credentials without purging content (Varnish: a purge of an
    /// unused key).
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`Adapter::requests`].
    fn check_requests(&self, sign: &SignContext) -> Result<Vec<http::Request<Bytes>>, RequestError>;

    /// Returns the meaning of the answers to [`Adapter::check_requests`], given in the same order. `Done`:
    /// purges can get through. `Refused`: the key is valid, but its right to purge is not proved, which is no
    /// reason not to purge.
    fn classify_check(&self, replies: &[Reply]) -> Classified;
}

/// A CDN that first accepts a call and reports later that it took effect everywhere. Pure, as all of an adapter
/// is.
pub trait Completion: Send + Sync {
    /// Returns the CDN's name for the work that it accepted with this answer.
    fn work(&self, reply: &Reply) -> Option<String>;

    /// Returns the call that asks for the progress of this work.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`Adapter::requests`].
    fn ask(&self, work: &str, sign: &SignContext) -> Result<http::Request<Bytes>, RequestError>;

    /// Returns the progress that the answer reports.
    fn progress(&self, reply: &Reply) -> Progress;
}

/// The progress of work that a CDN accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The purge took effect everywhere.
    Complete,
    /// The purge is not complete yet, or the answer does not report its state: ask again.
    UnderWay,
    /// The CDN will never report the state.
    Unknown,
}
