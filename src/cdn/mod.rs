//! The CDN adapters: what each CDN can do, the bytes of its calls, the meaning of its replies.
//!
//! An adapter is pure on both sides: [`Adapter::requests`] writes the calls of a batch, [`Adapter::judge`] reads an
//! answer, and time and nonces are arguments. One file per CDN, all of the same shape (row, struct, `new`,
//! capabilities, requests, classify, check, settings); `sigv4.rs` and `edgegrid.rs` sign. `credentials.rs` asks what
//! the credentials are good for. No I/O here except in `send.rs`, which makes every call.
//!
//! Reading order: this file, [`Reply`], one adapter (`varnish.rs` is the shortest), then `send.rs`.

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

/// Both sides of an adapter: what it does, and what it can ask about its credentials.
trait Known: Adapter + Credentials {}
impl<T: Adapter + Credentials> Known for T {}

/// A configured CDN of one type. The settings of that type implement it, in the file of its adapter.
trait Configured {
    /// The adapter.
    fn adapter(&self, cdn: &config::Cdn) -> Arc<dyn Known>;

    /// What it can do.
    fn capabilities(&self, cdn: &config::Cdn) -> Capabilities;

    /// How fast the vendor lets it purge, as published.
    fn published(&self) -> Rates;

    /// What it consists of: see [`Identity`].
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

        /// What is known of a type of CDN.
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

/// The adapter for a configured CDN.
pub fn build(cdn: &config::Cdn) -> Arc<dyn Adapter> {
    make(cdn)
}

/// What can be asked about the credentials of a configured CDN; [`report`] asks it.
pub fn credentials(cdn: &config::Cdn) -> Arc<dyn Credentials> {
    make(cdn)
}

/// What a configured CDN can do.
pub fn capabilities(cdn: &config::Cdn) -> Capabilities {
    configured(&cdn.settings).capabilities(cdn)
}

fn make(cdn: &config::Cdn) -> Arc<dyn Known> {
    configured(&cdn.settings).adapter(cdn)
}

/// One CDN, pure on both sides.
pub trait Adapter: Send + Sync + std::fmt::Debug {
    /// Which CDN.
    fn cdn_type(&self) -> CdnType;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// The calls that carry `batch`; it is done when the answer to each of them is. One call for a batch within
    /// [`Capabilities`] (Varnish: one per node). A larger batch becomes several calls, none of them over a limit of the CDN.
    ///
    /// # Errors
    ///
    /// An item that the CDN has no call for, or that no CDN could hold: it will never be accepted.
    fn requests(&self, batch: &Batch, sign: &SignContext) -> Result<Vec<http::Request<Bytes>>, RequestError>;

    /// What the answer to a call says by itself.
    fn classify(&self, reply: &Reply) -> Classified;

    /// What the answer to a call means for the batch that it carried: [`Adapter::classify`], with what only the batch
    /// tells. The engine asks this one: a single item that poisons its call is refused, not split again.
    fn judge(&self, batch: &Batch, reply: &Reply) -> Classified {
        let mut classified = self.classify(reply);
        if classified.verdict == Verdict::Split && batch.items.len() < 2 {
            classified.verdict = Verdict::Refused;
        }
        classified
    }

    /// What is tried in place of an item that the CDN refused, before all of the site: an item of the same kind that covers it;
    /// none where there is nothing in between.
    fn broader(&self, _refused: &Item) -> Option<Item> {
        None
    }

    /// How a call goes on after it was accepted; none where it is complete then.
    fn completion(&self) -> Option<&dyn Completion> {
        None
    }

    /// What the answer says about the account's rate.
    fn rate_hints(&self, _reply: &Reply) -> Vec<RateHint> {
        Vec::new()
    }

    /// The cheapest calls that prove the credentials without purging content; Varnish: a purge of an unused key.
    ///
    /// # Errors
    ///
    /// As [`Adapter::requests`].
    fn check_requests(&self, sign: &SignContext) -> Result<Vec<http::Request<Bytes>>, RequestError>;

    /// What the answers to [`Adapter::check_requests`] mean, in their order. `Done`: purges can get through;
    /// `Refused`: the key is good, but whether it may purge is not proved; it says nothing against trying.
    fn classify_check(&self, replies: &[Reply]) -> Classified;
}

/// A CDN that accepts a call first and reports later that it took effect everywhere. Pure, as the rest.
pub trait Completion: Send + Sync {
    /// The CDN's name for what it accepted with this answer.
    fn work(&self, reply: &Reply) -> Option<String>;

    /// The call that asks how far it is.
    ///
    /// # Errors
    ///
    /// As [`Adapter::requests`].
    fn ask(&self, work: &str, sign: &SignContext) -> Result<http::Request<Bytes>, RequestError>;

