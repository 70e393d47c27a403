//! Webhooks of content management systems, each of which becomes a purge or a publish event. Everything here is pure.
//!
//! | file | task |
//! |---|---|
//! | `verify/` | proves who sent the webhook |
//! | `replays.rs` | remembers which ones were accepted |
//! | `hook.rs` | decides whether it counts, and what it asks for |
//!
//! `config/template.rs` makes names from its body.

pub mod hook;
pub mod replays;
pub mod verify;
