//! Purges from their acceptance to `done`. This is the admin side's work around the real planner, guard and
//! register (`src/admin/fresh.rs`), without its store and workers.

use super::exchange::{Body, Flight};
use super::faults::Fault;
use super::origin::PAGES;
use super::site::{Compiled, MARGIN_MS};
use super::world::World;
use origin_shim::cdn::{self, Item};
use origin_shim::config::Cdn;
use origin_shim::guard::{JobItems, Question, Report};
use origin_shim::purge::{JobPlan, Means, PurgeMode, PurgeRequest, item_key, keys_of, plan};
use origin_shim::rewrite::CdnType;
use std::fmt;
use tokio::sync::mpsc::{self, UnboundedReceiver};

/// The scope of a requested purge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The page at one URL, with or without the query.
    Url,
    Path,
    Tag,
    /// Everything in the page's folder.
    Prefix,
    Everything,
}

pub struct Purge {
    wanted: Wanted,
    page: usize,
    /// The number of the label or query.
    number: usize,
    jobs: Vec<(CdnType, Vec<Item>)>,
    pub soft: bool,
    pub accepted_ms: i64,
    call_ms: Option<i64>,
    /// The follow-up's items, as job and item.
    found: Vec<(usize, u32)>,
    reports: UnboundedReceiver<Report>,
    arrived_ms: i64,
    follow_up_ms: Option<i64>,
    pub done_ms: Option<i64>,
}

/// Returns the items to purge at each CDN, or `None` if the purge is refused.
fn planned(
    compiled: &Compiled,
    request: &PurgeRequest,
    is_untagged: &dyn Fn(CdnType) -> bool,
    fault: Option<Fault>,
) -> Option<Vec<JobPlan>> {
    let means = |cdn: &Cdn| Means {
        can: cdn::build(cdn).capabilities(),
        untagged: is_untagged(cdn.dialect.cdn).then(|| "copies without tags".to_owned()),
    };
    let mut jobs = plan(&compiled.config, &means, request).ok()?;
    if fault == Some(Fault::RawSpellings) {
        jobs.iter_mut().for_each(as_spelt);
    }
    Some(jobs)
}

impl fmt::Debug for Purge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let items: Vec<String> = self
            .jobs
            .iter()
            .flat_map(|(cdn, items)| {
                items.iter().map(move |item| format!("{cdn:?} {:?} {}", item.kind, item.value))
            })
            .collect();
        write!(f, "{:?} of page {}: {items:?}, on its way: {:?}", self.wanted, self.page, self.found)
    }
}

impl Purge {
    /// Accepts a purge. Every response that it covers is old from now on. Returns `None` if it is refused.
    pub fn accepted(
        world: &World,
        untagged: &[bool],
        (wanted, page, number): (Wanted, usize, usize),
        soft: bool,
        delay_ms: i64,
    ) -> Option<Self> {
        let (fault, site) = (world.shim.fault, &*world.compiled.config);
        let request = request(wanted, page, number, soft)?;
        let is_untagged = |cdn: CdnType| {
            let at = world.kinds.iter().position(|kind| kind.cdn == cdn);
            at.is_some_and(|at| untagged[at]) && fault != Some(Fault::ModesByTags)
        };
        let jobs = match planned(&world.compiled, &request, &is_untagged, fault) {
            Some(jobs) => jobs,
            None if fault == Some(Fault::SpaceInTag) && wanted == Wanted::Tag => Vec::new(),
            None => return None,
        };
        let until_ms = world.now_ms;
        match keys_of(site, &request) {
            Some(keys) => world.shim.purged.note(keys, until_ms),
            None => world.shim.purged.note_everything(until_ms),
        }
        let (answers, mut reports) = mpsc::unbounded_channel();
        let items = |job: &JobPlan| {
            JobItems::new(job.cdn_type, job.items.iter().map(|item| item_key(job.cdn_type, item)))
        };
        let question = Question { site: 0, until_ms, jobs: jobs.iter().map(items).collect(), answers };
        world.shim.in_flight.answer(&question, world.now_ms);
        drop(question);
        let (mut found, mut arrived_ms) = (Vec::new(), i64::MIN);
        while let Ok(report) = reports.try_recv() {
            match report {
                Report::Found(items) => found = items,
                Report::Untagged(_) => {}
                Report::Ends(at_ms) => arrived_ms = arrived_ms.max(at_ms),
            }
        }
        let jobs = jobs.into_iter().map(|job| (job.cdn_type, job.items)).collect();
        let call_ms = Some(until_ms + delay_ms);
        let (accepted_ms, follow_up_ms, done_ms) = (until_ms, None, None);
        Some(Self {
            wanted,
            page,
            number,
            jobs,
            soft,
            accepted_ms,
            call_ms,
            found,
            reports,
            arrived_ms,
            follow_up_ms,
            done_ms,
        })
    }

