//! The rewriting of responses for the CDN that asked. Pure: no I/O, no clock, nothing of ours imported.
//!
//! [`rewrite`] is the whole of it: a site's [`Policy`], what is known of the request, the edge that
//! asked, and the response's status and headers give a [`Decision`] and edited headers.
//!
//! How CDNs differ is told by [`facts`], one row per type. In the order in which a response meets them: [`path`] and
//! [`pattern`] find the rule, `fields` looks which headers there are, `tag_header` writes the [`tags`] (with the keys
//! of [`aem`] where a site is one of AEM), `page_header` names the page to Varnish, `origin` reads what the origin
//! said, `kept` tells whether the CDN may keep it, `never` (with `redirect`) and `table` decide what the response
//! gets, `write` writes it; a [`DecisionCache`] remembers all of that for responses that come again. Which purges it
//! could be covered by is told by `keys`, and whether one of them came after it was made by `purged`; a copy tells it
//! by its `stamp`. How long copies of what is not rewritten may live is told by `lifetime`.

pub mod aem;
pub mod cache_control;
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
pub mod tags;

mod decide;
mod decision_cache;
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
mod table;
mod tag_header;
mod write;

#[cfg(test)]
mod tests;

pub use decide::{Edge, Provenance, RequestFacts, rewrite};
pub use decision_cache::DecisionCache;
pub use dialect::{CdnTypes, Dialect};
pub use facts::CdnType;
pub use keys::Keys;
pub use lifetime::{Kept, Lifetime, default_lifetime};
pub use outcome::{Decision, Outcome, Reason};
pub use policy::{BrowserTtl, Conditional, OriginName, Policy, Profile, Rule, TagPolicy, Ttls};
pub use purged::{Guard, Purged};
pub use redirect::{Asked, public_location};
