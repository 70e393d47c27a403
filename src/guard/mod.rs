//! Nothing old after a purge: what was purged lately, which responses are on their way to a CDN, until when copies without our
//! tags may live. The control plane says what is purged; the request path asks here before a response leaves.

mod clock;
mod freshness;
pub mod in_flight;
mod purge_alls;
mod question;
mod untagged;

pub use clock::{Clock, boot, wall_ms};
pub use freshness::{Freshness, PurgedSite};
pub use purge_alls::{Mark, PurgeAlls};
pub use question::{Found, Inbox, Job, JobItems, Question, Report};
pub use untagged::{Copies, Untagged, WithoutTags};