    /// Returns the time of the next call, if it is known.
    pub fn due_ms(&self) -> Option<i64> {
        self.call_ms.or(self.follow_up_ms)
    }

    /// Whether the purge waits for responses in flight.
    pub fn waits(&self) -> bool {
        self.done_ms.is_none() && self.due_ms().is_none()
    }

    /// Returns the items that are purged at this moment.
    pub fn calls(&mut self, now_ms: i64) -> Vec<(CdnType, Item)> {
        let is_due = |at_ms: Option<i64>| at_ms.is_some_and(|at_ms| at_ms <= now_ms);
        let mut calls = Vec::new();
        if is_due(self.call_ms) {
            self.call_ms = None;
            calls = self
                .jobs
                .iter()
                .flat_map(|(cdn, items)| items.iter().map(|item| (*cdn, item.clone())))
                .collect();
        }
        if self.waits() && self.found.is_empty() {
            self.done_ms = Some(now_ms);
        } else if self.waits() {
            while let Ok(report) = self.reports.try_recv() {
                if let Report::Ends(at_ms) = report {
                    self.arrived_ms = self.arrived_ms.max(at_ms);
                }
            }
            if self.reports.is_closed() {
                let unknown = self.arrived_ms == i64::MIN;
                self.follow_up_ms =
                    Some(if unknown { now_ms + MARGIN_MS } else { self.arrived_ms.max(now_ms) });
            }
        }
        if self.call_ms.is_none() && is_due(self.follow_up_ms) {
            self.follow_up_ms = None;
            self.done_ms = Some(now_ms);
            let again = self
                .found
                .iter()
                .map(|(job, item)| (self.jobs[*job].0, self.jobs[*job].1[*item as usize].clone()));
            calls.extend(again);
        }
        calls
    }

    /// Whether a response that the purge covers was in flight when it was accepted.
    pub fn comes_again(&self) -> bool {
        !self.found.is_empty()
    }

    /// Whether the purge names a label.
    pub fn is_of_tag(&self) -> bool {
        self.wanted == Wanted::Tag
    }

    /// Whether the guard may take this response for an older one: it was asked for before the origin decided, `Age` is
    /// in whole seconds, and may be unreadable.
    pub fn may_be_later(&self, Flight { body, request, .. }: &Flight) -> bool {
        body.has_unreadable_age || self.accepted_ms + 1_000 >= body.generated_ms.min(request.began_ms)
    }

    /// Whether the guard may treat this response as covered. A URL stands for its page with every query.
    pub fn may_cover(&self, body: &Body) -> bool {
        self.covers(body) || self.wanted == Wanted::Url && body.page == self.page
    }

    /// Whether the purge covers this response. A purge of paths that is sent by URL leaves copies with a query,
    /// as the plan reports.
    pub fn covers(&self, body: &Body) -> bool {
        let page = &PAGES[body.page];
        match self.wanted {
            Wanted::Url => body.page == self.page && body.query == (self.number % 2 == 1),
            Wanted::Path => body.page == self.page && (body.is_tagged || !body.query),
            Wanted::Tag => page.labels.contains(&label(self.page, self.number)),
            Wanted::Prefix => page.folder == PAGES[self.page].folder,
            Wanted::Everything => true,
        }
    }
}

fn label(page: usize, number: usize) -> &'static str {
    let labels = PAGES[page].labels;
    labels[number % labels.len()]
}

/// Returns the purge as a caller writes it, or `None` if the page is in no folder.
fn request(wanted: Wanted, page: usize, number: usize, soft: bool) -> Option<PurgeRequest> {
    let mode = Some(if soft { PurgeMode::Soft } else { PurgeMode::Hard });
    let mut request = PurgeRequest { mode, ..PurgeRequest::default() };
    let spellings = PAGES[page].spellings;
    let path = spellings[number / 2 % spellings.len()];
    match wanted {
        Wanted::Url => {
            let query = if number % 2 == 1 { "?q=1" } else { "" };
            request.urls.push(format!("https://www.example.com{path}{query}"));
        }
        Wanted::Path => request.paths.push(path.to_owned()),
        Wanted::Tag => request.tags.push(label(page, number).to_owned()),
        Wanted::Prefix => {
            let (folder, typed) = PAGES[page].folder?;
            request.prefixes.push(if number % 2 == 1 { folder } else { typed }.to_owned());
        }
        Wanted::Everything => request.everything = true,
    }
    Some(request)
}

/// The former behaviour: only the given spelling is purged.
fn as_spelt(job: &mut JobPlan) {
    let first = job.items.first().cloned();
    job.items.retain(|item| {
        Some(item) == first.as_ref() || item.value == format!("{}?*", first.as_ref().unwrap().value)
    });
}
