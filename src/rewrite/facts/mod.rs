//! What is known of each type of CDN: one row per type, in a file of its own. Whoever needs to know how CDNs differ asks
//! the row ([`CdnType::facts`]) and never the name.
//!
//! What depends on how a CDN is configured, and what only purging needs, stands beside its adapter in `src/cdn`.
//!
//! A new CDN takes its row in a file here, one line in the list of [`CdnType`], its keys and settings in `src/config`
//! (`file/cdn.rs`, `cdns`), and its adapter in `src/cdn`.

mod akamai;
mod cloudflare;
mod cloudfront;
mod fastly;
mod varnish;

use super::field::Field;
use http::{HeaderName, Method};
use serde::{Deserialize, Serialize};
use std::time::Duration;

macro_rules! cdn_types {
    ($($(#[$doc:meta])* $name:ident => $row:path,)+) => {
        /// A kind of CDN that the shim can speak to and purge.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
        )]
        #[serde(rename_all = "lowercase")]
        pub enum CdnType {
            $($(#[$doc])* $name,)+
        }

        impl CdnType {
            /// Every type, in the order of its declaration.
            pub const ALL: [Self; [$(Self::$name),+].len()] = [$(Self::$name),+];

            /// What is known of it.
            pub fn facts(self) -> &'static Facts {
                match self {
                    $(Self::$name => &$row,)+
                }
            }
        }
    };
}

cdn_types! {
    /// Fastly (Surrogate-Control, Surrogate-Key).
    Fastly => fastly::FACTS,
    /// Akamai (Edge-Control, Edge-Cache-Tag).
    Akamai => akamai::FACTS,
    /// Cloudflare (Cloudflare-CDN-Cache-Control, Cache-Tag).
    Cloudflare => cloudflare::FACTS,
    /// Amazon CloudFront (Cache-Control with s-maxage; a tag header if the distribution has one).
    Cloudfront => cloudfront::FACTS,
    /// Varnish with the VCL that we ship (Surrogate-Control, xkey).
    Varnish => varnish::FACTS,
}

impl CdnType {
    /// Its name in configuration, in `X-BYO-CDN-Type`, in metrics and in the store.
    pub fn as_str(self) -> &'static str {
        self.facts().name
    }

    /// The type of this name, in whatever case.
    pub fn named(name: &[u8]) -> Option<Self> {
        // The case is hardly ever another one.
        let is_named = |known: &[u8]| name == known || name.eq_ignore_ascii_case(known);
        Self::ALL.into_iter().find(|cdn| is_named(cdn.as_str().as_bytes()))
    }
}

/// What is known of one type of CDN.
#[derive(Debug)]
pub struct Facts {
    /// Its name: see [`CdnType::as_str`].
    pub name: &'static str,
    /// The header that carries its edge TTL by default; the name decides the syntax.
    pub(super) ttl_header: &'static HeaderName,
    /// The header that carries its tags by default; none where only its configuration can name one.
    pub(super) tag_header: Option<&'static HeaderName>,
    /// What it takes as tags.
    pub tags: TagFacts,
    /// How it shows in the requests that it sends.
    pub traces: Traces,
    /// Whether it waits for the final response after an interim one, as RFC 9110 §15.2 demands.
    pub takes_interim: bool,
    /// Whether it must be told which page a response is of, because it compares names itself (see `page_header`).
    pub(super) is_told_the_page: bool,
    /// What it keeps, and how it is told not to.
    pub(super) storing: StoringFacts,
    /// What its purges can name.
    pub purging: PurgingFacts,
}

/// What a CDN takes as tags.
#[derive(Debug)]
pub struct TagFacts {
    /// Bytes of a tag.
    pub(super) longest: usize,
    /// For each byte whether a tag may contain it.
    pub(super) alphabet: [bool; 256],
    /// Tags of a response.
    pub(super) most: usize,
    /// Bytes of the header's value.
    pub(super) bytes: usize,
    /// What stands between tags.
    pub(super) separator: u8,
    /// Whether `A` and `a` are one tag.
    pub(super) ignores_case: bool,
    /// Whether the tags of a 304 replace those of the stored response.
    pub in_304: bool,
}

/// The traces of a CDN in requests. It was there if one of `any` is, and none of `unless`.
#[derive(Debug)]
pub struct Traces {
    /// What it leaves.
    pub any: &'static [Trace],
    /// What shows that it was another CDN, which leaves the same.
    pub unless: &'static [Trace],
}

