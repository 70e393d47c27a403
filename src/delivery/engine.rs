//! Starts, watches and stops the tasks of every CDN.

use super::account::{Account, Load};
use super::naming;
use super::naming::Naming;
use super::take_over;
use super::target::Orphan;
use super::target::{Shared, Target};
use super::targets::Targets;
use super::watch as look_after;
use super::watch::age;
use super::{Observer, TellBoot, TellTime, Transport, check, completion, milliseconds, queue, verify};
use crate::cdn::{Adapter, Rates, rates};
use crate::config::{Cdn, Config, Site};
use crate::rewrite::CdnType;
use crate::store::{CdnKey, Left, Moved, Store, StoreHealth};
use crate::view::PurgeHealthView;
use arc_swap::ArcSwap;
use serde::Serialize;
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{SetOnce, watch};
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

/// The delay between the first checks of two CDNs. Without it, the checks of ten thousand sites would occupy the
/// control plane.
const BETWEEN_CHECKS: Duration = Duration::from_millis(1);

/// Makes the adapter of a configured CDN.
pub type MakeAdapter = Box<dyn Fn(&Cdn) -> Arc<dyn Adapter> + Send + Sync>;

/// The parts that the engine works with.
pub struct Parts {
    /// The store of purges.
    pub store: Arc<dyn Store>,
    /// Whether the store works.
    pub store_health: Arc<StoreHealth>,
    /// The state that the previous run left, if it has been taken over.
    pub left: Option<Left>,
    /// Sends calls to CDNs.
    pub transport: Arc<dyn Transport>,
    /// Makes the adapter of a configured CDN.
    pub adapter: MakeAdapter,
    /// The view in which the proxy reads which CDNs are healthy.
    pub view: Arc<PurgeHealthView>,
    /// Receives what happens, for metrics.
    pub observer: Arc<dyn Observer>,
    /// The machine's clock, for times shown to users and sent to CDNs.
    pub wall: TellTime,
    /// The steady clock, which governs all waiting ([`crate::guard::Clock::steady_ms`]).
    pub steady: TellTime,
    /// Identifies the current boot of the machine.
    pub boot: TellBoot,
    /// Whether other instances send for the same accounts, so that this one sends only for those that it owns.
    pub shares_accounts: bool,
}

/// The delivery tasks of all CDNs.
pub struct Engine {
    /// The current targets; a reload replaces some.
    pub(super) targets: Arc<ArcSwap<Targets>>,
    pub(super) shared: Arc<Shared>,
    adapter: MakeAdapter,
    view: Arc<PurgeHealthView>,
    pub(super) accounts: Mutex<HashMap<String, Arc<Account>>>,
    /// The state that the previous run left, after it has been taken over.
    left: Arc<SetOnce<Left>>,
    naming: Arc<Naming>,
    tasks: TaskTracker,
    shares_accounts: bool,
}

/// The state of one CDN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CdnStatus {
    /// The CDN's name within its site.
    pub name: String,
    /// The CDN's type.
    #[serde(rename = "type")]
    pub cdn_type: CdnType,
    /// Whether purges are known to get through in time, so that responses get their long TTL.
    pub healthy: bool,
    /// Why the CDN is not healthy, in words and without secrets.
    pub reasons: Vec<String>,
    /// Items that the CDN has not accepted yet.
    pub pending: u64,
    /// Seconds since the oldest job became due.
    pub oldest_pending_seconds: Option<u64>,
    /// Whether sending to the CDN is paused.
    pub paused: bool,
}

impl Engine {
    /// Starts the delivery tasks on the current tokio runtime. They continue what a previous run left, so a previous
    /// engine on the same store must be stopped first. A CDN is not healthy until its credentials are checked and its
    /// queue is read.
    pub fn start(config: &Config, parts: Parts) -> Self {
        let shared = Arc::new(Shared::new(
            (parts.store, parts.store_health),
            parts.transport,
            parts.observer,
            (parts.wall, parts.steady, parts.boot),
        ));
        let (adapter, view) = (parts.adapter, parts.view);
        let engine = Self {
            targets: Arc::default(),
            shared,
            adapter,
            view,
            accounts: Mutex::default(),
            left: Arc::default(),
            naming: Arc::new(Naming::new()),
            tasks: TaskTracker::new(),
            shares_accounts: parts.shares_accounts,
        };
        // The reference is weak because the engine has the store, and the store keeps its listeners.
        let targets = Arc::downgrade(&engine.targets);
        // A failure is reported at once and not at the next look, because the next response may be kept for days.
        let observer = engine.shared.observer.clone();
        let tell = move |works| {
            observer.store(works);
            if let Some(targets) = targets.upgrade() {
                targets.load().all.iter().for_each(|target| target.report(|_| {}));
            }
        };
        tell(engine.store_failure().is_none());
        engine.shared.store_health.listen(tell);
        match parts.left {
            Some(left) => take_over::begin_with(&engine.left, left),
            None => engine.spawn(take_over::keep_trying(
                engine.shared.clone(),
                config.clone(),
                engine.left.clone(),
            )),
        }
        engine.reload(config);
        let (naming, targets) = (engine.naming.clone(), engine.targets.clone());
        engine.spawn(look_after::queues(engine.shared.clone(), targets, naming.clone()));
        let (left, shared) = (engine.left.clone(), engine.shared.clone());
        engine.spawn(async move {
            left.wait().await;
            naming.run(&shared).await;
        });
        let (left, shared, targets) = (engine.left.clone(), engine.shared.clone(), engine.targets.clone());
        engine.spawn(async move {
            // The end of the previous run must be known first.
            left.wait().await;
            look_after::probe(shared, targets).await;
        });
        engine.spawn(look_after::sweep(engine.shared.clone(), milliseconds(config.store.retention)));
        engine
    }

