//! The laws of the program's parsers, which hold for any input. Each input is one file of the corpus.
#![allow(dead_code)]

mod configuration;
mod inbound;
mod patterns;
mod purging;
mod rewriting;
mod vendors;
mod wire;

pub use configuration::{aem, config};
pub use inbound::{signature, template};
pub use patterns::pattern;
pub use purging::{event, purge};
pub use rewriting::{cache_control, names, rewrite};
pub use vendors::{credentials, reply};
pub use wire::{chunked, frames, head, proxy_header, request};

/// A law of this module.
pub type Law = fn(&[u8]);

/// Every target by its name, which is also the name of its corpus.
pub const ALL: [(&str, Law); 17] = [
    ("aem", aem),
    ("cache_control", cache_control),
    ("chunked", chunked),
    ("config", config),
    ("credentials", credentials),
    ("event", event),
    ("frames", frames),
    ("head", head),
    ("names", names),
    ("pattern", pattern),
    ("proxy_header", proxy_header),
    ("purge", purge),
    ("reply", reply),
    ("request", request),
    ("rewrite", rewrite),
    ("signature", signature),
    ("template", template),
];

/// Returns the lines of a text input.
fn lines(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    data.split(|byte| *byte == b'\n')
}
