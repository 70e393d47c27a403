//! The reference store, which cannot fail: plain collections, searched from end to end.

use crate::cdn::{Item, ItemKind};
use crate::purge::{Cover, Filling, Fit, JobPlan, SendReason, State, scheduling_kind};
use crate::rewrite::CdnType;
use crate::store::*;
use std::collections::{BTreeMap, BTreeSet};

const HOLD_UP: [SendReason; 3] = [SendReason::First, SendReason::Retry, SendReason::FollowUp];

/// Returns whether an unplanned item covers the whole site, which URLs and prefixes do not.
fn is_site(item: &Item) -> bool {
    !matches!(item.kind, ItemKind::Url | ItemKind::Prefix)
}

struct Send {
    job: usize,
    n: usize,
    cdn: String,
    lane: Lane,
    kind: ItemKind,
    item: Item,
    reason: SendReason,
    due_ms: i64,
    leased: bool,
    attempt: u32,
    batch: Option<i64>,
    absorber: Option<(i64, u32)>,
}

impl Send {
    fn holds_up(&self) -> bool {
        self.reason != SendReason::Repeat
    }

    fn was_tried(&mut self) {
        if self.reason == SendReason::First {
            self.reason = SendReason::Retry;
        }
    }
}

struct Job {
    purge: usize,
    plan: JobPlan,
    lane: Lane,
    due_ms: i64,
    /// The planned items and the broader ones that were added, each with whether it failed.
    items: Vec<(Item, bool)>,
    fallback: Vec<String>,
    outcome: Option<State>,
    accepted_ms: Option<i64>,
    completed_ms: Option<i64>,
    acknowledged: bool,
    attempts: usize,
}

struct Purge {
    id: String,
    created_ms: i64,
    since_ms: i64,
    outcome: Option<State>,
    finished_ms: Option<i64>,
    /// Whether the purge was removed. Its index is not reused.
    swept: bool,
}

/// The visible state of a purge: id, state, when it ended, and its jobs.
pub(super) type Seen = (String, State, Option<i64>, Vec<SeenJob>);

/// The visible state of a job: state, fallbacks, accepted, completed, next attempt, whether it is an
/// unacknowledged failure, and the number of attempts.
pub(super) type SeenJob = (State, Vec<String>, Option<i64>, Option<i64>, Option<i64>, bool, usize);

#[derive(Default)]
pub(super) struct Memory {
    purges: Vec<Purge>,
    jobs: Vec<Job>,
    sends: BTreeMap<i64, Send>,
    last_send: i64,
    paused: BTreeSet<String>,
    works: BTreeMap<i64, (String, Work, Vec<usize>)>,
    last_work: i64,
    /// Until when copies without tags live, and their longest lifetime, by CDN type.
    untagged: BTreeMap<CdnType, (i64, i64)>,
    /// The last probe.
    pub(super) heartbeat: Option<Now>,
    /// The idempotency keys: hash, time and purge.
    keys: BTreeMap<String, (String, i64, usize)>,
}

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

impl Memory {
    pub(super) fn enqueue(&mut self, new: &NewPurge) -> Enqueued {
        if let Some((key, hash)) = &new.idempotency {
            match self.keys.get(key).filter(|(_, since_ms, _)| new.now_ms - since_ms < DAY_MS) {
                Some((then, _, purge)) if then == hash => {
                    return Enqueued::Existing(self.purges[*purge].id.clone());
                }
                Some(_) => return Enqueued::KeyReused,
                None => {}
            }
            self.keys.insert(key.clone(), (hash.clone(), new.now_ms, self.purges.len()));
        }
        let done = new.jobs.iter().all(|job| job.items.is_empty());
        self.purges.push(Purge {
            id: new.id.clone(),
            created_ms: new.now_ms,
            since_ms: new.since_ms,
            outcome: done.then_some(State::Done),
            finished_ms: done.then_some(new.now_ms),
            swept: false,
        });
        for plan in &new.jobs {
            let done = plan.items.is_empty();
            self.jobs.push(Job {
                purge: self.purges.len() - 1,
                plan: plan.clone(),
                lane: match plan.items.len() {
                    _ if plan.everything => Lane::Site,
                    items if items > BULK_ITEMS => Lane::Bulk,
                    _ => Lane::Small,
                },
                due_ms: new.due_ms,
                items: plan.items.iter().map(|item| (item.clone(), false)).collect(),
                fallback: plan.fallback.clone(),
                outcome: done.then_some(State::Done),
                accepted_ms: done.then_some(new.now_ms),
                completed_ms: None,
                acknowledged: false,
                attempts: 0,
            });
            for n in 0..plan.items.len() {
                self.send(self.jobs.len() - 1, n, SendReason::First, new.due_ms);
            }
        }
        Enqueued::Created
    }

