//! A CDN that is only a closure, an engine on a paused clock, and a store in memory. Nothing here takes real time.

use crate::cdn::{
    Adapter, Batch, Capabilities, Classified, Completion, Identity, Item, ItemKind, Progress, RequestError,
    SignContext, Verdict,
};
use crate::config::{Admin, Config, Server, Site};
use crate::delivery::*;
use crate::purge::{PurgeRequest, plan, testing};
use crate::rewrite::CdnType;
use crate::store::{CdnKey, Claim, NewPurge, PurgeView, SqliteStore, Store, StoreHealth, Watched};
use crate::view::PurgeHealthView;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;
use tokio::time::{Instant, sleep};

/// A call as the CDN received it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Received {
    /// Milliseconds since the start of the test.
    pub(super) at_ms: u64,
    pub(super) reference: String,
    pub(super) items: Vec<String>,
    /// The index of the node, if there are several.
    pub(super) node: usize,
    /// The service that the call was made for.
    pub(super) service: String,
}

/// The CDN's reply: a status and perhaps `Retry-After` in seconds, or no reply.
pub(super) type Answer = Option<(u16, Option<u64>)>;

pub(super) const OK: Answer = Some((200, None));
/// Refuses the call because the signature's time does not match the CDN's clock.
const LATE: Answer = Some((498, None));
/// Accepts all but the first item of the call.
pub(super) const NOT_THE_FIRST: Answer = Some((207, None));

type Behaviour = dyn Fn(&FakeCdn, &Received) -> Answer + Send + Sync;

/// A CDN whose behaviour each test defines.
pub(super) struct FakeCdn {
    pub(super) began: Instant,
    pub(super) nodes: usize,
    pub(super) received: Mutex<Vec<Received>>,
    pub(super) checks: Mutex<Vec<u64>>,
    statuses: Mutex<Vec<Option<u16>>>,
    /// The milliseconds by which the CDN's clock is ahead of ours. The CDN refuses signatures that are more than
    /// 30 s off.
    pub(super) skew_ms: i64,
    /// The time after the first question about a work until the work is complete; `None` completes calls at once.
    pub(super) completes_after: Option<Duration>,
    /// The works asked about and when, in milliseconds since the start of the test.
    pub(super) asked: Mutex<Vec<(String, u64)>>,
    answer: Box<Behaviour>,
    check: Box<dyn Fn(&FakeCdn) -> Answer + Send + Sync>,
    /// The duration of every call.
    pub(super) latency: Duration,
}

impl FakeCdn {
    pub(super) fn new(answer: impl Fn(&FakeCdn, &Received) -> Answer + Send + Sync + 'static) -> Self {
        Self {
            began: Instant::now(),
            nodes: 1,
            received: Mutex::default(),
            checks: Mutex::default(),
            statuses: Mutex::default(),
            skew_ms: 0,
            completes_after: None,
            asked: Mutex::default(),
            answer: Box::new(answer),
            check: Box::new(|_| OK),
            latency: Duration::from_millis(100),
        }
    }

    pub(super) fn with_check(mut self, check: impl Fn(&FakeCdn) -> Answer + Send + Sync + 'static) -> Self {
        self.check = Box::new(check);
        self
    }

    pub(super) fn elapsed_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    pub(super) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// Returns the status of the reply to each call.
    pub(super) fn statuses(&self) -> Vec<Option<u16>> {
        self.statuses.lock().unwrap().clone()
    }

    /// Returns the items of each call.
    pub(super) fn calls(&self) -> Vec<String> {
        self.received().iter().map(|call| call.items.join(" ")).collect()
    }
}

impl Transport for FakeCdn {
    fn send(&self, request: http::Request<Bytes>) -> Sending<'_> {
        Box::pin(async move {
            let at_ms = self.elapsed_ms();
            let clock_ms = START + at_ms as i64 + self.skew_ms;
            let signed_ms: i64 = request.headers()["x-signed"].to_str().unwrap().parse().unwrap();
            let is_in_time = (signed_ms - clock_ms).abs() <= 30_000;
            let answer = if let Some(work) = request.uri().path().strip_prefix("/work/") {
                let mut asked = self.asked.lock().unwrap();
                asked.push((work.to_owned(), at_ms));
                let first = asked.iter().find(|(name, _)| name == work).unwrap().1;
                let after = self.completes_after.unwrap().as_millis() as u64;
                Some((if at_ms - first < after { 202 } else { 200 }, None))
            } else if request.uri().path() == "/check" {
                self.checks.lock().unwrap().push(at_ms);
                if is_in_time { (self.check)(self) } else { LATE }
            } else {
                let (reference, items): (String, Vec<String>) =
                    serde_json::from_slice(request.body()).unwrap();
                let node = request.uri().path()[1..].parse().unwrap();
                let service = request.headers()["x-service"].to_str().unwrap().to_owned();
                let received = Received { at_ms, reference, items, node, service };
                self.received.lock().unwrap().push(received.clone());
                let answer = if is_in_time { (self.answer)(self, &received) } else { LATE };
                self.statuses.lock().unwrap().push(answer.map(|(status, _)| status));
                answer
            };
            sleep(self.latency).await;
            let (status, after) = answer.ok_or_else(|| Unreachable("no connection to the CDN".into()))?;
            let mut headers = http::HeaderMap::new();
            headers.insert("x-number", self.received().len().into());
            let date = SystemTime::UNIX_EPOCH + Duration::from_millis(clock_ms as u64);
            headers.insert("date", httpdate::fmt_http_date(date).parse().unwrap());
            headers.extend(after.map(|after| (http::header::RETRY_AFTER, after.into())));
            Ok(Reply { status: http::StatusCode::from_u16(status).unwrap(), headers, body: Bytes::new() })
        })
    }
}

