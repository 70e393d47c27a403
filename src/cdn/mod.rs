//! The CDN adapters: what each CDN can do, the bytes of its calls, the meaning of its replies. No I/O here
//! except in `send.rs`, which makes every call to a CDN.

use crate::rewrite::CdnType;
use bytes::Bytes;
use std::time::Duration;

/// What a purge item is at the CDN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ItemKind {
    /// An absolute URL (CloudFront: its path and query, perhaps with a wildcard at the end).
    Url,
    /// An encoded tag.
    Tag,
    /// `host/path/`: everything below.
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
    /// Deleted, or marked stale.
    pub hard: bool,
}

/// What an adapter's CDN can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Tags can be purged.
    pub tags: bool,
    /// Prefixes can be purged.
    pub prefixes: bool,
    /// Marking stale instead of deleting, per kind of item.
    pub soft: bool,
    /// `everything` can be marked stale.
    pub soft_everything: bool,
    /// URLs in one call.
    pub urls_per_call: usize,
    /// Tags in one call.
    pub tags_per_call: usize,
    /// Prefixes in one call.
    pub prefixes_per_call: usize,
    /// Bytes of one call's body.
    pub bytes_per_call: usize,
    /// Different kinds may share a call.
    pub mixed_kinds: bool,
}

/// The items that one API call carries: one kind, one hardness, unless the CDN mixes kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Stable over retries of the same items: CloudFront's `CallerReference`.
    pub reference: String,
    /// What to purge; never empty.
    pub items: Vec<Item>,
}

/// What signing needs from outside: time and randomness.
#[derive(Clone, Debug)]
pub struct SignContext {
    /// Now, in milliseconds since the epoch, by the CDN's clock as far as it is known.
    pub now_ms: i64,
    /// A fresh nonce (a UUID).
    pub nonce: String,
}

/// A CDN's answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: http::StatusCode,
    /// Its headers.
    pub headers: http::HeaderMap,
    /// At most 64 KiB of its body.
    pub body: Bytes,
}

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The CDN accepted every item.
    Done,
    /// Try again, not before this where the CDN named a time.
    Later(Option<Duration>),
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
    /// One line for people; no secret.
    pub message: String,
}

/// One CDN, pure on both sides.
pub trait Adapter: Send + Sync + std::fmt::Debug {
    /// Which CDN.
    fn cdn_type(&self) -> CdnType;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// The calls that carry `batch`: one, except where every node must be told (Varnish) or a URL needs its own call (Fastly).
    fn requests(&self, batch: &Batch, sign: &SignContext) -> Result<Vec<http::Request<Bytes>>, RequestError>;

    /// What the answer to one of these calls means.
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

    /// The cheapest calls that prove the credentials without purging content; Varnish: a purge of an unused key.
    fn check_requests(&self, sign: &SignContext) -> Result<Vec<http::Request<Bytes>>, RequestError>;

    /// What the answers to [`Adapter::check_requests`] mean, in their order.
    fn classify_check(&self, replies: &[Reply]) -> Classified;
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
    /// The parts do not make a valid HTTP request.
    #[error("the request is not valid HTTP")]
    Http(#[from] http::Error),
}
