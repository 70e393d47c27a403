//! Starts, watches and stops the tasks of every CDN.

use super::account::Account;
use super::target::{Shared, Target};
use super::{Clock, Observer, Transport, backoff, check, milliseconds, queue};
use crate::cdn::{Adapter, Rates, rates};
use crate::config::{Cdn, Config};
use crate::rewrite::CdnType;
use crate::store::{Left, QueueStatus, Store};
use crate::view::PurgeHealthView;
use serde::Serialize;
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

/// Between two looks at the queues.
pub(super) const WATCH: Duration = Duration::from_secs(1);
/// Between two proofs that the store commits.
const PROBE: Duration = Duration::from_secs(10);
/// Between two removals of old purges.
const SWEEP: Duration = Duration::from_secs(3_600);

/// Makes the adapter of a configured CDN.
pub type MakeAdapter = Box<dyn Fn(&Cdn) -> Arc<dyn Adapter> + Send>;

/// What the engine works with.
pub struct Parts {
    /// Where purges are kept.
    pub store: Arc<dyn Store>,
    /// What sends calls.
    pub transport: Arc<dyn Transport>,
    /// Makes the adapter of a configured CDN.
    pub adapter: MakeAdapter,
    /// Where the proxy reads which CDN is healthy.
    pub view: Arc<PurgeHealthView>,
    /// What hears of everything.
    pub observer: Arc<dyn Observer>,
    /// What tells the time.
    pub clock: Clock,
}

/// The workers of all CDNs.
pub struct Engine {
    targets: Vec<Arc<Target>>,
    shared: Arc<Shared>,
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
        let shared = Arc::new(Shared::new(parts.store, parts.transport, parts.observer, parts.clock));
        let accounts = accounts(config);
        let cdns = config.sites.iter().flat_map(|site| site.cdns.iter().map(move |cdn| (site, cdn)));
        let targets = cdns.map(|(site, cdn)| {
            let cell = parts.view.cell(&site.name, &cdn.name);
            let account = accounts[&cdn.account].clone();
            Arc::new(Target::new(site, cdn, (parts.adapter)(cdn), account, cell, shared.clone()))
        });
        let engine = Self { targets: targets.collect(), shared, tasks: TaskTracker::new() };
        for target in &engine.targets {
            engine.supervise(target, "check", check::run);
        }
        engine.spawn(watch_queues(engine.shared.clone(), engine.targets.clone()));
        engine.spawn(probe(engine.shared.clone(), engine.targets.clone()));
        engine.spawn(sweep(engine.shared.clone(), milliseconds(config.store.retention)));
        engine.start_queues();
        engine
    }

    /// There is something new for the CDNs of `site`.
    pub fn wake(&self, site: &str) {
        for target in self.of(site) {
            target.wake.notify_one();
        }
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
        self.of(site).map(status).collect()
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
        for target in &self.targets {
            target.retire();
        }
    }

    fn of(&self, site: &str) -> impl Iterator<Item = &Arc<Target>> {
        self.targets.iter().filter(move |target| target.key.site == site)
    }

    /// The queues start when the leases of the former run are released.
    fn start_queues(&self) {
        let (shared, targets, tasks) = (self.shared.clone(), self.targets.clone(), self.tasks.clone());
        self.spawn(async move {
            let mut failures = 0;
            loop {
                let left = shared.store.take_over().await;
                shared.written(&left);
                match left {
                    Ok(left) => {
                        take_over(&targets, &left, shared.now_ms());
                        break;
                    }
                    Err(_) => {
                        failures += 1;
                        sleep(backoff(failures, fastrand::f64())).await;
                    }
                }
            }
            for target in targets {
                tasks.spawn(supervised(target, "queue", queue::run));
            }
        });
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

    fn supervise<F>(&self, target: &Arc<Target>, name: &'static str, run: fn(Arc<Target>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(supervised(target.clone(), name, run));
    }
}

/// The accounts by name: CDNs that share one keep together to the strictest of their rates.
fn accounts(config: &Config) -> HashMap<String, Arc<Account>> {
    let mut all: HashMap<&str, Rates> = HashMap::new();
    for cdn in config.sites.iter().flat_map(|site| &site.cdns) {
        let rates = match all.remove(cdn.account.as_str()) {
            Some(known) => known.strictest(rates(cdn)),
            None => rates(cdn),
        };
        all.insert(&cdn.account, rates);
    }
    all.into_iter().map(|(name, rates)| (name.to_owned(), Arc::new(Account::new(name, rates)))).collect()
}

/// Goes on with what a former run left.
fn take_over(targets: &[Arc<Target>], left: &Left, now_ms: i64) {
    if left.leases > 0 {
        tracing::info!(leases = left.leases, "going on with what a former run had begun");
    }
    for target in targets {
        target.account.restore(&left.rates, now_ms);
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
        if target.shared.stop.is_cancelled() {
            return;
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// Keeps every CDN's health up to date with its queue.
async fn watch_queues(shared: Arc<Shared>, targets: Vec<Arc<Target>>) {
    let mut told = false;
    loop {
        let status = shared.store.status().await;
        shared.read(&status);
        let now_ms = shared.now_ms();
        match status {
            Ok(status) => {
                let mut queues: HashMap<_, _> =
                    status.into_iter().map(|queue| (queue.key.clone(), queue)).collect();
                for target in &targets {
                    let queue = queues.remove(&target.key);
                    let queue = queue.unwrap_or_else(|| QueueStatus::empty(target.key.clone()));
                    let oldest = queue.oldest_due_ms.map_or(Duration::ZERO, |due| age(due, now_ms));
                    shared.observer.queue(&target.key, queue.jobs, oldest);
                    target.report(|health| health.queued(queue, now_ms));
                }
                if !told {
                    queues.values().for_each(tell_orphan);
                    told = true;
                }
            }
            Err(_) => targets.iter().for_each(|target| target.report(|_| {})),
        }
        sleep(WATCH).await;
    }
}

/// Purges of a CDN that is no longer configured wait for ever; someone should know.
fn tell_orphan(queue: &QueueStatus) {
    if queue.jobs > 0 {
        let (site, cdn) = (&queue.key.site, &queue.key.cdn);
        tracing::warn!(site, cdn, jobs = queue.jobs, "purges wait for a CDN that is not configured");
    }
}

/// Proves every few seconds that the store commits: a purge that could not be accepted could not be sent either.
async fn probe(shared: Arc<Shared>, targets: Vec<Arc<Target>>) {
    loop {
        let probed = shared.store.probe(shared.now_ms()).await;
        shared.written(&probed);
        for target in &targets {
            target.report(|_| {});
        }
        sleep(if probed.is_ok() { PROBE } else { WATCH }).await;
    }
}

/// Removes purges that ended longer ago than `retention_ms`.
async fn sweep(shared: Arc<Shared>, retention_ms: i64) {
    loop {
        let now_ms = shared.now_ms();
        let swept = shared.store.sweep(now_ms.saturating_sub(retention_ms), now_ms).await;
        shared.written(&swept);
        // A part at a time, so that purges are accepted in between.
        if swept.is_ok_and(|purges| purges > 0) {
            continue;
        }
        sleep(SWEEP).await;
    }
}

fn age(due_ms: i64, now_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(now_ms.saturating_sub(due_ms)).unwrap_or_default())
}
