//! The row: the facts about one type of CDN.

use crate::rewrite::field::Field;
use http::{HeaderName, Method};
use std::time::Duration;

/// The facts about one type of CDN.
#[derive(Debug)]
pub struct Facts {
    /// The machine-readable name; see [`super::CdnType::as_str`].
    pub name: &'static str,
    /// The display name.
    pub title: &'static str,
    /// The default header field of the edge TTL. Its name decides the syntax.
    pub(in crate::rewrite) ttl_header: &'static HeaderName,
    /// The default header field of the tags; `None` if only the configuration can name one.
    pub(in crate::rewrite) tag_header: Option<&'static HeaderName>,
    /// The tags that the CDN accepts.
    pub tags: TagFacts,
    /// The traces that the CDN leaves in its requests.
    pub traces: Traces,
    /// Whether the CDN waits for the final response after an interim one, as RFC 9110 §15.2 demands.
    pub takes_interim: bool,
    /// Whether responses must name their page because the CDN compares names itself (see `page_header`).
    pub(in crate::rewrite) is_told_the_page: bool,
    /// The responses that the CDN stores, and how storing is forbidden.
    pub(in crate::rewrite) storing: StoringFacts,
    /// What the lifetimes of stale copies do there.
    pub stale: StaleFacts,
    /// The items that its purges can name.
    pub purging: PurgingFacts,
}

/// What an operator must know about the lifetimes of stale copies at a CDN.
#[derive(Debug)]
pub struct StaleFacts {
    /// How they are set there, if its default field has no words for them.
    pub set_elsewhere: Option<&'static str>,
    /// What goes wrong with soft purges, and the cure.
    pub soft_risk: Option<&'static str>,
}

/// The tags that a CDN accepts.
#[derive(Debug)]
pub struct TagFacts {
    /// The maximum number of bytes of a tag.
    pub(in crate::rewrite) longest: usize,
    /// For each byte, whether a tag may contain it.
    pub(in crate::rewrite) alphabet: [bool; 256],
    /// The maximum number of tags of a response.
    pub(in crate::rewrite) most: usize,
    /// The maximum number of bytes of the field's values.
    pub(in crate::rewrite) bytes: usize,
    /// The maximum number of bytes of the value of each line; `None` if all tags must be in one line.
    pub(in crate::rewrite) line_bytes: Option<usize>,
    /// The separator between tags.
    pub(in crate::rewrite) separator: u8,
    /// Whether `A` and `a` are one tag.
    pub(in crate::rewrite) ignores_case: bool,
    /// Whether the tags of a 304 replace those of the stored response.
    pub in_304: bool,
}

/// The traces of a CDN in requests. A request came through it if one of `any` is present, and none of `unless`.
#[derive(Debug)]
pub struct Traces {
    /// The traces that the CDN leaves.
    pub any: &'static [Trace],
    /// Traces of another CDN that leaves the same as this one.
    pub unless: &'static [Trace],
}

/// A trace of a CDN in a request. Words are compared without case.
#[derive(Debug)]
pub enum Trace {
    /// A line of `Via` contains the word.
    Via(&'static str),
    /// A line of `CDN-Loop` contains the word.
    CdnLoop(&'static str),
    /// The first line of `CDN-Loop` begins with the word.
    CdnLoopStart(&'static str),
    /// The field `CF-Worker` is present.
    CfWorker,
}

impl Facts {
    /// Whether a shim that writes this name to `CDN-Loop` would be taken for a CDN of this type.
    pub fn leaves_trace(&self, in_cdn_loop: &str) -> bool {
        self.traces
            .any
            .iter()
            .any(|trace| matches!(trace, Trace::CdnLoop(word) if in_cdn_loop.contains(word)))
    }
}

/// The responses that a CDN stores, and how storing is forbidden.
#[derive(Debug)]
pub(in crate::rewrite) struct StoringFacts {
    /// The targeted fields that the CDN reads by default according to its documentation, in order of precedence.
    pub(in crate::rewrite) reads: &'static [Field],
    /// The default number of seconds for which the CDN keeps a response without a lifetime.
    pub(in crate::rewrite) default_seconds: u32,
    /// Whether only `private` in `Cache-Control` forbids storing: `no-store` and `no-cache` do not, and only
    /// lifetimes are read from the targeted field.
    pub(in crate::rewrite) only_private_forbids: bool,
    /// A field whose presence makes the CDN ignore `Cache-Control`.
    pub(in crate::rewrite) hides_cache_control: Option<Field>,
    /// Whether the CDN always obeys the directives that it reads from `Cache-Control`, however it is configured.
    pub(in crate::rewrite) always_obeys: bool,
    /// Whether some field can forbid storing however the CDN is configured.
    pub(in crate::rewrite) can_be_forbidden: bool,
    /// Whether the CDN may store an error although that is forbidden.
    pub(in crate::rewrite) keeps_errors: bool,
    /// The methods, in addition to GET and HEAD, whose responses the CDN can be configured to store.
    pub(in crate::rewrite) other_methods: Methods,
    /// The statuses that the CDN stores; `None` means any.
    pub(in crate::rewrite) statuses: Option<Statuses>,
}

/// A set of methods.
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

/// The statuses that a CDN stores. It stores others only if its targeted field gives them a lifetime.
#[derive(Debug)]
pub(in crate::rewrite) struct Statuses {
    /// Statuses that are always stored.
    pub(in crate::rewrite) always: &'static [u16],
    /// Statuses that are stored if the origin gives a lifetime.
    pub(in crate::rewrite) if_granted: &'static [u16],
}

/// The items that the purges of a CDN can name, as far as code other than its adapter needs them.
#[derive(Debug)]
pub struct PurgingFacts {
    /// Whether a purge can name everything below a path.
    pub prefixes: bool,
    /// Whether pages are named by path and query, for every host, with `*` at the end as a wildcard.
    pub paths: bool,
    /// The default delays after which a purge, and a purge of everything, is repeated. Zero means no repetition.
    pub repeat_after: [Duration; 2],
}

/// The alphabet of visible ASCII except these bytes. Spaces and control characters end a tag on every CDN.
pub(super) const fn visible_but(bytes: &[u8]) -> [bool; 256] {
    let mut alphabet = [false; 256];
    let mut byte = 0x21;
    while byte <= 0x7e {
        alphabet[byte] = true;
        byte += 1;
    }
    with(alphabet, bytes, false)
}

/// The alphabet of letters, digits and these bytes.
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
