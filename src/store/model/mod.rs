//! A property test of the stores: after any sequence of operations each is in the same state as [`memory`], even
//! after crashes that leave its files as they are at that moment, or that leave a database to the next instance.
//! Quick by default; `ORIGIN_SHIM_LONG=1 cargo test store::model` runs 10,000 cases.

mod memory;

use super::postgres::tests::{database, member};
use super::*;
use crate::cdn::{Identity, Item, ItemKind};
use crate::purge::{JobPlan, PurgeRequest, Room};
use crate::rewrite::CdnType;

use memory::{Memory, Seen};
use proptest::prelude::*;
use proptest::sample::Index;
use std::sync::Arc;
use tempfile::TempDir;

const START: i64 = 1_700_000_000_000;
const DAY: i64 = 24 * 60 * 60 * 1_000;
/// The longest wait, in milliseconds.
const FURTHEST: i64 = 4_000;
const FILE: &str = "store.db";
const CDNS: [&str; 2] = ["fastly", "cloudfront"];
const TYPES: [CdnType; 2] = [CdnType::Fastly, CdnType::Cloudfront];

#[derive(Clone, Debug)]
enum Op {
    Enqueue {
        cdns: Vec<usize>,
        items: Vec<(usize, bool)>,
        kind: Kind,
        repeats: bool,
        later: bool,
        untagged: bool,
        key: Option<(u8, u8)>,
    },
    /// Notes copies: CDN type, until when (in days from now), longest lifetime, and whether the earlier ones end
    /// then.
    Untagged(usize, i64, i64, bool),
    Pass(i64),
    Claim {
        cdn: usize,
        site: bool,
        hard: bool,
        kinds: [bool; 4],
        most: usize,
        bytes: usize,
        bulk: bool,
    },
    Settle {
        claim: Index,
        end: End,
        work: bool,
    },
    Widen {
        cdn: usize,
        hard: bool,
    },
    Complete {
        cdn: usize,
        work: Index,
        told: bool,
    },
    Pause {
        cdn: usize,
        paused: bool,
    },
    Cancel(Index),
    Retry(Index),
    Acknowledge(Index),
    /// Removes purges that ended longer ago than this.
    Sweep(i64),
    Probe,
    /// Sets the machine's clock.
    SetClock(i64),
    /// Crashes, and also restarts the machine if true.
    Crash(bool),
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Items,
    Bulk,
    Site,
    PurgeAll,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Done,
    Later(i64),
    Failed,
    Unsent,
    Split,
    Widened,
    /// The sends get different outcomes: done, later, failed.
    Mixed,
}

fn op() -> impl Strategy<Value = Op> {
    let cdn = || 0..2_usize;
    let kind = prop_oneof![20 => Just(Kind::Items), 1 => Just(Kind::Bulk), 4 => Just(Kind::Site), 2 => Just(Kind::PurgeAll)];
    let enqueue = (
        prop::sample::subsequence(vec![0, 1], 1..=2),
        prop::collection::vec((0..VALUES.len(), any::<bool>()), 0..6),
        kind,
        any::<bool>(),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.2),
        prop::option::weighted(0.2, (0..3_u8, 0..2_u8)),
    );
    let pass = prop_oneof![30 => 0..3_000_i64, 1 => Just(DAY)];
    let claim = (
        cdn(),
        prop::bool::weighted(0.3),
        any::<bool>(),
        prop_oneof![3 => Just([true; 4]), 1 => any::<[bool; 4]>()],
        1..6_usize,
        10..60_usize,
        any::<bool>(),
    );
    let end = prop_oneof![
        5 => Just(End::Done),
        3 => (0..4_000_i64).prop_map(End::Later),
        1 => Just(End::Failed),
        1 => Just(End::Unsent),
        1 => Just(End::Split),
        2 => Just(End::Widened),
        2 => Just(End::Mixed),
    ];
    prop_oneof![
        6 => enqueue.prop_map(|(cdns, items, kind, repeats, later, untagged, key)| Op::Enqueue { cdns, items, kind, repeats, later, untagged, key }),
        1 => (cdn(), 0..1_000_i64, 0..9_i64, any::<bool>())
            .prop_map(|(cdn, days, longest, end)| Op::Untagged(cdn, days, longest, end)),
        3 => pass.prop_map(Op::Pass),
        8 => claim.prop_map(|(cdn, site, hard, kinds, most, bytes, bulk)| Op::Claim { cdn, site, hard, kinds, most, bytes, bulk }),
        8 => (any::<Index>(), end, any::<bool>()).prop_map(|(claim, end, work)| Op::Settle { claim, end, work }),
        1 => (cdn(), any::<bool>()).prop_map(|(cdn, hard)| Op::Widen { cdn, hard }),
        1 => (cdn(), any::<Index>(), any::<bool>()).prop_map(|(cdn, work, told)| Op::Complete { cdn, work, told }),
        1 => (cdn(), any::<bool>()).prop_map(|(cdn, paused)| Op::Pause { cdn, paused }),
        1 => any::<Index>().prop_map(Op::Cancel),
        1 => any::<Index>().prop_map(Op::Retry),
        1 => any::<Index>().prop_map(Op::Acknowledge),
        1 => prop_oneof![Just(0), 0..10_000_i64].prop_map(Op::Sweep),
        1 => Just(Op::Probe),
        1 => (-DAY..DAY).prop_map(Op::SetClock),
        1 => any::<bool>().prop_map(Op::Crash),
    ]
}

