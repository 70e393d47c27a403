//! The invariant of copies without our tags: after any sequence of modes, responses, restarts and purges, a purge
//! reaches every copy that it covers and that may still be alive. The proxy's notes, the store and the plans are
//! the real ones; the CDN is a list of copies, and the test controls the time. Quick by default;
//! `ORIGIN_SHIM_LONG=1` runs more.

use crate::admin::{Untagged, fresh};
use crate::cdn::{Item, ItemKind};
use crate::config::{Cdn, Mode, Site};
use crate::guard::Freshness;
use crate::http::head::Headers;
use crate::purge::testing::{capabilities, site};
use crate::purge::{Means, PurgeRequest, plan};
use crate::rewrite::{CdnType, Lifetime, tags};
use crate::store::SqliteStore;
use http::{HeaderValue, StatusCode, header};
use proptest::prelude::*;
use std::sync::Arc;

const SECOND: i64 = 1_000;
const HOUR: i64 = 3_600 * SECOND;
const TYPES: [CdnType; 2] = [CdnType::Varnish, CdnType::Fastly];
const PAGES: [&str; 4] = ["/a", "/a?x=1", "/b", "/blog/c"];

#[derive(Clone, Debug)]
enum Op {
    /// Sends a page to a CDN, with or without a trusted opt-in, and with this lifetime. With `None` the response
    /// has no lifetime of its own.
    Respond {
        cdn: usize,
        page: usize,
        believed: bool,
        seconds: Option<u32>,
    },
    /// Revalidates a CDN's oldest copy of a page, which the origin answers with a bare 304.
    Revalidate {
        cdn: usize,
        page: usize,
    },
    Reload(Mode),
    Pass(i64),
    /// Restarts the shim. Everything that has not been stored by then is lost.
    Crash,
    Purge(usize),
    /// Reports the last purge as done by the CDNs.
    Done,
}

fn op() -> impl Strategy<Value = Op> {
    let seconds = prop::option::of(prop::sample::select(&[1_u32, 60, 600, 86_400, 40_000_000]));
    let page = || 0..PAGES.len();
    let pass = prop::sample::select(&[
        SECOND,
        50 * SECOND,
        61 * SECOND,
        300 * SECOND,
        HOUR,
        25 * HOUR,
        9_000 * HOUR,
    ]);
    let mode = prop_oneof![3 => Just(Mode::On), 1 => Just(Mode::Observe), 1 => Just(Mode::Off)];
    prop_oneof![
        8 => (0..2_usize, page(), prop::bool::weighted(0.3), seconds)
            .prop_map(|(cdn, page, believed, seconds)| Op::Respond { cdn, page, believed, seconds }),
        3 => (0..2_usize, page()).prop_map(|(cdn, page)| Op::Revalidate { cdn, page }),
        1 => mode.prop_map(Op::Reload),
        4 => pass.prop_map(Op::Pass),
        1 => Just(Op::Crash),
        4 => (0..6_usize).prop_map(Op::Purge),
        3 => Just(Op::Done),
    ]
}

struct Copy {
    cdn: usize,
    page: usize,
    tagged: bool,
    /// The end of the copy's life, at most a year away, which is as long as it is remembered.
    until_ms: i64,
    lives_ms: i64,
}

struct World {
    site: Site,
    store: SqliteStore,
    freshness: Arc<Freshness>,
    keeper: Untagged,
    now_ms: i64,
    /// By type: when a response was noted and stored, and its lifetime.
    told: [(i64, i64); 2],
    copies: Vec<Copy>,
    purges: usize,
}

impl World {
    async fn start() -> Self {
        let freshness = Arc::new(Freshness::default());
        let now_ms = freshness.clock.now_ms();
        let mut world = Self {
            site: site(&TYPES),
            store: SqliteStore::in_memory().unwrap(),
            keeper: Untagged::new(freshness.clone()),
            freshness,
            now_ms,
            told: [(0, 0); 2],
            copies: Vec::new(),
            purges: 0,
        };
        world.restart().await;
        world
    }

    async fn restart(&mut self) {
        self.freshness = Arc::new(Freshness::default());
        self.keeper = Untagged::new(self.freshness.clone());
        self.keeper.recall_at(&self.store, self.now_ms).await;
    }

    async fn apply(&mut self, op: &Op) {
        match op {
            Op::Respond { cdn, page, believed, seconds } => {
                self.respond(*cdn, *page, *believed, *seconds).await
            }
            Op::Revalidate { cdn, page } => self.revalidate(*cdn, *page).await,
            Op::Reload(mode) => self.site.mode = *mode,
            Op::Pass(ms) => {
                self.now_ms += ms;
                // Everything so far is stored, which happens each second.
                self.keeper.tell(&self.store).await;
            }
            Op::Crash => self.restart().await,
            Op::Purge(kind) => self.purge(*kind).await,
            Op::Done => {
                // The store may forget its times now, and then the next response is new to it.
                self.told = Default::default();
                for cdn in &self.site.cdns {
                    let purge = self.purges.to_string();
                    self.freshness.purge_all_done("www", &cdn.name, &purge);
                }
            }
        }
    }