    pub(super) fn note_untagged(&mut self, cdn: CdnType, until_ms: i64, longest_ms: i64) {
        let known = self.untagged.entry(cdn).or_insert((until_ms, longest_ms));
        let is_absurd = known.0 - until_ms > 2 * 365 * DAY_MS;
        *known = (if is_absurd { until_ms } else { known.0.max(until_ms) }, known.1.max(longest_ms));
    }

    pub(super) fn forget_untagged(&mut self, cdn: CdnType, until_ms: i64) {
        if let Some(known) = self.untagged.get_mut(&cdn) {
            known.0 = known.0.min(until_ms);
        }
    }

    pub(super) fn untagged(&self) -> Vec<UntaggedCopies> {
        let row = |(cdn_type, (until_ms, longest_ms)): (&CdnType, &(i64, i64))| UntaggedCopies {
            site: "www".into(),
            cdn_type: *cdn_type,
            until_ms: *until_ms,
            longest_ms: *longest_ms,
        };
        self.untagged.iter().map(row).collect()
    }

    /// Returns the purge of this id, unless it was removed.
    fn find(&self, id: &str) -> Option<usize> {
        self.purges.iter().position(|purge| purge.id == id && !purge.swept)
    }

    /// Removes purges that ended before, except those with unacknowledged failures and those that a valid key
    /// names.
    pub(super) fn sweep(&mut self, ended_before_ms: i64, now_ms: i64) -> u64 {
        self.keys.retain(|_, (_, since_ms, _)| now_ms - *since_ms < DAY_MS);
        let mut swept = 0;
        for index in 0..self.purges.len() {
            let stands =
                |job: &Job| job.purge == index && job.outcome == Some(State::Failed) && !job.acknowledged;
            let is_kept =
                self.jobs.iter().any(stands) || self.keys.values().any(|(.., purge)| *purge == index);
            let purge = &mut self.purges[index];
            let is_old = purge.finished_ms.is_some_and(|finished_ms| finished_ms < ended_before_ms);
            if is_kept || purge.swept || !is_old {
                continue;
            }
            purge.swept = true;
            swept += 1;
            // Only repeats are left of a purge that has ended.
            self.sends.retain(|_, send| self.jobs[send.job].purge != index);
        }
        swept
    }

    fn send(&mut self, job: usize, n: usize, reason: SendReason, due_ms: i64) {
        let of = &self.jobs[job];
        let item = of.items[n].0.clone();
        let send = Send {
            job,
            n,
            cdn: of.plan.cdn.clone(),
            lane: if n >= of.plan.items.len() && is_site(&of.items[n].0) { Lane::Site } else { of.lane },
            kind: scheduling_kind(of.plan.cdn_type, &item),
            item,
            reason,
            due_ms,
            leased: false,
            attempt: 0,
            batch: None,
            absorber: None,
        };
        self.last_send += 1;
        self.sends.insert(self.last_send, send);
    }

    /// Returns the ids of due sends, in the order in which they go out.
    fn line(&self, cdn: &str, now_ms: i64, wanted: impl Fn(&Send) -> bool) -> Vec<i64> {
        let due =
            self.sends.iter().filter(|(_, send)| send.cdn == cdn && send.due_ms <= now_ms && wanted(send));
        let mut ids: Vec<(i64, i64)> = due.map(|(id, send)| (send.due_ms, *id)).collect();
        ids.sort_unstable();
        ids.into_iter().map(|(_, id)| id).collect()
    }

