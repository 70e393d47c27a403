//! Names of origins. The real program resolves them with the system's resolver, which here reads files that only the
//! program sees.

use crate::harness::program::{Mounts, Program};
use crate::harness::scripted::{Origin, Served};
use crate::harness::site::Site;
use crate::harness::{HOST, eventually};
use std::fs;
use std::net::TcpListener;

/// Starts two origins at different addresses and the same port. Each response has the name of its origin, and ends its
/// connection.
fn origins() -> [Origin; 2] {
    let [first, second] = eventually("a port is free at both addresses", || {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let second = TcpListener::bind(("127.0.0.2", first.local_addr().unwrap().port())).ok()?;
        Some([first, second])
    });
    let named = |listener, name| {
        Origin::playing_on(listener, move |served: &mut Served| {
            served.request();
            served
                .wire
                .send(format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 3\r\n\r\n{name}"));
        })
    };
    [named(first, "one"), named(second, "two")]
}

#[test]
fn traffic_follows_the_name_of_an_origin_and_stays_where_it_was_while_no_name_is_resolved() {
    let Some(mounts) = Mounts::allowed() else { return };
    let [first, second] = origins();
    let (hosts, switch) = ("hosts", "nsswitch.conf");
    let program = Program::start_with(
        |place, program| {
            fs::write(place.dir.join(hosts), "").unwrap();
            // With this file, no other source is queried for names that the hosts file lacks.
            fs::write(place.dir.join(switch), "hosts: files\n").unwrap();
            let mount = |name| format!("--bind {} /etc/{name}", place.dir.join(name).display());
            mounts.launch(program, &[&mount(hosts), &mount(switch)])
        },
        |place| {
            format!(
                "[server]\nlisten = [\"{}\"]\nworkers = 2\n[server.limits]\norigin_resolve_interval = \"50ms\"\n\
                 [admin]\nlisten = \"{}\"\nhosts = [\"{HOST}\"]\n[store]\nurl = \"sqlite:store.db\"\n{}",
                place.address,
                place.admin,
                Site::www(format!("moving.test:{}", first.address.port()))
            )
        },
    );
    // The file is written in place, because the mount refers to this file and not to its name.
    let resolver_says = |text: &str| fs::write(program.dir().join(hosts), text).unwrap();
    let is_answered_by = |name: &str| (program.get("/").text() == name).then_some(());
    let failures = || program.output().matches("the name of an origin cannot be resolved").count();

    eventually("a name that nobody knows is told", || (failures() > 0).then_some(()));
    assert_eq!(program.get("/").status, 502);
    resolver_says("127.0.0.1 moving.test\n");
    eventually("the name is known", || is_answered_by("one"));
    resolver_says("127.0.0.2 moving.test\n");
    eventually("the name has moved", || is_answered_by("two"));
    let (asked, failed) = (first.connections(), failures());
    resolver_says("");
    eventually("the name is not resolved any more", || (failures() > failed).then_some(()));
    for _ in 0..20 {
        assert_eq!(program.get("/").text(), "two", "the last address is kept");
    }
    assert_eq!(first.connections(), asked);

    resolver_says("127.0.0.1 moving.test\n127.0.0.2 moving.test\n");
    eventually("the name is back, with a second address", || is_answered_by("one"));
    resolver_says("127.0.0.2 moving.test\n");
    eventually("the name has lost an address", || is_answered_by("two"));
    assert!(second.connections() > 20);
}