/// An adapter that writes calls for [`FakeCdn`] and judges replies by their status.
#[derive(Debug)]
struct FakeAdapter {
    nodes: usize,
    completes: bool,
    capabilities: Capabilities,
    service: String,
}

impl Adapter for FakeAdapter {
    fn cdn_type(&self) -> CdnType {
        CdnType::Fastly
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn requests(&self, batch: &Batch, sign: &SignContext) -> Result<Vec<http::Request<Bytes>>, RequestError> {
        let items: Vec<_> = batch.items.iter().map(|item| &item.value).collect();
        let body = Bytes::from(serde_json::to_vec(&(&batch.reference, items)).unwrap());
        let signed = || signed(sign).header("x-service", &self.service);
        let call = |node| Ok(signed().uri(format!("http://cdn.test/{node}")).body(body.clone())?);
        (0..self.nodes).map(call).collect()
    }

    fn classify(&self, reply: &Reply) -> Classified {
        let after = reply.headers.get("retry-after").and_then(|after| after.to_str().ok()?.parse().ok());
        let verdict = match reply.status.as_u16() {
            200 => Verdict::Done,
            299 => Verdict::Unproven,
            207 => Verdict::Partial(vec![0]),
            498 => Verdict::Resign,
            400 | 413 => Verdict::Split,
            401 => Verdict::BadCredentials,
            404 => Verdict::Refused,
            _ => Verdict::Later(after.map(Duration::from_secs)),
        };
        let request_id = Some("id".into());
        Classified { verdict, request_id, message: format!("the CDN says {}", reply.status.as_u16()) }
    }

    /// Replaces `~x` by `wide-x`.
    fn broader(&self, refused: &Item) -> Option<Item> {
        let value = refused.value.strip_prefix('~').map(|rest| format!("wide-{rest}"))?;
        Some(Item { kind: ItemKind::Url, value, ..refused.clone() })
    }

    fn completion(&self) -> Option<&dyn Completion> {
        self.completes.then_some(self as &dyn Completion)
    }

    fn check_requests(&self, sign: &SignContext) -> Result<Vec<http::Request<Bytes>>, RequestError> {
        Ok(vec![signed(sign).uri("http://cdn.test/check").body(Bytes::new())?])
    }

    fn classify_check(&self, replies: &[Reply]) -> Classified {
        self.classify(&replies[0])
    }
}

/// Builds a request that carries the time in place of a signature.
fn signed(sign: &SignContext) -> http::request::Builder {
    http::Request::builder().header("x-signed", sign.now_ms)
}

impl Completion for FakeAdapter {
    fn work(&self, reply: &Reply) -> Option<String> {
        Some(format!("work-{}", reply.headers["x-number"].to_str().unwrap()))
    }

    fn ask(&self, work: &str, sign: &SignContext) -> Result<http::Request<Bytes>, RequestError> {
        Ok(signed(sign).uri(format!("http://cdn.test/work/{work}")).body(Bytes::new())?)
    }

    fn progress(&self, reply: &Reply) -> Progress {
        match reply.status.as_u16() {
            200 => Progress::Complete,
            202 => Progress::UnderWay,
            _ => Progress::Unknown,
        }
    }
}

/// A site with one CDN, its store, and perhaps an engine.
pub(super) struct Shim {
    pub(super) config: Config,
    pub(super) store: Arc<SqliteStore>,
    pub(super) cdn: Arc<FakeCdn>,
    pub(super) view: Arc<PurgeHealthView>,
    /// The milliseconds by which the machine's clock was set ahead.
    pub(super) ahead_ms: Arc<AtomicI64>,
}

/// The start of the tests' clock, in milliseconds since the epoch.
pub(super) const START: i64 = 1_700_000_000_000;

impl Shim {
    pub(super) fn new(cdn: FakeCdn) -> Self {
        Self::with_site(cdn, testing::site(&[CdnType::Fastly]))
    }