    /// Continues with a new configuration. Unchanged CDNs keep their health. For the others, calls in flight are
    /// completed, and everything else is sent with the new settings. Must be called on the engine's runtime.
    pub fn reload(&self, config: &Config) {
        self.set_rates(config);
        self.naming.set(config);
        let cdns = || config.sites.iter().flat_map(|site| site.cdns.iter().map(move |cdn| (site, cdn)));
        let current = self.targets.load();
        let mut old: HashMap<_, _> = current.all.iter().map(|target| (&target.key, target)).collect();
        let mut kept = |(site, cdn): (&Arc<Site>, &Arc<Cdn>)| {
            let key = CdnKey { site: site.name.clone(), cdn: cdn.name.clone() };
            old.get(&key).filter(|target| target.goes_on(site, cdn))?;
            old.remove(&key).cloned()
        };
        let kept: Vec<_> = cdns().map(&mut kept).collect();
        // Targets are retired before their successors begin, because both use the same cell of the proxy's view.
        for target in old.into_values() {
            target.retire();
        }
        let mut begun = Vec::new();
        let mut begin = |site, cdn| {
            let place = u32::try_from(begun.len()).unwrap_or(u32::MAX);
            let target = self.begin(site, cdn, BETWEEN_CHECKS.saturating_mul(place));
            begun.push(target.clone());
            target
        };
        let targets = cdns().zip(kept).map(|((site, cdn), kept)| kept.unwrap_or_else(|| begin(site, cdn)));
        self.targets.store(Arc::new(Targets::of(targets.collect())));
        let (left, shared) = (self.left.clone(), self.shared.clone());
        self.spawn(async move {
            // Only after the take-over do the previous run's times belong to the current clock.
            left.wait().await;
            verify::take_up(shared, begun).await;
        });
    }

