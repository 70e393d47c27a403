//! The row: which facts there are.

use crate::rewrite::field::Field;
use http::{HeaderName, Method};
use std::time::Duration;

/// What is known of one type of CDN.
#[derive(Debug)]
pub struct Facts {
    /// Its name: see [`super::CdnType::as_str`].
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// The header that carries its edge TTL by default; the name decides the syntax.
    pub(in crate::rewrite) ttl_header: &'static HeaderName,
    /// The header that carries its tags by default; none where only its configuration can name one.
    pub(in crate::rewrite) tag_header: Option<&'static HeaderName>,
    /// What it takes as tags.
    pub tags: TagFacts,
    /// How it shows in the requests that it sends.
    pub traces: Traces,
    /// Whether it waits for the final response after an interim one, as RFC 9110 §15.2 demands.
    pub takes_interim: bool,
    /// Whether it must be told which page a response is of, because it compares names itself (see `page_header`).
    pub(in crate::rewrite) is_told_the_page: bool,
    /// What it keeps, and how it is told not to.
    pub(in crate::rewrite) storing: StoringFacts,
    /// What its purges can name.
    pub purging: PurgingFacts,
}

/// What a CDN takes as tags.
#[derive(Debug)]
pub struct TagFacts {
    /// Bytes of a tag.
    pub(in crate::rewrite) longest: usize,
    /// For each byte whether a tag may contain it.
    pub(in crate::rewrite) alphabet: [bool; 256],
    /// Tags of a response.
    pub(in crate::rewrite) most: usize,
    /// Bytes of the header's value.
    pub(in crate::rewrite) bytes: usize,
    /// What stands between tags.
    pub(in crate::rewrite) separator: u8,
    /// Whether `A` and `a` are one tag.
    pub(in crate::rewrite) ignores_case: bool,
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
pub(in crate::rewrite) struct StoringFacts {
    /// The targeted fields that it reads by itself, as its documentation has it; those first that decide over the others.
    pub(in crate::rewrite) reads: &'static [Field],
    /// Seconds for which it keeps a response that says nothing, unless it was configured otherwise.
    pub(in crate::rewrite) default_seconds: u32,
    /// Whether `private` in `Cache-Control` is all that forbids it to keep a response: `no-store` and `no-cache` do not,
    /// and of its targeted field it reads lifetimes only.
    pub(in crate::rewrite) only_private_forbids: bool,
    /// A field beside which it does not read `Cache-Control`.
    pub(in crate::rewrite) hides_cache_control: Option<Field>,
    /// Whether what it reads of `Cache-Control` binds it, however it is configured.
    pub(in crate::rewrite) always_obeys: bool,
    /// Whether there are words that forbid it to keep a response, however it is configured.
    pub(in crate::rewrite) can_be_forbidden: bool,
    /// Whether it may keep an error although it is told not to.
    pub(in crate::rewrite) keeps_errors: bool,
    /// The methods besides GET and HEAD whose responses it can be told to keep.
    pub(in crate::rewrite) other_methods: Methods,
    /// The statuses that it keeps; none: whichever.
    pub(in crate::rewrite) statuses: Option<Statuses>,
}

/// Some methods.
#[derive(Debug)]
pub(in crate::rewrite) enum Methods {
    None,
    Any,
    These(&'static [&'static str]),
}

impl Methods {
    pub(in crate::rewrite) fn contain(&self, method: &Method) -> bool {
        match self {
            Self::None => false,
            Self::Any => true,
            Self::These(names) => names.contains(&method.as_str()),
        }
    }
}

/// The statuses that a CDN keeps. Others it keeps only if its targeted field gives them a lifetime.
#[derive(Debug)]
pub(in crate::rewrite) struct Statuses {
    /// Whatever is said.
    pub(in crate::rewrite) always: &'static [u16],
    /// If the origin gives a lifetime.
    pub(in crate::rewrite) if_granted: &'static [u16],
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
pub(super) const fn visible_but(bytes: &[u8]) -> [bool; 256] {
    let mut alphabet = [false; 256];
    let mut byte = 0x21;
    while byte <= 0x7e {
        alphabet[byte] = true;
        byte += 1;
    }
    with(alphabet, bytes, false)
}

/// Letters, digits, and these bytes.
pub(super) const fn alphanumeric_and(bytes: &[u8]) -> [bool; 256] {
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