    pub(super) fn due(&self, cdn: &str, now_ms: i64, most: usize) -> Due {
        if self.paused.contains(cdn) {
            return Due::default();
        }
        let mut groups: BTreeMap<(Lane, ItemKind, bool), (usize, i64)> = BTreeMap::new();
        for send in self.sends.values().filter(|send| send.cdn == cdn && send.due_ms <= now_ms) {
            let group = groups.entry((send.lane, send.kind, !send.item.hard)).or_insert((0, i64::MAX));
            *group = (group.0 + 1, group.1.min(send.due_ms));
        }
        let groups = groups.into_iter().map(|((lane, kind, soft), (count, oldest_ms))| DueGroup {
            lane,
            kind,
            hard: !soft,
            count: count.min(most),
            oldest_ms,
        });
        let later = self.sends.values().filter(|send| send.cdn == cdn && send.due_ms > now_ms);
        Due {
            groups: groups.collect(),
            next_ms: later.map(|send| send.due_ms).min(),
            pending: self.pending(cdn),
        }
    }

    fn pending(&self, cdn: &str) -> u64 {
        self.sends.values().filter(|send| send.cdn == cdn && send.holds_up()).count() as u64
    }

    pub(super) fn claim(&mut self, claim: &Claim) -> Claimed {
        if self.paused.contains(&claim.key.cdn) {
            return Claimed::default();
        }
        if claim.site {
            return self.claim_site(claim);
        }
        let mut ids = self.together(claim).unwrap_or_else(|| {
            let mut ids = self.fill(claim);
            ids.extend(self.covered(claim, &ids));
            ids
        });
        let batch = ids.first().copied().filter(|_| claim.keep_together);
        Claimed {
            sends: ids.drain(..).map(|id| self.lease(id, batch, claim)).collect(),
            ..Claimed::default()
        }
    }

    fn lease(&mut self, id: i64, batch: Option<i64>, claim: &Claim) -> ClaimedSend {
        let send = self.sends.get_mut(&id).unwrap();
        (send.leased, send.due_ms, send.absorber) = (true, claim.lease_until_ms, None);
        send.attempt += 1;
        send.batch = batch.or(send.batch);
        ClaimedSend {
            id,
            job: send.job as i64 + 1,
            item: send.item.clone(),
            lane: send.lane,
            reason: send.reason,
            attempt: send.attempt,
            created_ms: self.purges[self.jobs[send.job].purge].created_ms,
            since_ms: self.purges[self.jobs[send.job].purge].since_ms,
        }
    }

    fn claim_site(&mut self, claim: &Claim) -> Claimed {
        let (cdn, now_ms) = (&claim.key.cdn, claim.now_ms);
        let has_room = |send: &Send| claim.room.items[send.kind as usize] > 0;
        let first = self.line(cdn, now_ms, |send| {
            send.lane == Lane::Site && send.item.hard == claim.hard && has_room(send)
        });
        let Some(&id) = first.first() else { return Claimed::default() };
        let send = self.lease(id, None, claim);
        let all = send.item.kind == ItemKind::Everything;
        let absorbed = self.line(cdn, now_ms, |other| {
            let is_covered = other.kind != ItemKind::Everything && !self.jobs[other.job].plan.untagged;
            (send.item.hard || !other.item.hard) && (all || is_covered)
        });
        for other in &absorbed {
            let other = self.sends.get_mut(other).unwrap();
            (other.leased, other.due_ms) = (true, claim.lease_until_ms);
            other.attempt += 1;
            other.absorber = Some((id, send.attempt));
        }
        Claimed { sends: vec![send], absorbed: absorbed.len() as u64, absorbed_digest: 0 }
    }

    fn together(&self, claim: &Claim) -> Option<Vec<i64>> {
        let (cdn, now_ms) = (&claim.key.cdn, claim.now_ms);
        let lanes = [(Lane::Small, true), (Lane::Bulk, claim.bulk.iter().any(|bulk| *bulk > 0))];
        let mut lines = lanes.into_iter().filter(|(_, wanted)| *wanted).map(|(lane, _)| {
            self.line(cdn, now_ms, |send| {
                send.lane == lane && send.item.hard == claim.hard && claim.room.items[send.kind as usize] > 0
            })
        });
        let first = lines.find_map(|line| line.first().copied())?;
        let batch = self.sends[&first].batch?;
        let members: Vec<i64> = self
            .sends
            .iter()
            .filter(|(_, send)| send.batch == Some(batch) && send.cdn == *cdn && send.due_ms <= now_ms)
            .map(|(id, _)| *id)
            .collect();
        let cover = Cover::of(members.iter().map(|id| &self.sends[id].item));
        let mut filling = Filling::new(claim.room.clone(), [0; 4]);
        let fits =
            members.iter().map(|id| &self.sends[id]).filter(|send| cover.broader(&send.item).is_none()).all(
                |send| filling.add(send.kind, &Item { hard: claim.hard, ..send.item.clone() }) != Fit::Full,
            );
        fits.then_some(members)
    }

