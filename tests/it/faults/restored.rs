//! A store that was restored from a backup lacks the purges accepted after the backup, so everything is purged.

use crate::harness::fake_cdn::{FakeCdn, Fastly};
use crate::harness::http::Request;
use crate::harness::shim::Shim;
use crate::harness::site::Site;
use crate::harness::{eventually, origin};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

struct World {
    shim: Shim,
    fastly: FakeCdn<Fastly>,
}

impl World {
    fn start() -> Self {
        let origin = origin::serve(|mut exchange| exchange.answer(200, &[], "a page"));
        let fastly = FakeCdn::start(Fastly::default());
        let shim = Shim::start(Site::www(origin).default_site().cdn(&fastly.settings()));
        shim.wait_until_healthy();
        Self { shim, fastly }
    }

    fn store(&self) -> PathBuf {
        self.shim.config.with_file_name("store.db")
    }

    fn purge(&self, tag: &str) {
        let id = self.shim.accept(&json!({ "tags": [tag] }));
        eventually("it is done", || (self.shim.look_up(&id)["state"] == "done").then_some(()));
    }

    /// Stops the shim and starts it again. `meanwhile` changes its files in between.
    fn restart(&mut self, meanwhile: impl FnOnce(&Self)) {
        self.shim.stop();
        self.shim.wait_until_ended();
        let log = self.store().with_file_name("store.db-wal");
        assert!(
            !log.exists(),
            "a store that was closed is one file, or a copy of it would miss what the log holds"
        );
        meanwhile(self);
        self.shim.start_again();
    }

    /// Returns the purges that the shim requested by itself.
    fn own(&self) -> Vec<Value> {
        let list =
            || self.shim.call(Request::get("/v1/purges?limit=100")).json()["purges"].as_array().cloned();
        // The list is available only after the store is open.
        let mut purges = eventually("purges are listed", list);
        purges.retain(|purge| purge["reason"].as_str().is_some_and(|why| why.contains("restored")));
        purges
    }

    fn times_everything_was_purged(&self) -> usize {
        self.fastly.purged().iter().filter(|purged| purged.name == "site-www").count()
    }
}

fn copy(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap();
}

#[test]
fn what_a_backup_does_not_know_is_made_up_for_once() {
    let mut world = World::start();
    world.purge("before");
    let backup = world.store().with_extension("backup");
    world.restart(|world| copy(&world.store(), &backup));
    assert!(world.own().is_empty(), "nothing was lost");
    world.purge("after");

    world.restart(|world| copy(&backup, &world.store()));
    let own = eventually("everything is purged", || {
        Some(world.own()).filter(|own| own.iter().any(|purge| purge["state"] == "done"))
    });
    assert_eq!(own.len(), 1);
    // A purge of everything is repeated, because Fastly advises this.
    let times =
        eventually("and at the CDN", || Some(world.times_everything_was_purged()).filter(|times| *times > 0));
    assert!(times <= 2);
    let log = String::from_utf8_lossy(&world.shim.written()).into_owned();
    assert!(log.contains("everything is purged at all sites"), "{log}");

    world.purge("later");
    world.restart(|_| ());
    world.purge("last");
    assert_eq!(world.own().len(), 1, "once");
}

#[test]
fn another_store_in_its_place_is_no_better() {
    let mut world = World::start();
    world.purge("before");
    world.restart(|world| fs::remove_file(world.store()).unwrap());
    eventually("everything is purged", || {
        world.own().iter().any(|purge| purge["state"] == "done").then_some(())
    });
    world.restart(|_| ());
    assert_eq!(world.own().len(), 1, "once");
}
