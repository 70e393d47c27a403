//! What was done to responses that come again. A page that is fetched once is fetched again soon: by the other edges of its
//! CDN, and by all of them after a purge. What is done to it then is what was done before, as long as the origin says the
//! same about caching and the site is configured alike; and whether it was purged meanwhile is asked each time.

use super::decide::{Edge, Provenance, RequestFacts, Rewriting};
use super::field::Field;
use super::origin::age_seconds;
use super::outcome::Decision;
use super::{Dialect, Policy};
use crate::http::head::{FieldLine, Headers, Known};
use http::{Method, StatusCode};
use std::ptr;
use std::rc::Rc;

/// A power of two; in tests so few that pages meet in them.
const SLOTS: usize = if cfg!(test) { 2 } else { 1024 };
/// Pages that take more memory are not remembered. With the number of slots this bounds it: to 8 MiB, where all take as much.
const MAX_BYTES: usize = 8 * 1024;

/// What was done to responses before, under one configuration: it must not outlive that.
#[derive(Debug, Default)]
pub struct DecisionCache {
    slots: Vec<Slot>,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    /// Of what asked for this slot last: its facts, its path and what its lines say. Only what comes twice is remembered: what
    /// comes once costs no copy.
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

/// What a decision depends on besides the path and the response's lines, each in bits of its own.
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
    /// [`rewrite`](super::rewrite) for a response of this site, of which there is one policy and one dialect of each CDN; and
    /// what purges need to know of it.
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
        // The better mixed half chooses the slot.
        &mut self.slots[(hash >> 32) as usize % SLOTS]
    }
}

impl Slot {
    /// Whether the last response that came to this slot was the same.
    fn has_seen(&mut self, page: u64, lines: &Lines) -> bool {
        let candidate = lines.said.iter().fold(page, |before, line| hash(before, line.value().as_bytes()));
        std::mem::replace(&mut self.candidate, candidate) == candidate
    }
}

/// Bytes of memory that a page takes, nearly.
fn size(path: &str, lines: &Lines, rewriting: &Rewriting) -> usize {
    // The text of a line stands in its value and in the line as it is written.
    let line =
        |line: &Rc<FieldLine>| size_of::<FieldLine>() + 2 * (line.name().as_str().len() + line.value().len());
    let lines: usize = lines.said.iter().chain(rewriting.edits.lines()).map(line).sum();
    size_of::<Page>() + path.len() + lines + rewriting.keys.size()
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

/// Fields of which it only matters that they are there, where a rewriting [lasts](Rewriting::lasts). None of them can be a
/// dialect's own.
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

    /// If these headers say the same: the seconds that the response has spent in caches, which it may say anew.
    fn are_in(&self, headers: &Headers, dialect: &Dialect) -> Option<Option<u32>> {
        let (mut said, mut there, mut age) = (self.said.iter(), 0, None);
        for line in headers.lines().filter(|line| matters(line, self.names, dialect)) {
            there |= line.known().bit();
            // Most are not only alike but one and the same, since connections remember lines, too.
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
