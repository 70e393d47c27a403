//! The CDN adapters: the capabilities of each CDN, the bytes of its API calls, and the meaning of its replies.
//!
//! An adapter is pure on both sides: [`Adapter::requests`] writes the calls of a batch, [`Adapter::judge`]
//! reads an answer, and time and nonces are arguments. Each CDN has a folder, and all adapters have the same
//! shape (row, struct, `new`, capabilities, requests, classify, check, settings). `sigv4.rs` and `edgegrid.rs`
//! sign calls. The `credentials.rs` of each CDN checks its credentials. The only I/O of this module is in
//! `send/`, which makes every call.
//!
//! Reading order: this file, [`Reply`], one adapter (`varnish/` is the shortest), then `send/`.

mod akamai;
mod cloudflare;
mod cloudfront;
mod credentials;
mod fastly;
mod identity;
mod mac;
mod message;
mod names;
mod pack;
mod rate;
mod reply;
mod row;
mod send;
mod varnish;

#[cfg(test)]
mod tests;

pub use credentials::{
    Answer, Answers, CdnReport, CredentialReport, Credentials, Finding, Level, Question, Usable, report,
    report_site,
};
pub use identity::{Identity, successor};
pub use message::{MESSAGE_BYTES, scrub};
pub use rate::{Ceiling, Limit, Rates, rates};
pub use reply::{Counted, RateHint, Reply};
pub use row::{Mark, NotKept, PrefixNames, ResponseTraces, Row};
pub use send::{SendError, Sender};

use crate::config;
use crate::rewrite::CdnType;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Both sides of an adapter: its calls, and the questions about its credentials.
trait Known: Adapter + Credentials {}
impl<T: Adapter + Credentials> Known for T {}

/// A configured CDN of one type. The settings of each type implement this trait, in the file of its adapter.
trait Configured {
    /// The CDN's adapter.
    fn adapter(&self, cdn: &config::Cdn) -> Arc<dyn Known>;

    /// The CDN's capabilities.
    fn capabilities(&self, cdn: &config::Cdn) -> Capabilities;

    /// The purge rates that the vendor publishes.
    fn published(&self) -> Rates;

    /// The parts of which the CDN consists; see [`Identity`].
    fn parts(&self, cdn: &config::Cdn) -> BTreeSet<String> {
        cdn.settings.services().into_iter().collect()
    }
}

macro_rules! adapters {
    ($($name:ident in $module:ident,)+) => {
        fn configured(settings: &config::CdnSettings) -> &dyn Configured {
            match settings {
                $(config::CdnSettings::$name(own) => own,)+
            }
        }

        /// Returns the facts about a type of CDN.
        pub fn row(cdn: CdnType) -> &'static Row {
            match cdn {
                $(CdnType::$name => &$module::ROW,)+
            }
        }
    };
}

adapters! {
    Fastly in fastly,
    Akamai in akamai,
    Cloudflare in cloudflare,
    Cloudfront in cloudfront,
    Varnish in varnish,
}

/// Returns the adapter of a configured CDN.
pub fn build(cdn: &config::Cdn) -> Arc<dyn Adapter> {
    make(cdn)
}

/// Returns the questions about a configured CDN's credentials, which [`report`] asks.
pub fn credentials(cdn: &config::Cdn) -> Arc<dyn Credentials> {
    make(cdn)
}

/// Returns the capabilities of a configured CDN.
pub fn capabilities(cdn: &config::Cdn) -> Capabilities {
    configured(&cdn.settings).capabilities(cdn)
}

fn make(cdn: &config::Cdn) -> Arc<dyn Known> {
    configured(&cdn.settings).adapter(cdn)
}

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
    /// An item cannot be purged by any call of the CDN, or is invalid on every CDN. A retry cannot succeed.
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

/// The kind of a purge item at the CDN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ItemKind {
    /// An absolute URL (CloudFront: its path and query, perhaps with a wildcard at the end).
    Url,
    /// An encoded tag.
    Tag,
    /// `host/path/`: everything below this path (Varnish: also `host/path?`, the page with any query).
    Prefix,
    /// The CDN's own purge-all; its value is `*`.
    Everything,
}

/// One thing to purge, as this CDN names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Item {
    /// The kind of the item.
    pub kind: ItemKind,
    /// The item's name at the CDN.
    pub value: String,
    /// Deletes copies if true, marks them stale if false. A CDN that cannot mark this kind stale deletes: the
    /// content is just as fresh, but the origin has more to serve.
    pub hard: bool,
}

/// The capabilities of an adapter's CDN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Tags can be purged.
    pub tags: bool,
    /// Prefixes can be purged.
    pub prefixes: bool,
    /// URLs and tags can be marked stale instead of deleted.
    pub soft: bool,
    /// `everything` can be marked stale.
    pub soft_everything: bool,
    /// Prefixes can be marked stale.
    pub soft_prefixes: bool,
    /// A prefix may be `host/path?`: the page with any query.
    pub any_query: bool,
    /// The schemes under which the CDN keeps separate copies of one URL; a single scheme if the scheme is not
    /// part of a copy's name.
    pub schemes: &'static [&'static str],
    /// The maximum number of URLs in one call.
    pub urls_per_call: usize,
    /// The maximum number of tags in one call.
    pub tags_per_call: usize,
    /// The maximum number of prefixes in one call.
    pub prefixes_per_call: usize,
    /// The maximum size of one call's body (Varnish: of its tag header) in bytes, with two quotes and a
    /// separator for each item.
    pub bytes_per_call: usize,
    /// Different kinds may share a call.
    pub mixed_kinds: bool,
    /// The CDN recognises calls by their reference: a repeated call must be identical to the first one.
    pub stable_reference: bool,
}

impl Capabilities {
    /// The maximum number of items of one kind in one call; 0 if the CDN does not purge this kind.
    pub fn items_per_call(&self, kind: ItemKind) -> usize {
        match kind {
            ItemKind::Url => self.urls_per_call,
            ItemKind::Tag => self.tags_per_call,
            ItemKind::Prefix => self.prefixes_per_call,
            ItemKind::Everything => 1,
        }
    }
}

/// The items of one API call: of one kind and one hardness, unless the CDN mixes kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// CloudFront's `CallerReference`: the same on every retry of these sends, and never used for a later purge of
    /// the same items. CloudFront answers a known reference with the earlier invalidation and purges nothing.
    pub reference: String,
    /// The items to purge; never empty.
    pub items: Vec<Item>,
}

/// The external inputs of signing: time and randomness.
#[derive(Clone, Debug)]
pub struct SignContext {
    /// The current time in milliseconds since the epoch, by the CDN's clock if that is known from
    /// [`Reply::date_ms`].
    pub now_ms: i64,
    /// A fresh nonce (a UUID).
    pub nonce: String,
}

impl SignContext {
    /// Formats the current time in UTC as `strftime` does.
    fn utc(&self, format: &str) -> Result<String, RequestError> {
        let now = jiff::Timestamp::from_millisecond(self.now_ms).map_err(|_| RequestError::Clock)?;
        Ok(now.strftime(format).to_string())
    }
}

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
    /// The time of the signature differed from the CDN's: sign again by the CDN's clock ([`Reply::date_ms`]),
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
    /// One line for people of at most [`MESSAGE_BYTES`], without secrets.
    pub message: String,
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
