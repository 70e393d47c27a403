//! F11: pages of the store are damaged, under a shim that starts and under one that runs.

use super::health::{Row, settled, shim};
use super::{Cdns, Checker, Client, count};
use crate::harness::shim::Shim;
use rusqlite::{Connection, OpenFlags};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PAGE: u64 = 4_096;

/// Returns the pages of each table and index, its root first.
fn pages(store: &Path) -> BTreeMap<String, Vec<i64>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = Connection::open_with_flags(store, flags).unwrap();
    let mut statement =
        connection.prepare("SELECT name, pageno FROM dbstat ORDER BY name, length(path), pageno").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))).unwrap();
    let mut pages: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for (name, page) in rows.map(Result::unwrap) {
        pages.entry(name).or_default().push(page);
    }
    pages
}

/// Changes every byte of the page.
fn flip(store: &Path, page: i64) {
    let file = File::options().read(true).write(true).open(store).unwrap();
    let mut bytes = [0; PAGE as usize];
    let at = (page as u64 - 1) * PAGE;
    file.read_exact_at(&mut bytes, at).unwrap();
    bytes.iter_mut().for_each(|byte| *byte = !*byte);
    file.write_all_at(&bytes, at).unwrap();
}

struct Bench {
    cdns: Cdns,
    shim: Shim,
    store: PathBuf,
    whole: PathBuf,
}

impl Bench {
    /// Starts a shim with some finished purges whose repeats are still to come.
    fn new() -> Self {
        let cdns = Cdns::roomy();
        let mut shim = shim(&cdns, "5m");
        let client = Client::of(&shim);
        client.purges(40);
        Checker::new(&cdns, &client).wait(&shim, Duration::from_secs(60));
        shim.stop();
        shim.wait_until_ended();
        let store = shim.config.with_file_name("store.db");
        let whole = shim.config.with_file_name("whole.db");
        fs::copy(&store, &whole).unwrap();
        Self { cdns, shim, store, whole }
    }

    /// Kills the shim and restores its store.
    fn restore(&mut self) {
        self.shim.kill();
        for ending in ["-wal", "-shm"] {
            // The file may not exist.
            let _ = fs::remove_file(self.shim.config.with_file_name(format!("store.db{ending}")));
        }
        fs::copy(&self.whole, &self.store).unwrap();
    }

    /// Observes the shim, and checks the fate of accepted purges.
    fn watch(&self, name: &str, when: &str) -> Row {
        let client = Client::of(&self.shim);
        let row = Row::watch(&self.shim, &client, 5);
        assert_eq!(row.green_while_refused, 0, "{name}, {when}: {row}");
        assert!(row.refused == 0 || !row.green.1, "{name}, {when}: {row}");
        if row.green.1 {
            // Accepted purges arrive, or the shim does not stay green.
            Checker::new(&self.cdns, &client).wait_while(
                &self.shim,
                Duration::from_secs(60),
                super::health::is_green,
            );
        }
        row
    }
}

#[test]
fn f11_a_damaged_page_is_never_green_while_purges_fail() {
    let mut bench = Bench::new();
    let pages = pages(&bench.whole);
    let (mut rows, mut refusing) = (0, 0);
    for (name, pages) in &pages {
        // The root page, or every page in the long run.
        for page in &pages[..count(1, pages.len())] {
            bench.restore();
            flip(&bench.store, *page);
            bench.shim.start_again();
            let is_green = settled(&bench.shim);
            let row = bench.watch(name, "at the start");
            assert!(is_green || !row.green.1, "{name}: corruption is not forgotten: {row}");
            println!("F11: {name}, page {page}, at the start: {row}");
            (rows, refusing) = (rows + 1, refusing + usize::from(row.refused > 0));
        }
    }
    assert!(rows > 20 && refusing > 5, "{rows} pages, {refusing} of which refused purges");
    println!(
        "F11: {rows} pages of {} tables and indices; with {refusing} of them purges were refused",
        pages.len()
    );
}

#[test]
fn f11_a_page_damaged_meanwhile_is_never_green_while_purges_fail() {
    let mut bench = Bench::new();
    let pages = pages(&bench.whole);
    let tables = ["items", "sends", "jobs", "purges", "accepted", "cdns"];
    let mut refusing = 0;
    for name in &tables[..count(3, tables.len())] {
        bench.restore();
        bench.shim.start_again();
        assert!(settled(&bench.shim), "it starts with a whole store");
        let other = Connection::open(&bench.store).unwrap();
        // The checkpoint makes the shim read the damaged pages, because they are neither in the log nor in its
        // memory.
        other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        pages[*name].iter().for_each(|page| flip(&bench.store, *page));
        other.execute("UPDATE heartbeat SET at_ms = at_ms", []).unwrap();
        let row = bench.watch(name, "under a running shim");
        refusing += usize::from(row.refused > 0);
        println!("F11: {name}, every page, under a running shim: {row}");
    }
    assert!(refusing > 0, "nothing of what was damaged was read");
}
