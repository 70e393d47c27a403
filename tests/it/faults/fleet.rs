//! Several instances on one database: each answers for the others, one sends, and one that cannot learn of purges
//! gives short lifetimes and nothing else.

use crate::harness::fake_cdn::{FakeCdn, Fault, Faults, Node};
use crate::harness::http::{Answer, Request};
use crate::harness::postgres::{database, execute};
use crate::harness::program::{Place, Program};
use crate::harness::scripted::Origin;
use crate::harness::site::Site;
use crate::harness::wire::{Wire, get_with};
use crate::harness::{HOST, eventually};
use std::net::SocketAddr;
use std::path::Path;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

const TOKEN: &str = "fleet-test-token-0123456";
const EDGE: &str = "max-age=172800";
/// The origin's lifetime, which the fallback never exceeds.
const FALLBACK: &str = "max-age=60";
const OPT_IN: &str = "x-push-invalidation: enabled\r\nx-byo-cdn-type: varnish\r\n";

fn origin() -> Origin {
    Origin::answering("HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 2\r\n\r\nok")
}

/// Returns the URL of a database that is reached through a socket.
fn url(database: &Config) -> String {
    let Host::Unix(directory) = &database.get_hosts()[0] else { panic!("{database:?}") };
    let directory = Path::display(directory).to_string().replace('/', "%2F");
    format!("postgres://shim@{directory}/{}", database.get_dbname().unwrap())
}

/// Starts a member.
fn member(name: &str, database: &Config, origin: SocketAddr, cdn: &FakeCdn<Node>) -> Program {
    Program::start(|Place { address, admin, .. }| {
        format!(
            "[server]\nlisten = [\"{address}\"]\nworkers = 2\n[admin]\nlisten = \"{admin}\"\nhosts = [\"{HOST}\"]\n\
             [[admin.tokens]]\nname = \"test\"\ntoken = \"literal:{TOKEN}\"\nscopes = [\"read\", \"purge\"]\n\
             [store]\nurl = \"{}\"\n[fleet]\ninstance = \"{name}\"\nlease = \"3s\"\n{}",
            url(database),
            Site::www(origin).host("www.example.com").cdn(&cdn.settings())
        )
    })
}

fn call(program: &Program, request: Request<'_>, key: Option<&str>) -> Answer {
    let bearer = format!("Bearer {TOKEN}");
    let mut headers = vec![("authorization", bearer.as_str()), ("content-type", "application/json")];
    headers.extend(key.map(|key| ("idempotency-key", key)));
    request.headers(&headers).send(program.admin)
}

fn purge(program: &Program, key: Option<&str>) -> Answer {
    let request = Request { body: br#"{"tags": ["a"]}"#, ..Request::get("/v1/sites/www/purges") };
    call(program, request.method("POST"), key)
}

fn state(program: &Program, id: &str) -> String {
    let answer = call(program, Request::get(&format!("/v1/purges/{id}")), None);
    answer.json()["state"].as_str().unwrap_or_default().to_owned()
}

fn edge_ttl(program: &Program) -> String {
    let headers = [("x-push-invalidation", "enabled"), ("x-byo-cdn-type", "varnish")];
    let answer = Request::get("/").headers(&headers).send(program.address);
    assert_eq!(answer.status, 200);
    answer.header("surrogate-control").to_owned()
}

fn is_well(program: &Program) {
    eventually("lifetimes are long", || (edge_ttl(program) == EDGE).then_some(()));
}

#[test]
fn members_answer_for_each_other() {
    let (database, origin, cdn) = (database(), origin(), FakeCdn::start(Node::default()));
    let members = ["a", "b", "c"].map(|name| member(name, &database, origin.address, &cdn));
    members.iter().for_each(is_well);

    let accepted = purge(&members[0], Some("one"));
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    let id = accepted.json()["id"].as_str().unwrap().to_owned();
    for member in &members {
        eventually("it is done, wherever one asks", || (state(member, &id) == "done").then_some(()));
        assert_eq!(purge(member, Some("one")).json()["id"], id.as_str());
    }
    assert!(!cdn.purged().is_empty());
}

#[test]
fn what_one_leaves_behind_another_one_sends() {
    let (database, origin, cdn) = (database(), origin(), FakeCdn::start(Node::default()));
    let mut a = member("a", &database, origin.address, &cdn);
    let b = member("b", &database, origin.address, &cdn);
    is_well(&a);
    is_well(&b);
    cdn.misbehave(Faults::always(Fault::Unavailable));
    let ids: Vec<String> =
        [&a, &b].map(|member| purge(member, None).json()["id"].as_str().unwrap().to_owned()).into();
    a.terminate();
    a.ended();
    cdn.behave();
    for id in &ids {
        eventually("the other one sends it", || (state(&b, id) == "done").then_some(()));
    }
    is_well(&b);
}

/// Nobody waits for a member whose lease is over, so it must know that at its first instruction.
#[test]
fn a_member_that_was_stopped_gives_no_long_lifetime_before_it_has_renewed_its_lease() {
    let (database, origin, cdn) = (database(), origin(), FakeCdn::start(Node::default()));
    let a = member("a", &database, origin.address, &cdn);
    is_well(&a);
    a.pause();
    // It can renew nothing when it goes on.
    execute(&database, "ALTER TABLE members RENAME TO elsewhere");
    let mut wire = Wire::connect(a.address);
    wire.send(get_with("/", OPT_IN).as_bytes());
    execute(&database, "SELECT pg_sleep(3)");
    a.go_on();
    let (head, _) = wire.response();
    assert!(head.contains(FALLBACK) && !head.contains(EDGE), "{head}");
    for _ in 0..20 {
        assert_eq!(edge_ttl(&a), FALLBACK);
    }
    execute(&database, "ALTER TABLE elsewhere RENAME TO members");
    is_well(&a);
    assert_eq!(purge(&a, None).status, 202);
}

#[test]
fn without_the_database_pages_are_served_and_purges_are_refused() {
    let (database, origin, cdn) = (database(), origin(), FakeCdn::start(Node::default()));
    let members = ["a", "b"].map(|name| member(name, &database, origin.address, &cdn));
    members.iter().for_each(is_well);
    let name = database.get_dbname().unwrap().to_owned();
    let mut elsewhere = database.clone();
    elsewhere.dbname("postgres");
    execute(&elsewhere, &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"));
    execute(
        &elsewhere,
        &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"),
    );
    for member in &members {
        eventually("lifetimes are short", || (edge_ttl(member) == FALLBACK).then_some(()));
        assert_eq!(purge(member, None).status, 503);
        let ready = Request::get("/readyz").send(member.admin);
        assert_eq!(ready.status, 200);
        let reasons = ready.json()["degraded"].to_string();
        assert!(reasons.contains("the store fails"), "{reasons}");
    }
    execute(&elsewhere, &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true"));
    for member in &members {
        is_well(member);
        eventually("purges are accepted", || (purge(member, None).status == 202).then_some(()));
    }
}
