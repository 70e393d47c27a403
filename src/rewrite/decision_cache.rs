//! A cache of decisions. A page that is fetched one time is soon fetched again by other servers of its CDN, and by all
//! of them after a purge. The decision is then the same, as long as the origin sends the same caching fields and the
//! configuration of the site is the same. Purges are checked each time.

use super::decide::{Edge, Provenance, Rewriting};
use super::field::Field;
use super::origin::age_seconds;
use super::outcome::Decision;
use super::request::RequestFacts;
use super::{Dialect, Policy};
use crate::http::head::{FieldLine, Headers, Known};
use http::{Method, StatusCode};
use std::ptr;
use std::rc::Rc;

/// The number of slots, a power of two. Tests use so few that pages collide.
const SLOTS: usize = if cfg!(test) { 2 } else { 1024 };
/// The maximum memory, in bytes, of a remembered page. With the number of slots this bounds the cache to 8 MiB.
const MAX_BYTES: usize = 8 * 1024;

/// A cache of decisions under one configuration, which it must not outlive.
#[derive(Debug, Default)]
pub struct DecisionCache {
    slots: Vec<Slot>,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    /// The hash of the last response that asked for this slot: its facts, path and lines. A response is remembered
    /// only when it comes twice, so that one-off responses are not copied.
    candidate: u64,
    page: Option<Box<Page>>,
}

/// A remembered response.
#[derive(Clone, Debug)]
struct Page {
    facts: Facts,
    path: Box<str>,
    lines: Lines,
    rewriting: Rewriting,
}

/// The inputs of a decision other than the path and the response's lines, each in bits of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Facts(u64);

impl Facts {
    fn of(site: u32, request: RequestFacts<'_>, edge: Edge<'_>, status: StatusCode) -> Self {
        let is_get = matches!(*request.method, Method::GET | Method::HEAD);
        let flags = [is_get, request.authorization, request.bound, request.cookie];
        let flags = flags.into_iter().fold(0, |flags, flag| flags << 1 | u64::from(flag));
        let fallback = edge.fallback.map_or(0, |reason| 1 + reason.index() as u64);
        let parts = [(8, fallback), (8, edge.dialect().cdn as u64), (10, status.as_u16().into()), (4, flags)];
        Self(parts.into_iter().fold(site.into(), |facts, (bits, part)| facts << bits | part))
    }
}

impl DecisionCache {
    /// Does what [`rewrite`](super::rewrite) does, for a response of this site. The site must have one policy and
    /// one dialect per CDN. Also returns the facts that purges need.
    pub fn rewrite(
        &mut self,
        (site, policy): (u32, &Policy),
        request: RequestFacts<'_>,
        edge: Edge<'_>,
        status: StatusCode,
        headers: &mut Headers,
    ) -> (Decision, Option<Provenance>) {
        let facts = Facts::of(site, request, edge, status);
        let hash = hash(facts.0, request.path.as_bytes());
        let slot = self.slot(hash);
        if let Some(page) = &slot.page
            && page.facts == facts
            && *page.path == *request.path
            && let Some(age) = page.lines.are_in(headers, edge.dialect())
            && let Some(provenance) = page.rewriting.if_not_purged(age, edge)
        {
            page.rewriting.edits.make(headers);
            return (page.rewriting.decision, provenance);
        }
        let (rewriting, age) = Rewriting::of(policy, request, edge, status, headers);
        if rewriting.lasts {
            let lines = Lines::of(headers, edge.dialect());
            if slot.has_seen(hash, &lines) && size(request.path, &lines, &rewriting) <= MAX_BYTES {
                let (lines, rewriting) = (lines.lasting(), rewriting.clone().lasting());
                slot.page = Some(Box::new(Page { facts, path: request.path.into(), lines, rewriting }));
            }
        }
        rewriting.edits.make(headers);
        let provenance = rewriting.provenance(age, edge);
        (rewriting.decision, provenance)
    }

