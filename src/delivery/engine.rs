//! Starts, watches and stops the tasks of every CDN.

use super::account::{Account, Load};
use super::naming;
use super::naming::Naming;
use super::orphans::Orphan;
use super::take_over;
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

/// Between the first checks of two CDNs: those of ten thousand sites must not be all that the control plane does.
const BETWEEN_CHECKS: Duration = Duration::from_millis(1);

/// Makes the adapter of a configured CDN.
pub type MakeAdapter = Box<dyn Fn(&Cdn) -> Arc<dyn Adapter> + Send + Sync>;

/// What the engine works with.
pub struct Parts {
    /// Where purges are kept.
    pub store: Arc<dyn Store>,
    /// Whether that works.
    pub store_health: Arc<StoreHealth>,
    /// What the former run left, if it has been taken over.
    pub left: Option<Left>,
    /// What sends calls.
    pub transport: Arc<dyn Transport>,
    /// Makes the adapter of a configured CDN.
    pub adapter: MakeAdapter,
    /// Where the proxy reads which CDN is healthy.
    pub view: Arc<PurgeHealthView>,
    /// What hears of everything.
    pub observer: Arc<dyn Observer>,
    /// The machine's clock, for what people are shown and CDNs are told.
    pub wall: TellTime,
    /// The steady clock, by which everything waits ([`crate::guard::Clock::steady_ms`]).
    pub steady: TellTime,
    /// What tells which run of the machine this is.
    pub boot: TellBoot,
}

/// The workers of all CDNs.
pub struct Engine {
    /// Those of today; a reload replaces some.
    targets: Arc<ArcSwap<Targets>>,
    shared: Arc<Shared>,
    adapter: MakeAdapter,
    view: Arc<PurgeHealthView>,
    accounts: Mutex<HashMap<String, Arc<Account>>>,
    /// What the former run left, once it has been taken over.
    left: Arc<SetOnce<Left>>,
    naming: Arc<Naming>,
    tasks: TaskTracker,
}

/// How one CDN stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CdnStatus {
    /// Its name within the site.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub cdn_type: CdnType,
    /// Whether purges are known to get through in time, so that its responses get their long TTL.
    pub healthy: bool,
    /// Why not, in words; no secret.
    pub reasons: Vec<String>,
    /// Items that it has not accepted yet.
    pub pending: u64,
    /// Since when the oldest job is due.
    pub oldest_pending_seconds: Option<u64>,
    /// Nothing is sent to it.
    pub paused: bool,
}

impl Engine {
    /// Starts the workers on the current tokio runtime. They go on with what a former run left, so a former engine on the
    /// same store is stopped first. Until a CDN's credentials are checked and its queue is read, it is not healthy.
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
        };
        // Only as long as the engine lives: it has the store, and that has whom it tells.
        let targets = Arc::downgrade(&engine.targets);
        // At once, not at the next look: the next response may be kept for days.
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
            // Not before it is known when the former run ended.
            left.wait().await;
            look_after::probe(shared, targets).await;
        });
        engine.spawn(look_after::sweep(engine.shared.clone(), milliseconds(config.store.retention)));
        engine
    }

    /// Goes on with another configuration. CDNs that it leaves as they are keep their health; of the others the calls under
    /// way end, and the rest goes through the new settings. To be called on the runtime of the engine.
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
        // Before their successors begin, since both have one cell of the proxy's view.
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
            // Only then are the moments of the former run those of this one's clock.
            left.wait().await;
            verify::take_up(shared, begun).await;
        });
    }

    /// Starts the tasks of a CDN, which checks its credentials after a while.
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
                // One that broke off is over, too.
                let _ = task.await;
            }
            // Nothing more is heard of it; unless it has a successor, what was is forgotten.
            if !targets.load().has(&of.key) {
                of.shared.observer.gone(&of.key);
            }
        });
        target
    }

    /// CDNs that share an account keep together to the strictest of their rates.
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

    fn account(&self, name: &str, rates: impl FnOnce() -> Rates) -> Arc<Account> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let account = accounts.entry(name.to_owned());
        account.or_insert_with(|| Arc::new(Account::new(name, rates()))).clone()
    }

    /// There is something new for the CDNs of `site`.
    pub fn wake(&self, site: &str) {
        self.of(site).iter().for_each(|target| target.wake.notify_one());
    }

    /// What waits for another try at this CDN is sent now, as far as its account's rate allows; the store has made it due.
    pub fn hurry(&self, site: &str, cdn: &str) {
        for target in self.of(site).iter().filter(|target| target.key.cdn == cdn) {
            target.pace.release();
            target.account.break_silence();
            target.wake.notify_one();
        }
    }

    /// Somebody else called this CDN so often; with `probe` one of the calls was the purge of an unused tag.
    pub fn called(&self, site: &str, cdn: &str, calls: u64, probe: bool) {
        let load = Load { calls, items: [0, u64::from(probe), 0, 0] };
        let targets = self.of(site);
        targets.iter().filter(|target| target.key.cdn == cdn).for_each(|target| target.account.take(&load));
    }

    /// How each CDN of `site` stands, in their order; as of the last second.
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

    /// Why the store does not work, in words; none while it does.
    pub fn store_failure(&self) -> Option<String> {
        self.shared.store_health.failure()
    }

    /// What waits for CDNs that the site has no more.
    pub fn orphans(&self) -> Vec<Orphan> {
        self.shared.orphans()
    }

    /// What the latest configuration moved, once the store knows of it.
    pub fn moved(&self) -> impl Future<Output = Arc<[Moved]>> + use<> {
        let naming = self.naming.clone();
        async move { naming.known(naming.latest()).await }
    }

    /// Ends when what the former run left has been taken over.
    pub fn taken_over(&self) -> impl Future<Output = ()> + use<> {
        let left = self.left.clone();
        async move {
            left.wait().await;
        }
    }

    /// Changes whenever a purge may have moved on, or a CDN's health did: whoever waits for one looks again.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// Begins nothing new, waits for the calls that are under way (about a minute at most), and gives back what was claimed.
    /// After this no CDN counts as healthy.
    pub async fn stop(&self) {
        self.shared.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.targets.load().all.iter().for_each(|target| target.retire());
    }

    fn of(&self, site: &str) -> Vec<Arc<Target>> {
        self.targets.load().of_site(site).to_vec()
    }

    /// A task that ends with the engine.
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

/// Runs a task until it ends by itself. A defect in it must not stop a CDN's purges for good.
async fn supervised<F>(target: Arc<Target>, name: &'static str, run: fn(Arc<Target>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    while let Err(error) = tokio::spawn(run(target.clone())).await {
        let (site, cdn) = (&target.key.site, &target.key.cdn);
        tracing::error!(site, cdn, task = name, %error, "a task broke off and is started again");
        if target.stop.is_cancelled() {
            return;
        }
        sleep(Duration::from_secs(1)).await;
    }
}