/// A trace of a CDN in a request; words are compared without case.
#[derive(Debug)]
pub enum Trace {
    /// A line of `Via` contains the word.
    Via(&'static str),
    /// A line of `CDN-Loop` contains the word.
    CdnLoop(&'static str),
    /// The first line of `CDN-Loop` begins with the word.
    CdnLoopStart(&'static str),
    /// There is `CF-Worker`.
    CfWorker,
}

impl Facts {
    /// Whether a shim of this name, which it writes to `CDN-Loop`, would be taken for a CDN of this type.
    pub fn leaves_trace(&self, in_cdn_loop: &str) -> bool {
        self.traces
            .any
            .iter()
            .any(|trace| matches!(trace, Trace::CdnLoop(word) if in_cdn_loop.contains(word)))
    }
}

/// What a CDN keeps, and how it is told not to.
#[derive(Debug)]
pub(super) struct StoringFacts {
    /// The targeted fields that it reads by itself, as its documentation has it; those first that decide over the others.
    pub(super) reads: &'static [Field],
    /// Seconds for which it keeps a response that says nothing, unless it was configured otherwise.
    pub(super) default_seconds: u32,
    /// Whether `private` in `Cache-Control` is all that forbids it to keep a response: `no-store` and `no-cache` do not,
    /// and of its targeted field it reads lifetimes only.
    pub(super) only_private_forbids: bool,
    /// A field beside which it does not read `Cache-Control`.
    pub(super) hides_cache_control: Option<Field>,
    /// Whether what it reads of `Cache-Control` binds it, however it is configured.
    pub(super) always_obeys: bool,
    /// Whether there are words that forbid it to keep a response, however it is configured.
    pub(super) can_be_forbidden: bool,
    /// Whether it may keep an error although it is told not to.
    pub(super) keeps_errors: bool,
    /// The methods besides GET and HEAD whose responses it can be told to keep.
    pub(super) other_methods: Methods,
    /// The statuses that it keeps; none: whichever.
    pub(super) statuses: Option<Statuses>,
}

/// Some methods.
#[derive(Debug)]
pub(super) enum Methods {
    None,
    Any,
    These(&'static [&'static str]),
}

impl Methods {
    pub(super) fn contain(&self, method: &Method) -> bool {
        match self {
            Self::None => false,
            Self::Any => true,
            Self::These(names) => names.contains(&method.as_str()),
        }
    }
}

/// The statuses that a CDN keeps. Others it keeps only if its targeted field gives them a lifetime.
#[derive(Debug)]
pub(super) struct Statuses {
    /// Whatever is said.
    pub(super) always: &'static [u16],
    /// If the origin gives a lifetime.
    pub(super) if_granted: &'static [u16],
}

/// What the purges of a CDN can name, as far as more than its adapter has to know.
#[derive(Debug)]
pub struct PurgingFacts {
    /// Everything below a path.
    pub prefixes: bool,
    /// Pages are named by their path and query, of every host, and a `*` at the end is a wildcard.
    pub paths: bool,
    /// When a purge, and one of everything, is sent again unless the configuration says otherwise; zero: not.
    pub repeat_after: [Duration; 2],
}

/// Visible ASCII but these bytes. A space or control character ends a tag everywhere.
const fn visible_but(bytes: &[u8]) -> [bool; 256] {
    let mut alphabet = [false; 256];
    let mut byte = 0x21;
    while byte <= 0x7e {
        alphabet[byte] = true;
        byte += 1;
    }
    with(alphabet, bytes, false)
}

/// Letters, digits, and these bytes.
const fn alphanumeric_and(bytes: &[u8]) -> [bool; 256] {
    let mut alphabet = [false; 256];
    let mut byte = 0;
    while byte < alphabet.len() {
        alphabet[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    with(alphabet, bytes, true)
}

const fn with(mut alphabet: [bool; 256], bytes: &[u8], legal: bool) -> [bool; 256] {
    let mut index = 0;
    while index < bytes.len() {
        alphabet[bytes[index] as usize] = legal;
        index += 1;
    }
    alphabet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_the_names_of_the_configuration() {
        for cdn in CdnType::ALL {
            assert_eq!(serde_json::to_value(cdn).unwrap(), cdn.as_str());
            assert_eq!(CdnType::named(cdn.as_str().as_bytes()), Some(cdn));
            assert_eq!(CdnType::named(cdn.as_str().to_uppercase().as_bytes()), Some(cdn));
        }
        assert_eq!(CdnType::named(b"fastl"), None);
        assert_eq!(CdnType::ALL.map(|cdn| cdn.facts().takes_interim), [true, true, true, true, false]);
    }

    #[test]
    fn some_methods() {
        let check = |methods: Methods, expected: [bool; 2]| {
            assert_eq!([Method::OPTIONS, Method::POST].map(|method| methods.contain(&method)), expected);
        };
        check(Methods::None, [false, false]);
        check(Methods::These(&["OPTIONS"]), [true, false]);
        check(Methods::Any, [true, true]);
    }

    #[test]
    fn alphabets() {
        let legal = |alphabet: [bool; 256]| alphabet.iter().filter(|legal| **legal).count();
        assert_eq!(legal(visible_but(b"")), 94);
        assert_eq!(legal(visible_but(b",*")), 92);
        assert_eq!(legal(alphanumeric_and(b"-")), 63);
    }
}
