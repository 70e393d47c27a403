//! F14: little memory, and a store full of old purges. They are deleted a few at a time, so that the process
//! does not run out of memory.

use super::Cdns;
use crate::harness::http::Request;
use crate::harness::origin::Page;
use crate::harness::process::after;
use crate::harness::shim::Shim;
use crate::harness::{eventually, is_long};
use origin_shim::cdn::{Identity, Item, ItemKind};
use origin_shim::purge::{JobPlan, PurgeRequest};
use origin_shim::rewrite::CdnType;
use origin_shim::store::{NewPurge, SqliteStore, Store};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program's memory limit: enough for its own needs, and not for one large purge at four CDNs at once.
const MEMORY: u64 = 200 << 20;
const TAGS: usize = 50_000;
/// The size below which the store's file must shrink.
const LEFT: u64 = 32 << 20;

/// A control group that limits the memory of its processes.
struct Group(PathBuf);

impl Group {
    /// Makes the group, or returns `None` if this machine supports neither version of control groups or does
    /// not permit it.
    fn new() -> Option<Self> {
        let name = format!("origin-shim-test-{}", std::process::id());
        [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]
            .iter()
            .find_map(|(root, limit)| {
                let group = Self(Path::new(root).join(&name));
                fs::create_dir(&group.0).ok()?;
                fs::write(group.0.join(limit), MEMORY.to_string()).ok()?;
                Some(group)
            })
    }

    /// Wraps `command` so that it runs within the group.
    fn holds(&self, command: &Command) -> Command {
        after(&format!("echo $$ > {}", self.0.join("cgroup.procs").display()), command)
    }

    /// Returns the group's highest memory use, page cache included.
    fn highest(&self) -> Option<u64> {
        let files = ["memory.max_usage_in_bytes", "memory.peak"];
        files.iter().find_map(|file| fs::read_to_string(self.0.join(file)).ok()?.trim().parse().ok())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// A purge of many long tags at four CDNs.
fn large(id: usize) -> NewPurge {
    let item = |tag: usize| Item { kind: ItemKind::Tag, value: format!("{id}-{tag:0>118}"), hard: true };
    let job = |cdn: &str| JobPlan {
        cdn: cdn.to_owned(),
        identity: Identity::default(),
        cdn_type: CdnType::Fastly,
        items: (0..TAGS).map(item).collect(),
        everything: false,
        untagged: false,
        fallback: vec![],
        repeat_after_ms: 0,
    };
    NewPurge {
        id: format!("{id:032}"),
        site: "www".to_owned(),
        request: PurgeRequest::default(),
        caller: "test".to_owned(),
        now_ms: 0,
        since_ms: 0,
        due_ms: 0,
        jobs: ["a", "b", "c", "d"].map(job).into(),
        idempotency: None,
        follow_ups: Default::default(),
    }
}

/// Adds this number of purges that ended long ago to a store.
fn fill(store: &Path, purges: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(store).unwrap();
        for id in 0..purges {
            store.enqueue(large(id)).await.unwrap();
            store.cancel(format!("{id:032}"), 1).await.unwrap();
        }
    });
}

#[test]
fn f14_old_purges_go_within_little_memory() {
    let Some(group) = Group::new() else {
        println!("NOT TESTED: no group of processes with a limit on memory can be made here");
        return;
    };
    let page = Page::default();
    page.set(200, &[("cache-control", "max-age=60")], "page");
    let cdns = Cdns::roomy();
    let mut shim = Shim::start(cdns.site(page.serve(), "", "0s"));
    shim.stop();
    shim.wait_until_ended();
    let store = shim.config.with_file_name("store.db");
    let purges = if is_long() { 20 } else { 2 };
    fill(&store, purges);
    let full = fs::metadata(&store).unwrap().len();

    shim.start_again_as(|command| group.holds(&command));
    shim.wait_until_healthy();
    let mut accepted = 0;
    let left = eventually("what is old has gone", || {
        accepted += usize::from(shim.try_accept(&serde_json::json!({ "tags": ["meanwhile"] })).is_some());
        assert_eq!(Request::get("/").send(shim.address).status, 200);
        let left = fs::metadata(&store).unwrap().len();
        (left < LEFT).then_some(left)
    });
    let highest = group.highest().map_or("unknown".to_owned(), |bytes| format!("{} MiB", bytes >> 20));
    println!(
        "F14: {purges} purges of {TAGS} tags: {} MiB -> {} MiB; {accepted} purges accepted meanwhile; {highest} at most of {} MiB",
        full >> 20,
        left >> 20,
        MEMORY >> 20
    );
    assert!(full > 2 * LEFT && accepted > 0);
    let degraded = shim.call(Request::get("/readyz")).json()["degraded"].clone();
    assert_eq!(degraded, serde_json::json!([]));
}