    fn fill(&self, claim: &Claim) -> Vec<i64> {
        let mut filling = Filling::new(claim.room.clone(), claim.bulk);
        let mut taken: Vec<i64> = Vec::new();
        for (pass, lane) in [Lane::Small, Lane::Bulk, Lane::Small].into_iter().enumerate() {
            if pass == 1 {
                filling.release();
            }
            for kind in KINDS.into_iter().filter(|kind| claim.room.items[*kind as usize] > 0) {
                if lane == Lane::Bulk && claim.bulk[kind as usize] == 0 {
                    continue;
                }
                let line = self.line(&claim.key.cdn, claim.now_ms, |send| {
                    (send.lane, send.kind, send.item.hard, send.batch) == (lane, kind, claim.hard, None)
                });
                for id in line {
                    if taken.contains(&id) {
                        continue;
                    }
                    if filling.add(kind, &self.sends[&id].item) == Fit::Full {
                        break;
                    }
                    taken.push(id);
                }
            }
        }
        taken
    }

    fn covered(&self, claim: &Claim, carried: &[i64]) -> Vec<i64> {
        let cover = Cover::of(carried.iter().map(|id| &self.sends[id].item));
        let has = |kind| carried.iter().any(|id| self.sends[id].kind == kind);
        let mut covered = Vec::new();
        for lane in [Lane::Small, Lane::Bulk] {
            for kind in KINDS {
                for hard in [true, false] {
                    let twins = claim.hard && !hard && has(kind);
                    let below = cover.has_prefixes()
                        && (claim.hard || !hard)
                        && matches!(kind, ItemKind::Url | ItemKind::Prefix);
                    let line = self.line(&claim.key.cdn, claim.now_ms, |send| {
                        (twins || below)
                            && (send.lane, send.kind, send.item.hard, send.batch) == (lane, kind, hard, None)
                    });
                    let is_covered =
                        |id: &i64| !carried.contains(id) && cover.by(&self.sends[id].item).is_some();
                    covered.extend(line.into_iter().filter(is_covered));
                }
            }
        }
        covered
    }

    /// Returns the ids of the purges whose jobs ended, the number of jobs widened, and the id of the work.
    pub(super) fn settle(&mut self, settlement: &Settlement) -> (Vec<String>, u64, Option<i64>) {
        let now_ms = settlement.now_ms;
        // For each job: whether a send of it ended, and whether the new work includes it.
        let mut touched: BTreeMap<usize, (bool, bool)> = BTreeMap::new();
        let mut widened = 0;
        let mut found = None;
        for &(id, attempt, outcome) in &settlement.sends {
            let is_his = |send: &&Send| send.leased && send.attempt == attempt && send.absorber.is_none();
            let Some(send) = self.sends.get(&id).filter(is_his) else { continue };
            let (job, n, reason, holds_up) = (send.job, send.n, send.reason, send.holds_up());
            found = Some((job, n, reason));
            let entry = touched.entry(job).or_default();
            entry.0 |=
                holds_up && matches!(outcome, SendOutcome::Done | SendOutcome::Failed | SendOutcome::Widened);
            entry.1 |= holds_up && outcome == SendOutcome::Done;
            match outcome {
                SendOutcome::Done => {
                    self.sends.remove(&id);
                    if matches!(reason, SendReason::First | SendReason::Retry) {
                        self.repeat(job, n, now_ms);
                    }
                }
                SendOutcome::Failed => {
                    self.sends.remove(&id);
                    self.jobs[job].items[n].1 |= holds_up;
                }
                SendOutcome::Widened => {
                    self.sends.remove(&id);
                    if let Some(wider) = settlement.widen.as_ref().filter(|_| holds_up) {
                        widened += u64::from(self.widen_job(job, wider, now_ms));
                    }
                }
                SendOutcome::RetryAt(_) | SendOutcome::Together(_) | SendOutcome::Unsent => {
                    let send = self.sends.get_mut(&id).unwrap();
                    (send.leased, send.due_ms) = (false, now_ms);
                    if outcome != SendOutcome::Unsent {
                        send.was_tried();
                    }
                    match outcome {
                        SendOutcome::RetryAt(at) => send.due_ms = at,
                        SendOutcome::Together(batch) => send.batch = Some(batch),
                        _ => {}
                    }
                }
            }
        }
        if let &[(id, attempt, outcome)] = settlement.sends.as_slice() {
            self.settle_absorbed((id, attempt), outcome, found, now_ms, &mut touched);
        }
        let mut number = None;
        if let Some(what) = settlement.work.as_ref().filter(|_| !touched.is_empty()) {
            let cdn = self.jobs[*touched.keys().next().unwrap()].plan.cdn.clone();
            self.last_work += 1;
            let work = Work { id: self.last_work, since_ms: now_ms, what: what.clone() };
            let jobs = touched.iter().filter(|(_, (_, is_work))| *is_work).map(|(job, _)| *job).collect();
            self.works.insert(self.last_work, (cdn, work, jobs));
            number = Some(self.last_work);
        }
        let mut ended = Vec::new();
        for (job, (something_ended, _)) in touched {
            self.jobs[job].attempts += usize::from(settlement.attempt.is_some());
            let is_left = self.sends.values().any(|send| send.job == job && send.holds_up());
            if something_ended && !is_left {
                let job = &mut self.jobs[job];
                let failed = job.items.iter().any(|(_, failed)| *failed);
                job.outcome = Some(if failed { State::Failed } else { State::Done });
                job.accepted_ms = (!failed).then_some(settlement.at_ms);
                let purge = job.purge;
                ended.push(self.purges[purge].id.clone());
                self.end_purge(purge, settlement.at_ms);
            }
        }
        (ended, widened, number)
    }

