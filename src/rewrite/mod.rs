//! Rewriting of responses for the CDN that sent the request. The code is pure: it does no I/O, reads no clock, and
//! imports nothing of the project but `http`.
//!
//! [`rewrite`] is the entry point. From a site's [`Policy`], the facts about the request, the edge that sent it,
//! and the response's status and headers, it makes a [`Decision`] and edits the headers.
//!
//! [`facts`] holds the differences between CDNs, one row per type. A response passes the modules in this order:
//! [`path`] and [`pattern`] find the rule, `fields` finds the relevant fields, `tag_header` writes the [`tags`]
//! (with the keys of [`aem`] for AEM sites), `page_header` names the page for Varnish, `origin` reads the origin's
//! caching fields, `kept` decides whether the CDN may keep the response, `never` (with `redirect`) and `table`
//! decide what it gets, and `write` writes that.
//! `keys` identifies the purges that may cover a response, `purged` checks whether one of them came after the
//! response was made, and a `stamp` shows that for a copy. `lifetime` computes how long copies of responses that
//! are not rewritten may live.

pub mod aem;
pub mod broad;
pub mod cache_control;
pub mod covers;
pub mod dialect;
pub mod facts;
pub mod keys;
pub mod nameable;
pub mod outcome;
pub mod path;
pub mod pattern;
pub mod policy;
pub mod purged;
pub mod spelling;
pub mod stamp;
pub mod tag_field;
pub mod tags;

mod decide;
mod edits;
mod field;
mod fields;
mod kept;
mod lifetime;
mod line;
mod never;
mod origin;
mod page_header;
mod redirect;
mod request;
mod table;
mod tag_header;
mod tag_list;
mod write;

#[cfg(test)]
mod tests;

pub use decide::{Edge, Provenance, rewrite};
pub use dialect::{CdnTypes, Dialect};
pub use facts::CdnType;
pub use keys::Keys;
pub use lifetime::{Kept, Lifetime, default_lifetime};
pub use outcome::{Decision, Outcome, Reason};
pub use policy::{BrowserTtl, Conditional, OriginName, Policy, Profile, Rule, TagPolicy, Ttls};
pub use purged::{Guard, Purged};
pub use redirect::public_location;
pub use request::{Asked, RequestFacts};
