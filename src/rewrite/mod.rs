//! The rewriting of responses for the CDN that asked. Pure: no I/O, no clock, nothing of ours imported.
//!
//! [`rewrite`] is the whole of it: a site's [`Policy`], what is known of the request, the edge that
//! asked, and the response's status and headers give a [`Decision`] and edited headers.

pub mod cache_control;
pub mod dialect;
pub mod path;
pub mod pattern;
pub mod policy;
pub mod tags;

mod decide;

pub use decide::{Decision, Edge, Outcome, Reason, RequestFacts, rewrite};
pub use dialect::{CdnType, Dialect};
pub use policy::{Policy, Profile, Rule, TagPolicy, Ttls};