    pub(super) fn with_site(cdn: FakeCdn, site: Site) -> Self {
        // Backoff delays are random. A fixed seed makes every run of a test the same.
        fastrand::seed(7);
        let store = Arc::new(SqliteStore::in_memory().unwrap());
        Self {
            config: config(site),
            store,
            cdn: Arc::new(cdn),
            view: Arc::default(),
            ahead_ms: Arc::default(),
        }
    }

    pub(super) fn start(&self) -> Engine {
        self.start_watched().0
    }

    /// Starts an engine and returns the store as everything else uses it.
    pub(super) fn start_watched(&self) -> (Engine, Arc<dyn Store>) {
        let (began, nodes, completes) = (self.cdn.began, self.cdn.nodes, self.cdn.completes_after.is_some());
        let store_health = Arc::new(StoreHealth::default());
        let store: Arc<dyn Store> = Arc::new(Watched::new(self.store.clone(), store_health.clone()));
        let parts = Parts {
            store: store.clone(),
            store_health,
            left: None,
            transport: self.cdn.clone(),
            adapter: Box::new(move |cdn| {
                let (capabilities, service) = (testing::capabilities(cdn), Identity::of(cdn).to_string());
                Arc::new(FakeAdapter { nodes, completes, capabilities, service })
            }),
            view: self.view.clone(),
            observer: Arc::new(()),
            wall: {
                let ahead_ms = self.ahead_ms.clone();
                Arc::new(move || {
                    START + began.elapsed().as_millis() as i64 + ahead_ms.load(Ordering::Relaxed)
                })
            },
            boot: Arc::new(|| None),
            shares_accounts: false,
            steady: Arc::new(move || START + began.elapsed().as_millis() as i64),
        };
        (Engine::start(&self.config, parts), store)
    }

    pub(super) fn now_ms(&self) -> i64 {
        START + self.cdn.elapsed_ms() as i64
    }

    /// Accepts a purge of tags, as the admin API does.
    pub(super) async fn accept(&self, id: &str, tags: &[&str]) {
        self.accept_at(id, tags, self.now_ms()).await;
    }

    pub(super) async fn accept_at(&self, id: &str, tags: &[&str], now_ms: i64) {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        self.accept_request(0, id, PurgeRequest { tags, ..Default::default() }, now_ms).await;
    }

    /// Accepts a purge of tags for another site.
    pub(super) async fn accept_for(&self, site: usize, id: &str, tags: &[String]) {
        let request = PurgeRequest { tags: tags.to_vec(), ..Default::default() };
        self.accept_request(site, id, request, self.now_ms()).await;
    }

    pub(super) async fn accept_request(&self, site: usize, id: &str, request: PurgeRequest, now_ms: i64) {
        let site = &self.config.sites[site];
        let jobs = plan(site, &testing::capabilities, &request).unwrap();
        let purge = NewPurge {
            id: id.into(),
            site: site.name.clone(),
            request,
            caller: "cms".into(),
            now_ms,
            since_ms: now_ms,
            due_ms: now_ms,
            jobs,
            idempotency: None,
            follow_ups: Default::default(),
        };
        self.store.enqueue(purge).await.unwrap();
    }

    /// Claims what is due, as another process would.
    pub(super) async fn claim(&self, now_ms: i64) {
        let key = CdnKey { site: "www".into(), cdn: "fastly".into() };
        let claim = Claim::of(key, now_ms, now_ms + 120_000, 10);
        assert!(!self.store.claim(claim).await.unwrap().sends.is_empty());
    }

    pub(super) async fn purge(&self, id: &str) -> PurgeView {
        self.store.get(id.into()).await.unwrap().unwrap()
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.view.cell("www", "fastly").is_healthy()
    }

    pub(super) async fn until_state(&self, id: &str, state: State) {
        until(async || self.purge(id).await.state == state).await;
    }

    pub(super) async fn until_healthy(&self, healthy: bool) {
        until(async || self.is_healthy() == healthy).await;
    }

    /// Returns the outcomes of the only job's attempts.
    pub(super) async fn outcomes(&self, id: &str) -> Vec<String> {
        let job = self.purge(id).await.jobs.remove(0);
        job.attempts.into_iter().map(|(attempt, _)| attempt.outcome).collect()
    }
}

pub(super) use crate::purge::State;

/// Waits until `condition` holds. The paused clock advances whenever no task can run.
pub(super) async fn until(condition: impl AsyncFn() -> bool) {
    for _ in 0..100_000 {
        if condition().await {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("this never happens");
}

pub(super) async fn seconds(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

fn config(site: Site) -> Config {
    Config {
        server: Server::default(),
        admin: Admin { listen: ([127, 0, 0, 1], 0).into(), hosts: vec![], tokens: vec![] },
        store: crate::config::Store {
            path: None,
            database: None,
            retention: Duration::from_secs(14 * 86_400),
        },
        fleet: crate::config::Fleet::default(),
        inbound: Vec::new(),
        log: crate::config::Log::default(),
        sites: vec![Arc::new(site)],
    }
}