/// Items of which some cover others.
const VALUES: [(ItemKind, &str); 9] = [
    (ItemKind::Tag, "a"),
    (ItemKind::Tag, "b"),
    (ItemKind::Tag, "c"),
    (ItemKind::Url, "https://h/blog/1"),
    (ItemKind::Url, "https://h/2"),
    (ItemKind::Url, "/blog/1"),
    (ItemKind::Url, "/blog/*"),
    (ItemKind::Prefix, "h/blog/"),
    (ItemKind::Prefix, "h/"),
];

/// The store, its model, and the state of the workers.
struct Run {
    home: Home,
    store: Arc<dyn Store>,
    memory: Memory,
    /// The steady clock, and by how much the machine's is ahead of it.
    now_ms: i64,
    ahead_ms: i64,
    /// How long the machine has been running, and the number of its restarts.
    up_ms: i64,
    boot: u64,
    purges: usize,
    claims: Vec<Claimed>,
}

/// Where the store keeps its data.
enum Home {
    /// A store in memory cannot crash.
    Memory,
    /// The directory of the file.
    File(TempDir),
    Database(Box<tokio_postgres::Config>),
}

fn is_long() -> bool {
    std::env::var_os("ORIGIN_SHIM_LONG").is_some()
}

impl Run {
    fn new(home: Home) -> Self {
        let store: Arc<dyn Store> = match &home {
            Home::Memory => Arc::new(SqliteStore::in_memory().unwrap()),
            Home::File(directory) => Arc::new(SqliteStore::open(&directory.path().join(FILE)).unwrap()),
            Home::Database(config) => Arc::new(member(config, "a")),
        };
        Self {
            home,
            store,
            memory: Memory::default(),
            now_ms: START,
            ahead_ms: 0,
            up_ms: 0,
            boot: 0,
            purges: 0,
            claims: vec![],
        }
    }

    /// Continues with what the store kept at this moment: the old process never closes its files.
    fn crash(&mut self) {
        match &self.home {
            Home::Memory => {}
            Home::File(old) => {
                let new = tempfile::tempdir().unwrap();
                for name in [FILE, "store.db-wal"] {
                    std::fs::copy(old.path().join(name), new.path().join(name)).unwrap();
                }
                self.store = Arc::new(SqliteStore::open(&new.path().join(FILE)).unwrap());
                self.home = Home::File(new);
            }
            Home::Database(config) => self.store = Arc::new(member(config, "a")),
        }
    }

    /// Begins another run. Its steady clock begins at the machine's time, wherever that is, except that a database's
    /// clock went on meanwhile.
    fn restart(&mut self, is_reboot: bool) {
        if let Home::Database(_) = self.home {
            self.memory.heartbeat = Some(self.now(self.now_ms));
        } else {
            (self.now_ms, self.ahead_ms) = (self.now_ms + self.ahead_ms, 0);
            self.boot += u64::from(is_reboot);
        }
    }

