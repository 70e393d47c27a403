//! What was done to responses that come again. A page that is fetched once is fetched again soon: by the other edges of its
//! CDN, and by all of them after a purge. What is done to it then is what was done before, as long as the origin says the
//! same about caching and the site is configured alike; and whether it was purged meanwhile is asked each time.

use super::decide::{Edge, Provenance, RequestFacts, Rewriting};
use super::fields::Field;
use super::outcome::{Decision, Reason};
use super::{CdnType, Dialect, Policy};
use crate::head::{FieldLine, Headers, Known};
use http::{Method, StatusCode};
use std::ptr;
use std::rc::Rc;

/// A power of two; in tests so few that pages meet in them.
const SLOTS: usize = if cfg!(test) { 2 } else { 1024 };
/// Pages whose path and lines are longer are not remembered. With the number of slots this bounds the memory: 5 MiB, where
/// all are as long as this.
const MAX_BYTES: usize = 2048;

/// What was done to responses before, under one configuration: it must not outlive that.
#[derive(Debug, Default)]
pub struct DecisionCache {
    slots: Vec<Slot>,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    /// Of the response that asked for this slot last. Only one that comes twice is remembered: what comes once costs no copy.
    candidate: u64,
    page: Option<Box<Page>>,
}

/// A response that came before.
#[derive(Clone, Debug)]
struct Page {
    facts: Facts,
    path: Box<str>,
    lines: Lines,
    rewriting: Rewriting,
}

/// What a decision depends on besides the path and the response's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Facts {
    site: u32,
    cdn: CdnType,
    fallback: Option<Reason>,
    status: StatusCode,
    /// Whether the method is GET or HEAD.
    is_get: bool,
    authorization: bool,
    cookie: bool,
}

impl DecisionCache {
    /// [`rewrite`](super::rewrite) for a response of this site, of which there is one policy and one dialect of each CDN; and
    /// what purges need to know of it.
    pub fn rewrite(
        &mut self,
        (site, policy): (u32, &Policy),
        request: RequestFacts<'_>,
        edge: Edge<'_>,
        status: StatusCode,
        headers: &mut Headers,
    ) -> (Decision, Provenance) {
        let facts = Facts {
            site,
            cdn: edge.dialect.cdn,
            fallback: edge.fallback,
            status,
            is_get: matches!(*request.method, Method::GET | Method::HEAD),
            authorization: request.authorization,
            cookie: request.cookie,
        };
        let slot = self.slot(facts, request.path);
        if let Some(page) = &slot.page
            && page.facts == facts
            && *page.path == *request.path
            && page.lines.are_in(headers, edge.dialect)
        {
            let provenance = page.rewriting.provenance(edge);
            if !edge.has_purged(&provenance) {
                page.rewriting.edits.make(headers);
                return (page.rewriting.decision, provenance);
            }
        }
        let rewriting = Rewriting::of(policy, request, edge, status, headers);
        if rewriting.lasts {
            slot.learn(facts, request.path, headers, edge.dialect, &rewriting);
        }
        rewriting.edits.make(headers);
        (rewriting.decision, rewriting.provenance(edge))
    }

    fn slot(&mut self, facts: Facts, path: &str) -> &mut Slot {
        if self.slots.is_empty() {
            self.slots.resize(SLOTS, Slot::default());
        }
        let start = u64::from(facts.site) << 8 | facts.cdn as u64;
        // The better mixed half chooses the slot.
        let number = (hash(start, path.as_bytes()) >> 32) as usize % SLOTS;
        &mut self.slots[number]
    }
}

impl Slot {
    /// What was done to this response is remembered if it came before.
    fn learn(
        &mut self,
        facts: Facts,
        path: &str,
        headers: &Headers,
        dialect: &Dialect,
        rewriting: &Rewriting,
    ) {
        let lines = Lines::of(headers, dialect);
        let said = lines.said.iter().map(|line| line.value().as_bytes());
        let candidate = said.fold(hash(0, path.as_bytes()), hash);
        if self.candidate != candidate {
            self.candidate = candidate;
            return;
        }
        let mut rewriting = rewriting.clone();
        let bytes = |line: &FieldLine| line.name().as_str().len() + line.value().len();
        let said: usize = lines.said.iter().map(|line| bytes(line)).sum();
        let written: usize = rewriting.edits.lines().map(|line| bytes(line)).sum();
        if path.len() + said + written <= MAX_BYTES {
            rewriting.edits.lines().for_each(|line| *line = line.lasting());
            self.page = Some(Box::new(Page { facts, path: path.into(), lines: lines.lasting(), rewriting }));
        }
    }
}

/// What a response says about caching.
#[derive(Clone, Debug)]
struct Lines {
    /// Bits of the names that matter; `Date` is read for `Expires` alone.
    names: u64,
    /// Those of them that are there.
    there: u64,
    /// The lines that matter by what they say.
    said: Vec<Rc<FieldLine>>,
}

/// Fields of which it only matters that they are there, where a rewriting [lasts](Rewriting::lasts).
const SIGNS: u64 = Known::Expires.bit() | Known::SetCookie.bit();

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

    /// Whether these headers say the same.
    fn are_in(&self, headers: &Headers, dialect: &Dialect) -> bool {
        let (mut said, mut there) = (self.said.iter(), 0);
        for line in headers.lines().filter(|line| matters(line, self.names, dialect)) {
            there |= line.known().bit();
            // Most are not only alike but one and the same, since connections remember lines, too.
            let is_same = |said: &Rc<FieldLine>| ptr::eq(&raw const **said, line) || **said == *line;
            if line.known().bit() & SIGNS == 0 && !said.next().is_some_and(is_same) {
                return false;
            }
        }
        said.next().is_none() && there == self.there
    }

    fn lasting(self) -> Self {
        Self { said: self.said.iter().map(FieldLine::lasting).collect(), ..self }
    }
}

/// Whether a line has one of the names that matter.
fn matters(line: &FieldLine, names: u64, dialect: &Dialect) -> bool {
    let (known, name) = (line.known(), line.name());
    let is_own = || *name == dialect.ttl_header || dialect.tag_header.as_ref() == Some(name);
    names & known.bit() != 0 && (known.is_one_name() || is_own())
}

/// Tells texts apart well enough to choose a slot.
fn hash(start: u64, text: &[u8]) -> u64 {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(MIX);
    let (words, rest) = text.as_chunks::<8>();
    let hash =
        words.iter().fold(start ^ text.len() as u64, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    mix(hash, rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)))
}