    fn slot(&mut self, hash: u64) -> &mut Slot {
        if self.slots.is_empty() {
            self.slots.resize(SLOTS, Slot::default());
        }
        // The upper half, which is mixed better, chooses the slot.
        &mut self.slots[(hash >> 32) as usize % SLOTS]
    }
}

impl Slot {
    /// Whether the last response in this slot was the same.
    fn has_seen(&mut self, page: u64, lines: &Lines) -> bool {
        let candidate = lines.said.iter().fold(page, |before, line| hash(before, line.value().as_bytes()));
        std::mem::replace(&mut self.candidate, candidate) == candidate
    }
}

/// The approximate memory of a page, in bytes.
fn size(path: &str, lines: &Lines, rewriting: &Rewriting) -> usize {
    // The text of a line is stored both in its value and in its encoded form.
    let line =
        |line: &Rc<FieldLine>| size_of::<FieldLine>() + 2 * (line.name().as_str().len() + line.value().len());
    let lines: usize = lines.said.iter().chain(rewriting.edits.lines()).map(line).sum();
    size_of::<Page>() + path.len() + lines + rewriting.keys.size()
}

/// The caching fields of a response.
#[derive(Clone, Debug)]
struct Lines {
    /// Bits of the relevant names. `Date` is excluded because it is read for `Expires` only.
    names: u64,
    /// Bits of the relevant names that are present.
    there: u64,
    /// The lines whose values are relevant.
    said: Vec<Rc<FieldLine>>,
}

/// Fields of which only the presence matters if a rewriting [lasts](Rewriting::lasts). A dialect's own fields are
/// never among them.
const SIGNS: u64 = Known::Age.bit() | Known::Expires.bit() | Known::SetCookie.bit();

impl Lines {
    fn of(headers: &Headers, dialect: &Dialect) -> Self {
        let names = Field::all().filter(|field| *field != Field::Date).map(|field| field.name(dialect));
        let names = names.fold(0, |names, name| names | Known::of(name.as_str()).bit());
        let mut lines = Self { names, there: 0, said: Vec::new() };
        for line in headers.shared().filter(|line| matters(line, names, dialect)) {
            lines.there |= line.known().bit();
            if line.known().bit() & SIGNS == 0 {
                lines.said.push(Rc::clone(line));
            }
        }
        lines
    }

    /// If these headers match, returns the seconds that the response has spent in caches, which may differ each time.
    fn are_in(&self, headers: &Headers, dialect: &Dialect) -> Option<Option<u32>> {
        let (mut said, mut there, mut age) = (self.said.iter(), 0, None);
        for line in headers.lines().filter(|line| matters(line, self.names, dialect)) {
            there |= line.known().bit();
            // Most lines are not only equal but identical, because connections share remembered lines, too.
            let is_same = |said: &Rc<FieldLine>| ptr::eq(&raw const **said, line) || **said == *line;
            if line.known() == Known::Age {
                age = age.or_else(|| Some(age_seconds(line.value())));
            } else if line.known().bit() & SIGNS == 0 && !said.next().is_some_and(is_same) {
                return None;
            }
        }
        (said.next().is_none() && there == self.there).then_some(age)
    }

    fn lasting(self) -> Self {
        Self { said: self.said.iter().map(FieldLine::lasting).collect(), ..self }
    }
}

/// Whether a line has one of the relevant names.
fn matters(line: &FieldLine, names: u64, dialect: &Dialect) -> bool {
    let (known, name) = (line.known(), line.name());
    let is_own = || *name == dialect.ttl_header || dialect.tag_header.as_ref() == Some(name);
    names & known.bit() != 0 && (known.is_one_name() || is_own())
}

/// A hash that is good enough to choose a slot.
fn hash(start: u64, text: &[u8]) -> u64 {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(MIX);
    let (words, rest) = text.as_chunks::<8>();
    let hash =
        words.iter().fold(start ^ text.len() as u64, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    mix(hash, rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)))
}