    fn settle_absorbed(
        &mut self,
        absorber: (i64, u32),
        outcome: SendOutcome,
        found: Option<(usize, usize, SendReason)>,
        now_ms: i64,
        touched: &mut BTreeMap<usize, (bool, bool)>,
    ) {
        let absorbed: Vec<i64> = self
            .sends
            .iter()
            .filter(|(_, send)| send.leased && send.absorber == Some(absorber))
            .map(|(id, _)| *id)
            .collect();
        let mut purged_first = false;
        for id in absorbed {
            let send = self.sends.get_mut(&id).unwrap();
            let entry = touched.entry(send.job).or_default();
            if outcome != SendOutcome::Done {
                (send.leased, send.absorber, send.due_ms) = (false, None, now_ms);
                if let SendOutcome::RetryAt(at) = outcome {
                    send.due_ms = at;
                }
                if outcome != SendOutcome::Unsent {
                    send.was_tried();
                }
                continue;
            }
            *entry = (entry.0 | send.holds_up(), entry.1 | send.holds_up());
            purged_first |= send.holds_up();
            let (job, n, holds_up) = (send.job, send.n, send.holds_up());
            self.sends.remove(&id);
            if found.is_none() && holds_up {
                self.repeat(job, n, now_ms);
            }
        }
        if let Some((job, n, SendReason::Repeat)) = found.filter(|_| purged_first) {
            self.repeat(job, n, now_ms);
        }
    }

    fn repeat(&mut self, job: usize, n: usize, now_ms: i64) {
        let after_ms = self.jobs[job].plan.repeat_after_ms;
        if after_ms > 0 {
            self.send(job, n, SendReason::Repeat, now_ms + after_ms);
        }
    }

    fn end_purge(&mut self, purge: usize, at_ms: i64) {
        let outcomes: Option<Vec<State>> =
            self.jobs.iter().filter(|job| job.purge == purge).map(|job| job.outcome).collect();
        if let Some(outcomes) = outcomes {
            let worst = [State::Failed, State::Cancelled].into_iter().find(|state| outcomes.contains(state));
            self.purges[purge].outcome = Some(worst.unwrap_or(State::Done));
            self.purges[purge].finished_ms = Some(at_ms);
        }
    }

    fn note(&mut self, job: usize, why: &str) {
        let fallback = &mut self.jobs[job].fallback;
        if !fallback.iter().any(|known| known == why) {
            fallback.push(why.to_owned());
        }
    }

