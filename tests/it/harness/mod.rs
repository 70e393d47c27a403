//! The parts that the integration tests share. Everything listens on free ports of the loopback interface, lives in a
//! temporary directory and ends with its test.
//!
//! | file | what it starts or does |
//! |---|---|
//! | `in_process.rs` | the data plane alone, in the process of the test |
//! | `shim.rs` | the real program with sites of the test, and calls of its admin API |
//! | `program.rs` | the real program with a whole configuration of the test, its signals, memory and mounts |
//! | `site.rs` | the sites of the program and of the data plane alone |
//! | `chain.rs`, `gate.rs` | Varnish, the program and nginx in a row, and a gate for purges |
//! | `wire.rs`, `h2.rs`, `http.rs` | clients: HTTP/1 by bytes, HTTP/2 by frames, whole requests |
//! | `scripted.rs`, `h2_origin.rs`, `recorder.rs` | origins that play a script, or record every byte |
//! | `origin.rs`, `nginx.rs` | origins that answer whole requests |
//! | `pairs.rs` | one exchange in each pair of HTTP versions |
//! | `fake_cdn/`, `moto.rs`, `varnish.rs` | CDNs: fakes of their APIs, an AWS, and Varnish |
//! | `postgres.rs` | a PostgreSQL server and databases on it |
//! | `authority.rs`, `process.rs`, `wall_clock.rs` | certificates, processes, and a clock that the test sets |

pub mod authority;
pub mod chain;
pub mod fake_cdn;
pub mod gate;
pub mod h2;
pub mod h2_origin;
pub mod http;
pub mod in_process;
pub mod moto;
pub mod nginx;
pub mod origin;
pub mod pairs;
pub mod postgres;
pub mod process;
pub mod program;
pub mod recorder;
pub mod scripted;
pub mod shim;
pub mod site;
pub mod varnish;
pub mod wall_clock;
pub mod wire;

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The host of every test site.
pub const HOST: &str = "www.example.test";

/// The time limit for anything that must happen eventually. This is a safety net: no test passes or fails by being
/// faster.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Whether the long variants of tests run, with the counts that a release must survive.
pub fn is_long() -> bool {
    std::env::var_os("ORIGIN_SHIM_LONG").is_some()
}

/// Calls `ask` repeatedly until it returns a value. Panics with `what` after [`PATIENCE`].
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Returns a loopback address whose port is free, and that no other test of this run gets. Another process may still
/// take the port first, so a caller that starts something there retries with another address.
pub fn free_address() -> SocketAddr {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    let mut given = GIVEN.lock().unwrap();
    let given = given.get_or_insert_default();
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        if given.insert(address.port()) {
            return address;
        }
    }
}

/// Whether something listens at this address.
pub fn listens(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok()
}
