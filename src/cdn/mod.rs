//! The CDN adapters: the capabilities of each CDN, the bytes of its API calls, and the meaning of its replies.
//!
//! An adapter is pure on both sides: [`Adapter::requests`] writes the calls of a batch, [`Adapter::judge`]
//! reads an answer, and time and nonces are arguments. Each CDN has a folder, and all adapters have the same
//! shape (row, struct, `new`, capabilities, requests, classify, check, settings). `sigv4.rs` and `edgegrid.rs`
//! sign calls. The `credentials.rs` of each CDN checks its credentials. The only I/O of this module is in
//! `send/`, which makes every call.
//!
//! Reading order: [`Adapter`], [`Reply`], one adapter (`varnish/` is the shortest), then `send/`.

mod adapter;
mod akamai;
mod capabilities;
mod cloudflare;
mod cloudfront;
mod credentials;
mod fastly;
mod identity;
mod item;
mod mac;
mod message;
mod names;
mod pack;
mod rate;
mod reply;
mod request;
mod row;
mod send;
mod settings;
mod varnish;
mod verdict;

#[cfg(test)]
mod tests;

pub use adapter::{Adapter, Completion, Progress};
pub use akamai::edgegrid;
pub use capabilities::Capabilities;
pub use credentials::{
    Answer, Answers, CdnReport, CredentialReport, Credentials, Finding, Level, Question, Usable, report,
    report_site,
};
pub use identity::{Identity, successor};
pub use item::{Batch, Item, ItemKind};
pub use message::{MESSAGE_BYTES, scrub};
pub use rate::{Ceiling, Limit, Rates};
pub use reply::{Counted, RateHint, Reply};
pub use request::{RequestError, SignContext};
pub use row::{Mark, NotKept, PrefixNames, Price, ResponseTraces, Row};
pub use send::{SendError, Sender};
pub use verdict::{Classified, Verdict};

use crate::config;
use crate::rewrite::CdnType;
use settings::{Configured, Known};
use std::sync::Arc;

macro_rules! adapters {
    ($($name:ident in $module:ident,)+) => {
        fn configured(settings: &config::CdnSettings) -> &dyn Configured {
            match settings {
                $(config::CdnSettings::$name(own) => own,)+
            }
        }

        /// Returns the row of a type of CDN: what purging knows of it in addition to `rewrite/facts/`.
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

/// Returns the rates of a configured CDN's account: as the vendor publishes them, and as the configuration
/// overrides them.
pub fn rates(cdn: &config::Cdn) -> Rates {
    configured(&cdn.settings).published().adjusted(&cdn.rate)
}

fn make(cdn: &config::Cdn) -> Arc<dyn Known> {
    configured(&cdn.settings).adapter(cdn)
}