    fn now(&self, steady_ms: i64) -> Now {
        Now { steady_ms, boot: Some(Boot { id: self.boot.to_string(), up_ms: self.up_ms }) }
    }

    fn store(&self) -> &dyn Store {
        &*self.store
    }

    async fn apply(&mut self, op: &Op) {
        // This keeps any two purges from being accepted at the same moment.
        (self.now_ms, self.up_ms) = (self.now_ms + 1, self.up_ms + 1);
        let (now_ms, at_ms) = (self.now_ms, self.now_ms + self.ahead_ms);
        match op {
            Op::Pass(ms) => (self.now_ms, self.up_ms) = (self.now_ms + ms, self.up_ms + ms),
            Op::Probe => {
                let now = self.now(now_ms);
                self.memory.heartbeat = Some(now.clone());
                // A rehearsal uses up numbers of a database, by which the model knows the sends.
                if !matches!(self.home, Home::Database(_)) {
                    self.store().probe(now).await.unwrap();
                }
            }
            Op::SetClock(ms) => self.ahead_ms += ms,
            Op::Enqueue { cdns, items, kind, repeats, later, untagged, key } => {
                let mut new = self.purge(cdns, items, *kind, *repeats, *later);
                new.jobs.iter_mut().for_each(|job| job.untagged = *untagged);
                new.idempotency = key.map(|(key, hash)| (key.to_string(), hash.to_string()));
                let expected = self.memory.enqueue(&new);
                assert_eq!(self.store().enqueue(new).await.unwrap(), expected);
            }
            Op::Claim { cdn, site, hard, kinds, most, bytes, bulk } => {
                let room = |index: usize| if kinds[index] || *site { *most } else { 0 };
                let items = [room(0), room(1), room(2), room(3)];
                let claim = Claim {
                    identity: Identity::default(),
                    key: key(*cdn),
                    now_ms,
                    lease_until_ms: now_ms + 1_000,
                    site: *site,
                    hard: *hard,
                    room: Room { items, total: *most, bytes: *bytes },
                    bulk: items.map(|items| if *bulk { items.div_ceil(4) } else { 0 }),
                    keep_together: *cdn == 1,
                    rates: vec![],
                };
                let expected = self.memory.claim(&claim);
                let mut claimed = self.store().claim(claim).await.unwrap();
                claimed.absorbed_digest = 0;
                assert_eq!(claimed, expected);
                if !claimed.sends.is_empty() {
                    self.claims.push(claimed);
                }
            }
            Op::Settle { claim, end, work } if !self.claims.is_empty() => {
                // One of the last claims is chosen, so that most settlements are in time.
                let claimed = claim.get(&self.claims[self.claims.len().saturating_sub(3)..]);
                let settlement = settlement(claimed, *end, *work, (now_ms, at_ms));
                let (ended, widened, number) = self.memory.settle(&settlement);
                let settled = self.store().settle(settlement).await.unwrap();
                let purges: Vec<String> = settled.ended.into_iter().map(|job| job.purge).collect();
                assert_eq!((purges, settled.widened, settled.work), (ended, widened, number));
            }
            Op::Widen { cdn, hard } => {
                let expected = self.memory.widen(CDNS[*cdn], &wider(*hard), now_ms);
                assert_eq!(self.store().widen(key(*cdn), wider(*hard), now_ms).await.unwrap(), expected);
            }
            Op::Complete { cdn, work, told } => {
                let works = self.memory.works(CDNS[*cdn]);
                if !works.is_empty() {
                    let completed_ms = told.then_some(at_ms);
                    let id = work.get(&works).id;
                    self.memory.complete(id, completed_ms);
                    self.store().complete(id, completed_ms).await.unwrap();
                }
            }
            Op::Pause { cdn, paused } => {
                self.memory.pause(CDNS[*cdn], *paused);
                let reason = paused.then(|| "why".to_owned());
                self.store().set_paused(key(*cdn), PausedBy::Person, reason).await.unwrap();
            }
            Op::Cancel(purge) => {
                let id = self.id(*purge);
                let expected = self.memory.cancel(&id, at_ms);
                assert_eq!(self.store().cancel(id, at_ms).await.unwrap().len() as u64, expected);
            }
            Op::Retry(purge) => {
                let id = self.id(*purge);
                let expected = self.memory.retry(&id, now_ms);
                assert_eq!(self.store().retry(id, now_ms).await.unwrap(), expected);
            }
            Op::Acknowledge(purge) => {
                let id = self.id(*purge);
                let expected = self.memory.acknowledge(&id);
                assert_eq!(self.store().acknowledge(id).await.unwrap(), expected);
            }
            Op::Sweep(ms) => {
                let expected = self.memory.sweep(at_ms - ms, at_ms);
                assert_eq!(contract::sweep(self.store(), at_ms - ms, at_ms).await, expected);
            }
            Op::Crash(reboot) => {
                self.crash();
                self.restart(*reboot);
                let furthest_ms = self.now_ms + FURTHEST;
                let now = self.now(self.now_ms);
                let expected = self.memory.take_over(&now, furthest_ms);
                assert_eq!(self.store().take_over(now, furthest_ms).await.unwrap().leases, expected);
            }
            Op::Untagged(cdn, days, longest_ms, end) => {
                let (until_ms, longest_ms) = (now_ms + days * DAY, *longest_ms);
                let cdn_type = TYPES[*cdn];
                let copies = vec![UntaggedCopies { site: "www".into(), cdn_type, until_ms, longest_ms }];
                if *end {
                    self.memory.forget_untagged(cdn_type, until_ms);
                    self.store().forget_untagged(copies).await.unwrap();
                } else {
                    self.memory.note_untagged(cdn_type, until_ms, longest_ms);
                    self.store().note_untagged(copies).await.unwrap();
                }
            }
            Op::Settle { .. } => {}
        }
        self.compare().await;
    }