    /// Notes a response. It is stored within a second, and a crash in that second may lose it. As long as such
    /// responses are steady, the stored time is ahead, and no crash loses anything.
    async fn note(&mut self, cdn: usize, lifetime: Lifetime, lives_ms: i64) {
        self.freshness.site("www").untagged.note(TYPES[cdn], lifetime, self.now_ms);
        let (told_ms, longest_ms) = self.told[cdn];
        if self.now_ms > told_ms + 60 * SECOND || lives_ms > longest_ms {
            self.keeper.tell(&self.store).await;
            self.told[cdn] = (self.now_ms, lives_ms);
        }
    }

    async fn respond(&mut self, cdn: usize, page: usize, believed: bool, seconds: Option<u32>) {
        let tagged = believed && self.site.mode == Mode::On;
        let default_ms = [120 * SECOND, HOUR][cdn];
        let lives_ms = match seconds {
            _ if tagged => 48 * HOUR,
            Some(seconds) => (i64::from(seconds) * SECOND).min(365 * 24 * HOUR),
            None => default_ms,
        };
        if !tagged {
            let mut headers = Headers::new();
            if let Some(seconds) = seconds {
                let value = HeaderValue::try_from(format!("max-age={seconds}")).unwrap();
                headers.append(&header::CACHE_CONTROL, &value);
            }
            self.note(cdn, Lifetime::of(StatusCode::OK, &headers, |_| false, self.now_ms), lives_ms).await;
        }
        self.copies.retain(|copy| (copy.cdn, copy.page) != (cdn, page));
        self.copies.push(Copy { cdn, page, tagged, until_ms: self.now_ms + lives_ms, lives_ms });
    }

    async fn revalidate(&mut self, cdn: usize, page: usize) {
        let now_ms = self.now_ms;
        let is_it = |copy: &&mut Copy| (copy.cdn, copy.page) == (cdn, page) && !copy.tagged;
        let Some(copy) = self.copies.iter_mut().find(is_it) else { return };
        let lives_ms = copy.lives_ms;
        copy.until_ms = now_ms + lives_ms;
        self.note(cdn, Lifetime::of(StatusCode::NOT_MODIFIED, &Headers::new(), |_| false, now_ms), lives_ms)
            .await;
    }

    async fn purge(&mut self, kind: usize) {
        let json = [
            r#"{"paths": ["/a"]}"#,
            r#"{"paths": ["/b", "/blog/c"]}"#,
            r#"{"urls": ["https://www.example.com/a?x=1"]}"#,
            r#"{"tags": ["product"]}"#,
            r#"{"prefixes": ["/blog/"]}"#,
            r#"{"everything": true}"#,
        ][kind];
        let covered: &[usize] = [&[0, 1][..], &[2, 3], &[1], &[0, 1, 2, 3], &[3], &[0, 1, 2, 3]][kind];
        let request: PurgeRequest = serde_json::from_str(json).unwrap();
        let untagged =
            |cdn: &Cdn| self.freshness.without_tags_at("www", self.site.mode, cdn.dialect.cdn, self.now_ms);
        let means =
            |cdn: &Cdn| Means { can: capabilities(cdn), untagged: untagged(cdn).map(|why| why.to_string()) };
        // If Fastly would need a prefix purge, the request is refused.
        let Ok(jobs) = plan(&self.site, &means, &request) else { return };
        for copy in
            self.copies.iter().filter(|copy| copy.until_ms > self.now_ms && covered.contains(&copy.page))
        {
            let told = !copy.tagged
                && copy.page == 1
                && jobs[copy.cdn].fallback.iter().any(|note| note.contains("a query"));
            let reached = told || jobs[copy.cdn].items.iter().any(|item| copy.is_reached(item));
            let (page, tagged, items) = (PAGES[copy.page], copy.tagged, &jobs[copy.cdn].items);
            assert!(reached, "{json}: {page} (tagged: {tagged}) at {:?}: {items:?}", TYPES[copy.cdn]);
        }
        // This follows the order at acceptance: first the mark is set, then everything that is there by then is
        // removed.
        let (_, awaited) = fresh::guard(&self.freshness, &self.site, &request, &jobs).await;
        self.purges += 1;
        awaited.counts_for("www", &self.purges.to_string(), &jobs);
        self.copies.retain(|copy| !jobs[copy.cdn].items.iter().any(|item| copy.is_reached(item)));
    }
}

impl Copy {
    fn is_reached(&self, item: &Item) -> bool {
        let target = PAGES[self.page];
        let path = target.split('?').next().unwrap();
        match item.kind {
            ItemKind::Everything => true,
            ItemKind::Tag => {
                let own = ["product".to_owned(), tags::site_tag("www"), tags::path_tag("www", path)];
                self.tagged && own.contains(&item.value)
            }
            ItemKind::Prefix => format!("www.example.com{target}").starts_with(&item.value),
            ItemKind::Url => match item.value.strip_suffix('*') {
                Some(start) => target.starts_with(start),
                None => item.value == target || item.value == format!("https://www.example.com{target}"),
            },
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if std::env::var_os("ORIGIN_SHIM_LONG").is_some() { 50_000 } else { 700 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_purge_reaches_every_copy_that_it_covers(ops in prop::collection::vec(op(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut world = World::start().await;
            for op in &ops {
                world.apply(op).await;
            }
        });
    }
}