    fn widen_job(&mut self, job: usize, wider: &Wider, now_ms: i64) -> bool {
        let of = &mut self.jobs[job];
        let planned = of.plan.items.len();
        let is_as_wide =
            |item: &Item| is_site(item) || (item.kind, &item.value) == (wider.item.kind, &wider.item.value);
        if of.items[planned..]
            .iter()
            .any(|(item, failed)| !failed && item.hard >= wider.item.hard && is_as_wide(item))
        {
            return false;
        }
        of.items.push((wider.item.clone(), false));
        let n = of.items.len() - 1;
        self.send(job, n, SendReason::First, now_ms);
        self.note(job, &wider.why);
        true
    }

    pub(super) fn widen(&mut self, cdn: &str, wider: &Wider, now_ms: i64) -> u64 {
        let waits = self.sends.values().any(|send| {
            send.cdn == cdn
                && send.lane == Lane::Site
                && !send.leased
                && send.holds_up()
                && send.item.hard >= wider.item.hard
        });
        if waits {
            return 0;
        }
        let concerned: Vec<usize> = (0..self.jobs.len())
            .filter(|job| {
                let of = &self.jobs[*job];
                let mut sends = self.sends.values();
                of.plan.cdn == cdn
                    && of.outcome.is_none()
                    && of.due_ms <= now_ms
                    && sends.any(|send| send.job == *job && !send.leased && send.due_ms <= now_ms)
            })
            .collect();
        let Some(&oldest) = concerned.iter().min_by_key(|job| (self.jobs[**job].due_ms, **job)) else {
            return 0;
        };
        self.jobs[oldest].items.push((wider.item.clone(), false));
        let n = self.jobs[oldest].items.len() - 1;
        self.send(oldest, n, SendReason::First, now_ms);
        for job in &concerned {
            self.note(*job, &wider.why);
        }
        concerned.len() as u64
    }

    pub(super) fn works(&self, cdn: &str) -> Vec<Work> {
        self.works.values().filter(|(of, ..)| of == cdn).map(|(_, work, _)| work.clone()).collect()
    }

    pub(super) fn complete(&mut self, work: i64, completed_ms: Option<i64>) {
        let Some((.., jobs)) = self.works.remove(&work) else { return };
        for job in jobs {
            let is_left = self.works.values().any(|(.., others)| others.contains(&job));
            if completed_ms.is_some() && !is_left && self.jobs[job].outcome == Some(State::Done) {
                self.jobs[job].completed_ms = completed_ms;
            }
        }
    }

    pub(super) fn pause(&mut self, cdn: &str, paused: bool) {
        if paused {
            self.paused.insert(cdn.to_owned());
        } else {
            self.paused.remove(cdn);
        }
    }

    pub(super) fn take_over(&mut self, now: &Now, furthest_ms: i64) -> u64 {
        let now_ms = now.steady_ms;
        let last = self.heartbeat.replace(now.clone()).unwrap_or(now_ms.into());
        let boots = now.boot.as_ref().zip(last.boot.as_ref());
        let passed_ms =
            boots.filter(|(now, last)| now.id == last.id).map(|(now, last)| now.up_ms - last.up_ms);
        let ahead_ms = now_ms - last.steady_ms - passed_ms.unwrap_or(0);
        if passed_ms.is_some() || ahead_ms < 0 {
            self.sends.values_mut().filter(|send| !send.leased).for_each(|send| send.due_ms += ahead_ms);
            let under_way = self.jobs.iter_mut().filter(|job| job.outcome.is_none());
            under_way.for_each(|job| job.due_ms += ahead_ms);
            self.works.values_mut().for_each(|(_, work, _)| work.since_ms += ahead_ms);
        }
        self.untagged.values_mut().for_each(|(until_ms, _)| *until_ms += ahead_ms);
        for purge in &mut self.purges {
            purge.since_ms = match (passed_ms.is_some(), purge.outcome) {
                (true, _) if ahead_ms == 0 => purge.since_ms,
                (true, _) | (false, None) => now_ms.min(purge.since_ms + ahead_ms),
                (false, Some(_)) => now_ms,
            };
        }
        let leased = self.sends.values_mut().filter(|send| send.leased);
        let leases = leased.map(|send| (send.leased, send.due_ms, send.absorber) = (false, 0, None)).count();
        self.sends.values_mut().for_each(|send| send.due_ms = send.due_ms.min(furthest_ms));
        leases as u64
    }