    fn purge(
        &mut self,
        cdns: &[usize],
        items: &[(usize, bool)],
        kind: Kind,
        repeats: bool,
        later: bool,
    ) -> NewPurge {
        self.purges += 1;
        let hard = items.first().is_none_or(|(_, hard)| *hard);
        let mut wanted: Vec<Item> = match kind {
            Kind::Site => vec![wider(hard).item],
            Kind::PurgeAll => vec![Item { kind: ItemKind::Everything, value: "*".into(), hard }],
            Kind::Bulk => (0..=BULK_ITEMS).map(|n| tag(&n.to_string(), hard)).collect(),
            Kind::Items => items.iter().map(|(value, hard)| item(*value, *hard)).collect(),
        };
        let mut seen = std::collections::HashSet::new();
        wanted.retain(|item| seen.insert(item.clone()));
        let job = |cdn: &usize| JobPlan {
            cdn: CDNS[*cdn].into(),
            identity: Identity::default(),
            cdn_type: TYPES[*cdn],
            items: wanted.clone(),
            everything: matches!(kind, Kind::Site | Kind::PurgeAll),
            untagged: false,
            fallback: vec![],
            repeat_after_ms: if repeats { 300 } else { 0 },
        };
        NewPurge {
            id: format!("p{:04}", self.purges),
            site: "www".into(),
            request: PurgeRequest::default(),
            caller: "cms".into(),
            now_ms: self.now_ms + self.ahead_ms,
            since_ms: self.now_ms,
            due_ms: self.now_ms + if later { 1_500 } else { 0 },
            jobs: cdns.iter().map(job).collect(),
            idempotency: None,
            follow_ups: Default::default(),
        }
    }

    /// Returns the id of one of the purges, or of none.
    fn id(&self, purge: Index) -> String {
        format!("p{:04}", purge.index(self.purges + 1))
    }

