//! Few file descriptors, and clients that need more connections to origins than there are. An HTTP/2 client needs one
//! for each of its requests.

use crate::harness::HOST;
use crate::harness::eventually;
use crate::harness::h2;
use crate::harness::process::after;
use crate::harness::program::{Place, Program};
use crate::harness::scripted::gated;
use crate::harness::site::Site;
use crate::harness::wire::{Wire, get, status};
use std::process::Command;

const STREAMS: u32 = 100;
/// The number of 256 files that are reserved for connections to origins (`src/listen/files.rs`).
const ORIGINS: u64 = 56;

fn few_files(_: &Place, program: Command) -> Command {
    after("ulimit -n 256", &program)
}

/// Without a descriptor for one more connection to the origin, a request waits and then gets 503 with a request to
/// retry. The origin is not blamed.
#[test]
fn r69_requests_without_a_descriptor_for_their_origin_wait_and_get_503() {
    let (origin, go) = gated();
    let program = Program::start_with(few_files, |place| {
        format!(
            "[server]\nlisten = [\"{}\"]\nworkers = 2\n[server.limits]\norigin_connect_timeout = \"500ms\"\n\
             origin_max_fails = 1\n[admin]\nlisten = \"{}\"\nhosts = [\"{HOST}\"]\n[store]\nurl = \"sqlite:store.db\"\n{}",
            place.address,
            place.admin,
            Site::named("www").host("www.example.com").origin(origin.address)
        )
    });
    let mut client = h2::Client::connect(program.address);
    for stream in 0..STREAMS {
        client.request(1 + 2 * stream, &h2::request("GET", "/", "www.example.com"), true);
    }
    let no_room = "origin_shim_origin_errors_total{site=\"www\",kind=\"no-room\"}";
    let refused = eventually("all that find no room are told, and the rest waits for the origin", || {
        let refused = program.metric(no_room);
        let waiting = program.metric("origin_shim_requests_in_flight");
        (waiting == ORIGINS && refused + waiting == u64::from(STREAMS)).then_some(refused)
    });
    drop(go);
    let mut statuses: Vec<_> = (0..STREAMS).map(|stream| client.status(1 + 2 * stream)).collect();
    statuses.sort_unstable();
    let ok = statuses.iter().filter(|status| **status == 200).count() as u64;
    assert_eq!((ok, statuses.last()), (u64::from(STREAMS) - refused, Some(&503)), "{statuses:?}");
    // The origin is not avoided, and its idle connections serve the next request.
    let mut other = Wire::connect(program.address);
    assert_eq!(status(&other.request(&get("/")).0), 200);
    let ready = crate::harness::http::Request::get("/readyz").send(program.admin);
    assert!(!ready.text().contains("avoided"), "{}", ready.text());
    assert!(
        program.output().contains("all descriptors for these connections are in use"),
        "{}",
        program.output()
    );
    println!("{STREAMS} requests of one client, ulimit -n 256: {ok} x 200, {refused} x 503");
}