    pub(super) fn acknowledge(&mut self, id: &str) -> u64 {
        let Some(purge) = self.find(id) else { return 0 };
        let failed = self
            .jobs
            .iter_mut()
            .filter(|job| job.purge == purge && job.outcome == Some(State::Failed) && !job.acknowledged);
        failed.map(|job| job.acknowledged = true).count() as u64
    }

    pub(super) fn retry(&mut self, id: &str, now_ms: i64) -> u64 {
        let Some(purge) = self.find(id) else { return 0 };
        let mut retried = 0;
        for index in 0..self.jobs.len() {
            let job = &mut self.jobs[index];
            if job.purge != purge || job.outcome != Some(State::Failed) {
                continue;
            }
            (job.outcome, job.acknowledged, job.due_ms) = (None, false, now_ms);
            retried += 1;
            for n in 0..self.jobs[index].items.len() {
                if std::mem::take(&mut self.jobs[index].items[n].1) {
                    self.send(index, n, SendReason::Retry, now_ms);
                }
            }
            (self.purges[purge].outcome, self.purges[purge].finished_ms) = (None, None);
        }
        retried
    }

    pub(super) fn cancel(&mut self, id: &str, at_ms: i64) -> u64 {
        let Some(purge) = self.find(id) else { return 0 };
        let mut cancelled = 0;
        for index in 0..self.jobs.len() {
            if self.jobs[index].purge == purge && self.jobs[index].outcome.is_none() {
                self.sends.retain(|_, send| send.job != index || !HOLD_UP.contains(&send.reason));
                self.jobs[index].outcome = Some(State::Cancelled);
                cancelled += 1;
            }
        }
        if cancelled > 0 {
            self.end_purge(purge, at_ms);
        }
        cancelled
    }

    /// Returns the number of jobs under way, the number of pending items, the oldest due time, the number of
    /// unacknowledged failures, and whether the CDN is paused.
    pub(super) fn status(&self, cdn: &str) -> (u64, u64, Option<i64>, u64, bool) {
        let jobs = || self.jobs.iter().filter(|job| job.plan.cdn == cdn);
        let under_way = || jobs().filter(|job| job.outcome.is_none());
        let failed = jobs().filter(|job| job.outcome == Some(State::Failed) && !job.acknowledged);
        let oldest = under_way().map(|job| job.due_ms).min();
        (
            under_way().count() as u64,
            self.pending(cdn),
            oldest,
            failed.count() as u64,
            self.paused.contains(cdn),
        )
    }

    pub(super) fn purges(&self) -> impl Iterator<Item = Seen> {
        (0..self.purges.len()).filter(|purge| !self.purges[*purge].swept).map(|purge| self.purge(purge))
    }

    fn purge(&self, purge: usize) -> Seen {
        let jobs = (0..self.jobs.len()).filter(|job| self.jobs[*job].purge == purge);
        let jobs: Vec<SeenJob> = jobs.map(|job| self.job(job)).collect();
        let Purge { id, outcome, finished_ms, .. } = &self.purges[purge];
        let liveliest = [State::Sending, State::Retrying, State::Paused].into_iter();
        let liveliest = liveliest.into_iter().find(|state| jobs.iter().any(|(of, ..)| of == state));
        let state = outcome.or(liveliest).unwrap_or(State::Pending);
        (id.clone(), state, *finished_ms, jobs)
    }

    fn job(&self, index: usize) -> SeenJob {
        let job = &self.jobs[index];
        let sends = || self.sends.values().filter(|send| send.job == index);
        let state = job.outcome.unwrap_or_else(|| {
            if sends().any(|send| send.holds_up() && send.leased) {
                State::Sending
            } else if self.paused.contains(&job.plan.cdn) {
                State::Paused
            } else if sends().any(|send| send.reason == SendReason::Retry) {
                State::Retrying
            } else {
                State::Pending
            }
        });
        let next_ms = sends().filter(|send| !send.leased).map(|send| send.due_ms).min();
        let stands = job.outcome == Some(State::Failed) && !job.acknowledged;
        let fallback = job.fallback.clone();
        (state, fallback, job.accepted_ms, job.completed_ms, next_ms, stands, job.attempts.min(100))
    }
}

const KINDS: [ItemKind; 4] = [ItemKind::Url, ItemKind::Tag, ItemKind::Prefix, ItemKind::Everything];