    /// Starts the tasks of a CDN. Its credentials are checked after `check_after`.
    fn begin(&self, site: &Site, cdn: &Cdn, check_after: Duration) -> Arc<Target> {
        let cell = self.view.cell(&site.name, &cdn.name);
        let account = self.account(&cdn.account, || rates(cdn));
        let adapter = (self.adapter)(cdn);
        let shared = (self.view.freshness.clone(), self.shared.clone());
        let target = Arc::new(Target::new(site, cdn, adapter, account, cell, self.naming.latest(), shared));
        let check = target.clone();
        let check = self.tasks.spawn(async move {
            tokio::select! {
                () = check.stop.cancelled() => return,
                () = sleep(check_after) => {}
            }
            supervised(check, "check", check::run).await;
        });
        let completion = self.tasks.spawn(supervised(target.clone(), "completion", completion::run));
        let verify = self.tasks.spawn(supervised(target.clone(), "verify", verify::run));
        let (queue, left, naming) = (target.clone(), self.left.clone(), self.naming.clone());
        let may_begin = async move {
            let left = left.wait().await;
            queue.account.restore(&left.rates, queue.shared.now_ms());
            naming::settled(&queue, &naming).await;
            queue
        };
        let stop = target.stop.clone();
        let queue = self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                queue = may_begin => supervised(queue, "queue", queue::run).await,
            }
        });
        let (of, targets) = (target.clone(), self.targets.clone());
        self.tasks.spawn(async move {
            for task in [check, completion, verify, queue] {
                // A task that broke off is over as well.
                let _ = task.await;
            }
            // Nothing more is reported of this target, so without a successor its state is forgotten.
            if !targets.load().has(&of.key) {
                of.shared.observer.gone(&of.key);
            }
        });
        target
    }

    /// Sets the rates of all accounts. CDNs that share an account together obey the strictest of their rates.
    fn set_rates(&self, config: &Config) {
        let mut all: HashMap<&str, Rates> = HashMap::new();
        for cdn in config.sites.iter().flat_map(|site| &site.cdns) {
            let rates = match all.remove(cdn.account.as_str()) {
                Some(known) => rates(cdn).strictest(known),
                None => rates(cdn),
            };
            all.insert(&cdn.account, rates);
        }
        for (name, rates) in all {
            self.account(name, Rates::default).set_rates(rates);
        }
    }

    pub(super) fn account(&self, name: &str, rates: impl FnOnce() -> Rates) -> Arc<Account> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let account = accounts.entry(name.to_owned());
        let new = || {
            let account = Account::new(name, rates());
            if self.shares_accounts {
                account.ownership.close();
            }
            Arc::new(account)
        };
        account.or_insert_with(new).clone()
    }

    /// Wakes the CDNs of `site`, because something new is pending.
    pub fn wake(&self, site: &str) {
        self.of(site).iter().for_each(|target| target.wake.notify_one());
    }

    /// Sends what waits for a retry at this CDN now, as far as its account's rate allows. The store has already
    /// made it due.
    pub fn hurry(&self, site: &str, cdn: &str) {
        for target in self.of(site).iter().filter(|target| target.key.cdn == cdn) {
            target.pace.release();
            target.account.break_silence();
            target.wake.notify_one();
        }
    }

    /// Charges `calls` calls that were made to this CDN elsewhere. With `probe`, one of them purged an unused tag.
    pub fn called(&self, site: &str, cdn: &str, calls: u64, probe: bool) {
        let load = Load { calls, items: [0, u64::from(probe), 0, 0] };
        let targets = self.of(site);
        targets.iter().filter(|target| target.key.cdn == cdn).for_each(|target| target.account.take(&load));
    }

    /// Returns the state of each CDN of `site` in configured order, as of the last second.
    pub fn status(&self, site: &str) -> Vec<CdnStatus> {
        let now_ms = self.shared.now_ms();
        let status = |target: &Arc<Target>| {
            let (reasons, queue) = target.state();
            let oldest = queue.as_ref().and_then(|queue| queue.oldest_due_ms);
            CdnStatus {
                name: target.key.cdn.clone(),
                cdn_type: target.cdn_type,
                healthy: reasons.is_empty(),
                reasons,
                pending: queue.as_ref().map_or(0, |queue| queue.pending),
                oldest_pending_seconds: oldest.map(|due| age(due, now_ms).as_secs()),
                paused: queue.is_some_and(|queue| queue.paused.is_some()),
            }
        };
        self.of(site).iter().map(status).collect()
    }

    /// Returns why the store does not work, in words; `None` while it works.
    pub fn store_failure(&self) -> Option<String> {
        self.shared.store_health.failure()
    }

    /// Returns the jobs for CDNs that their site no longer has.
    pub fn orphans(&self) -> Vec<Orphan> {
        self.shared.orphans()
    }

    /// Returns the queues that the latest configuration moved, as soon as the store has its names.
    pub fn moved(&self) -> impl Future<Output = Arc<[Moved]>> + use<> {
        let naming = self.naming.clone();
        async move { naming.known(naming.latest()).await }
    }

    /// Completes when the state that the previous run left has been taken over.
    pub fn taken_over(&self) -> impl Future<Output = ()> + use<> {
        let left = self.left.clone();
        async move {
            left.wait().await;
        }
    }

    /// Changes whenever a purge may have made progress or a CDN's health changed. A caller that waits for either
    /// then checks again.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// Begins nothing new, waits for the calls in flight (about a minute at most), and gives back what was
    /// claimed. Afterwards no CDN counts as healthy.
    pub async fn stop(&self) {
        self.shared.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.targets.load().all.iter().for_each(|target| target.retire());
    }

    fn of(&self, site: &str) -> Vec<Arc<Target>> {
        self.targets.load().of_site(site).to_vec()
    }

    /// Starts a task that ends with the engine.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.shared.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }
}

/// Runs a task until it ends on its own, and restarts it after a panic. A defect must not stop a CDN's purges for
/// good.
async fn supervised<F>(target: Arc<Target>, name: &'static str, run: fn(Arc<Target>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    while let Err(error) = tokio::spawn(run(target.clone())).await {
        let (site, cdn) = (&target.key.site, &target.key.cdn);
        tracing::error!(site, cdn, task = name, %error, "a task panicked and is restarted");
        if target.stop.is_cancelled() {
            return;
        }
        sleep(Duration::from_secs(1)).await;
    }
}