    /// Compares all state that is visible from outside.
    async fn compare(&self) {
        let status = self.store().status().await.unwrap();
        for (index, cdn) in CDNS.into_iter().enumerate() {
            let due = self.store().due(key(index), self.now_ms, 5).await.unwrap();
            assert_eq!(due, self.memory.due(cdn, self.now_ms, 5));
            assert_eq!(self.store().works(key(index)).await.unwrap(), self.memory.works(cdn));
            let queue = status.iter().find(|queue| queue.key.cdn == cdn);
            let queue = queue.cloned().unwrap_or_else(|| QueueStatus::empty(key(index)));
            let seen = (queue.jobs, queue.pending, queue.oldest_due_ms, queue.failed, queue.paused.is_some());
            assert_eq!(seen, self.memory.status(cdn), "{cdn}");
        }
        let mut untagged = self.store().untagged().await.unwrap();
        untagged.sort_by_key(|copies| copies.cdn_type);
        assert_eq!(untagged, self.memory.untagged());
        for expected in self.memory.purges() {
            let purge = self.store().get(expected.0.clone()).await.unwrap().unwrap();
            assert_eq!(seen(purge), expected);
        }
    }
}

fn seen(purge: PurgeView) -> Seen {
    let jobs = purge.jobs.into_iter().map(|job| {
        (
            job.state,
            job.fallback,
            job.accepted_ms,
            job.completed_ms,
            job.next_attempt_ms,
            job.unacknowledged,
            job.attempts.len(),
        )
    });
    (purge.id, purge.state, purge.finished_ms, jobs.collect())
}

fn settlement(claimed: &Claimed, end: End, work: bool, (now_ms, at_ms): (i64, i64)) -> Settlement {
    let middle = claimed.sends.len() / 2;
    let outcome = |(position, send): (usize, &ClaimedSend)| {
        let outcome = match end {
            End::Done => SendOutcome::Done,
            End::Later(ms) => SendOutcome::RetryAt(now_ms + ms),
            End::Failed => SendOutcome::Failed,
            End::Unsent => SendOutcome::Unsent,
            // The purge of a site cannot be split.
            End::Split if send.lane == Lane::Site => SendOutcome::Failed,
            End::Split => SendOutcome::Together(claimed.sends[if position < middle { 0 } else { middle }].id),
            End::Widened => SendOutcome::Widened,
            End::Mixed => {
                [SendOutcome::Done, SendOutcome::RetryAt(now_ms + 500), SendOutcome::Failed][position % 3]
            }
        };
        (send.id, send.attempt, outcome)
    };
    let is_accepted = matches!(end, End::Done | End::Mixed);
    let attempt = Attempt {
        at_ms,
        status: Some(200),
        request_id: None,
        duration_ms: 1,
        outcome: "done".into(),
        message: "ok".into(),
    };
    Settlement {
        sends: claimed.sends.iter().enumerate().map(outcome).collect(),
        attempt: (!matches!(end, End::Unsent)).then_some(attempt),
        widen: matches!(end, End::Widened).then(|| wider(true)),
        work: (work && is_accepted).then(|| NewWork { name: "I1".into(), items: 3, wildcards: 1 }),
        rates: vec![],
        now_ms,
        at_ms,
    }
}

fn key(cdn: usize) -> CdnKey {
    CdnKey { site: "www".into(), cdn: CDNS[cdn].into() }
}

fn wider(hard: bool) -> Wider {
    Wider { item: tag("site", hard), why: "too slow".into() }
}

fn tag(value: &str, hard: bool) -> Item {
    Item { kind: ItemKind::Tag, value: value.into(), hard }
}

fn item(index: usize, hard: bool) -> Item {
    let (kind, value) = VALUES[index];
    Item { kind, value: value.into(), hard }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if is_long() { 10_000 } else { 80 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_it_does_what_it_should(ops in prop::collection::vec(op(), 1..50)) {
        let can_crash = ops.iter().any(|op| matches!(op, Op::Crash(_)));
        run(if can_crash { Home::File(tempfile::tempdir().unwrap()) } else { Home::Memory }, &ops);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if is_long() { 1_000 } else { 12 },
        failure_persistence: None,
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_a_database_does_what_it_should(ops in prop::collection::vec(op(), 1..50)) {
        run(Home::Database(database().into()), &ops);
    }
}

fn run(home: Home, ops: &[Op]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut run = Run::new(home);
        for op in ops {
            run.apply(op).await;
        }
    });
}