    /// What the answer to that says.
    fn progress(&self, reply: &Reply) -> Progress;
}

/// How far something is that a CDN accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It took effect everywhere.
    Complete,
    /// Not yet, or the answer does not say: ask again.
    UnderWay,
    /// The CDN will never tell.
    Unknown,
}

/// What a purge item is at the CDN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ItemKind {
    /// An absolute URL (CloudFront: its path and query, perhaps with a wildcard at the end).
    Url,
    /// An encoded tag.
    Tag,
    /// `host/path/`: everything below (Varnish: also `host/path?`, the page with any query).
    Prefix,
    /// The CDN's own purge-all; its value is `*`.
    Everything,
}

/// One thing to purge, as this CDN names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Item {
    /// What it is.
    pub kind: ItemKind,
    /// Its name at the CDN.
    pub value: String,
    /// Deleted, or marked stale. Where the CDN cannot mark this kind stale it is deleted: as fresh, only dearer.
    pub hard: bool,
}

/// What an adapter's CDN can do.
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
    /// The schemes under which it keeps copies of their own of one URL; one of them where the scheme is no part of a
    /// copy's name.
    pub schemes: &'static [&'static str],
    /// URLs in one call.
    pub urls_per_call: usize,
    /// Tags in one call.
    pub tags_per_call: usize,
    /// Prefixes in one call.
    pub prefixes_per_call: usize,
    /// Bytes of one call's body (Varnish: of its tag header), with two quotes and a separator for each item.
    pub bytes_per_call: usize,
    /// Different kinds may share a call.
    pub mixed_kinds: bool,
    /// It knows calls by their reference: one that is made again must be made as it was.
    pub stable_reference: bool,
}

impl Capabilities {
    /// Items of one kind in one call; 0 where the CDN does not purge this kind.
    pub fn items_per_call(&self, kind: ItemKind) -> usize {
        match kind {
            ItemKind::Url => self.urls_per_call,
            ItemKind::Tag => self.tags_per_call,
            ItemKind::Prefix => self.prefixes_per_call,
            ItemKind::Everything => 1,
        }
    }
}

/// The items that one API call carries: one kind, one hardness, unless the CDN mixes kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// CloudFront's `CallerReference`: the same on every retry of these sends, and never used for a later purge of
    /// the same items. CloudFront answers a known reference with the earlier invalidation and purges nothing.
    pub reference: String,
    /// What to purge; never empty.
    pub items: Vec<Item>,
}

/// What signing needs from outside: time and randomness.
#[derive(Clone, Debug)]
pub struct SignContext {
    /// Now, in milliseconds since the epoch, by the CDN's clock as far as it is known ([`Reply::date_ms`] tells it).
    pub now_ms: i64,
    /// A fresh nonce (a UUID).
    pub nonce: String,
}

impl SignContext {
    /// Now in UTC, as `strftime` writes it.
    fn utc(&self, format: &str) -> Result<String, RequestError> {
        let now = jiff::Timestamp::from_millisecond(self.now_ms).map_err(|_| RequestError::Clock)?;
        Ok(now.strftime(format).to_string())
    }
}

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The CDN accepted every item.
    Done,
    /// The CDN accepted every item but those at these positions of the batch: try them again.
    Partial(Vec<usize>),
    /// Try again, not before this where the CDN named a time.
    Later(Option<Duration>),
    /// A success without the proof that the CDN's API gives with each: whoever answered, nothing says that this purge took
    /// effect. Try again, and rely on no purge meanwhile.
    Unproven,
    /// The time of the signature was not the CDN's: sign anew by its clock ([`Reply::date_ms`]), at once if that is known.
    Resign,
    /// Too large, or one item poisons the rest: send halves.
    Split,
    /// This will never be accepted.
    Refused,
    /// The credentials are bad or may not do this: pause, lose nothing.
    BadCredentials,
}

/// What the CDN said, in words for people, and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classified {
    /// What the engine does next.
    pub verdict: Verdict,
    /// The CDN's id of this call, for its support.
    pub request_id: Option<String>,
    /// One line for people, at most [`MESSAGE_BYTES`]; no secret.
    pub message: String,
}

/// A call that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The adapter has no call for this kind of item.
    #[error("{cdn:?} cannot purge {kind:?} items")]
    Kind {
        /// Which CDN.
        cdn: CdnType,
        /// Which kind.
        kind: ItemKind,
    },
    /// The CDN's purge-all needs something that is not configured.
    #[error("{}, and `{}` is empty", .0.why, .0.key)]
    Lacks(config::cdns::Lack),
    /// The value of an item is not what its kind asks for.
    #[error("{value:?} is not {expected}")]
    Value {
        /// The item's value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// The clock shows a time that cannot be written as a date.
    #[error("the clock is out of range")]
    Clock,
    /// The parts do not make a valid HTTP request.
    #[error("the request is not valid HTTP")]
    Http(#[from] http::Error),
}
