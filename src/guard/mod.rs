//! The guarantee that no cache keeps content from before a purge: recent purges, responses in flight to a CDN, and
//! until when copies without our tags may live. The control plane records purges here, and the request path checks
//! them before a response leaves.

mod clock;
mod fence;
mod freshness;
pub mod in_flight;
mod purge_alls;
mod question;
mod untagged;

pub use clock::{Clock, boot, wall_ms};
pub use fence::{Fence, Since};
pub use freshness::{Freshness, PurgedSite};
pub use purge_alls::Mark;
pub use question::{Found, Inbox, Job, JobItems, Question, Report};
pub use untagged::{Copies, Untagged, WithoutTags};
