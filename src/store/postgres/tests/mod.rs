//! Tests against a real server. `store/contract/` and `store/model/` test what every store does; here is what is
//! special about this one.

mod fleet;
mod server;

use super::migrations::VERSION;
use super::{Membership, PostgresStore, Settings};
use crate::store::contract::{call, job, purge, settle_all};
use crate::store::{CdnKey, Enqueued, FollowUps, NewPurge, SendOutcome, Store, WAITING_MS};
pub(crate) use server::database;
use server::{Server, execute};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_postgres::NoTls;

/// Returns a store in a database of its own, whose clock is that of the test.
pub(crate) fn a_database() -> PostgresStore {
    member(&database(), "a")
}

/// Returns a store of this instance in a database.
pub(crate) fn member(database: &tokio_postgres::Config, instance: &str) -> PostgresStore {
    let settings = Settings {
        config: database.clone(),
        listen: None,
        certificates: None,
        membership: membership(),
        barrier_wait_ms: 100,
        instance: instance.to_owned(),
        steady: None,
    };
    PostgresStore::open(settings).unwrap()
}

fn membership() -> Membership {
    Membership {
        lease: Duration::from_secs(5),
        version: "1.0.0",
        config_hash: vec![1],
        max_response_ms: 60_000,
    }
}

const START: i64 = 1_700_000_000_000;

/// Returns the only column of the rows.
async fn column(database: &tokio_postgres::Config, sql: &str) -> Vec<i64> {
    let (client, connection) = database.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn what_one_member_accepts_another_one_has() {
    let database = database();
    let (a, b) = (member(&database, "a"), member(&database, "b"));
    let keyed = |id: &str| NewPurge {
        idempotency: Some(("key".into(), "hash".into())),
        ..purge(id, vec![job("fastly", 1)])
    };
    assert_eq!(a.enqueue(keyed("p1")).await.unwrap(), Enqueued::Created);
    assert_eq!(b.enqueue(keyed("p2")).await.unwrap(), Enqueued::Existing("p1".into()));
    let sends = b.claim(call("fastly", START, START + 1_000, 9)).await.unwrap().sends;
    assert_eq!(settle_all(&b, &sends, SendOutcome::Done).await.len(), 1);
    assert!(a.get("p1".into()).await.unwrap().unwrap().finished_ms.is_some());
    assert_eq!(a.installation(), b.installation());
}

/// The log is what members follow: its numbers have no gaps, and each purge has one.
#[tokio::test]
async fn purges_that_are_accepted_at_once_have_numbers_without_gaps() {
    let database = database();
    let members = [Arc::new(member(&database, "a")), Arc::new(member(&database, "b"))];
    let mut callers = JoinSet::new();
    for n in 0..60 {
        let store = members[n % 2].clone();
        callers.spawn(async move {
            // Every tenth fails, which uses up no number.
            let id = if n % 10 == 0 { "again".to_owned() } else { format!("p{n}") };
            store.enqueue(purge(&id, vec![job("fastly", 1), job("varnish", 1)])).await.is_ok()
        });
    }
    let accepted = callers.join_all().await.into_iter().filter(|accepted| *accepted).count();
    assert_eq!(accepted, 55, "of those with the same id, one is accepted");
    let numbers = column(&database, "SELECT n FROM log JOIN purges ON key = purge ORDER BY n").await;
    assert_eq!(numbers, (1..=55).collect::<Vec<i64>>());
    let last = "SELECT head.n FROM log_head AS head JOIN log ON log.n = head.n AND log.entry = head.entry";
    assert_eq!(column(&database, last).await, [55]);
    let commits = members.iter().map(|store| store.commits()).sum::<u64>();
    assert!(commits < 55, "those that waited together share a commit: {commits}");
}

#[tokio::test]
async fn members_that_claim_and_settle_at_once_send_each_item_once() {
    let database = database();
    let members = [Arc::new(member(&database, "a")), Arc::new(member(&database, "b"))];
    for n in 0..20 {
        let mut jobs = vec![job("fastly", 5), job("varnish", 5)];
        jobs.iter_mut()
            .flat_map(|job| &mut job.items)
            .for_each(|item| item.value.insert_str(0, &n.to_string()));
        members[0].enqueue(purge(&format!("p{n:02}"), jobs)).await.unwrap();
    }
    let mut senders = JoinSet::new();
    for n in 0..8 {
        let (store, cdn) = (members[n % 2].clone(), ["fastly", "varnish"][n / 2 % 2]);
        senders.spawn(async move {
            let (mut sent, mut ended) = (Vec::new(), 0);
            loop {
                let sends = store.claim(call(cdn, START, START + 120_000, 3)).await.unwrap().sends;
                if sends.is_empty() {
                    return (sent, ended);
                }
                let jobs = settle_all(&*store, &sends, SendOutcome::Done).await;
                ended += jobs.iter().filter(|job| job.purge_ended.is_some()).count();
                sent.extend(sends.into_iter().map(|send| (send.id, send.attempt)));
            }
        });
    }
    let (sent, ended): (Vec<_>, Vec<_>) = senders.join_all().await.into_iter().unzip();
    let sent: Vec<_> = sent.into_iter().flatten().collect();
    assert_eq!((sent.len(), sent.iter().collect::<HashSet<_>>().len()), (200, 200));
    assert!(sent.iter().all(|(_, attempt)| *attempt == 1));
    assert_eq!(ended.iter().sum::<usize>(), 20, "each purge ends once");
    let status = members[1].status().await.unwrap();
    assert!(status.iter().all(|queue| (queue.jobs, queue.pending) == (0, 0)), "{status:?}");
}

#[tokio::test]
async fn a_follow_up_waits_for_the_member_that_has_it_on_its_way() {
    let database = database();
    let (a, b) = (member(&database, "a"), member(&database, "b"));
    let follow_ups = || FollowUps { items: vec![(0, 0)], margin_ms: 500 };
    let new = NewPurge { follow_ups: follow_ups(), ..purge("p1", vec![job("fastly", 1)]) };
    a.enqueue(new).await.unwrap();
    assert_eq!(b.follow_up("p1".into(), follow_ups()).await.unwrap(), 1);
    let oldest = async || a.status().await.unwrap()[0].oldest_due_ms.unwrap();
    let sends = a.claim(call("fastly", START, START + 1_000, 9)).await.unwrap().sends;
    assert_eq!(settle_all(&a, &sends, SendOutcome::Done).await, []);
    assert_eq!(oldest().await, WAITING_MS + 500);
    assert_eq!(b.arrived("p1".into(), START).await.unwrap(), 1);
    let sends = b.claim(call("fastly", START, START + 1_000, 9)).await.unwrap().sends;
    assert_eq!(settle_all(&b, &sends, SendOutcome::Done).await, [], "the other one still has some");
    // Its next run knows that nothing is on its way any more.
    let a = member(&database, "a");
    a.take_over(START.into(), i64::MAX).await.unwrap();
    let sends = b.claim(call("fastly", START + 500, START + 1_000, 9)).await.unwrap().sends;
    assert_eq!(settle_all(&b, &sends, SendOutcome::Done).await.len(), 1);
    assert_eq!(a.status().await.unwrap()[0].pending, 0);
}

#[tokio::test]
async fn a_take_over_leaves_the_leases_of_those_who_take_part() {
    let database = database();
    let (a, b) = (member(&database, "a"), member(&database, "b"));
    for cdn in ["fastly", "varnish"] {
        a.enqueue(purge(cdn, vec![job(cdn, 1)])).await.unwrap();
    }
    a.claim(call("fastly", START, START + 1_000, 9)).await.unwrap();
    b.claim(call("varnish", START, START + 1_000, 9)).await.unwrap();
    execute(
        &database,
        &format!(
            "INSERT INTO members (run, instance, lease_until, seen, joined_n, version, config_hash, max_response_ms)
             VALUES ('{}', 'a', clock_timestamp() + interval '1 hour', 0, 0, '', '', 0)",
            a.run
        ),
    );
    assert_eq!(b.take_over(START.into(), i64::MAX).await.unwrap().leases, 1, "its own");
    assert_eq!(b.take_over(START.into(), i64::MAX).await.unwrap().leases, 0);
    assert_eq!(member(&database, "a").take_over(START.into(), i64::MAX).await.unwrap().leases, 1);
}

#[tokio::test]
async fn a_connection_that_is_lost_is_made_again() {
    let database = database();
    let store = member(&database, "a");
    store.enqueue(purge("p1", vec![job("fastly", 1)])).await.unwrap();
    assert!(store.get("p1".into()).await.unwrap().is_some());
    let others = "SELECT pg_terminate_backend(pid)::int::bigint FROM pg_stat_activity
                  WHERE datname = current_database() AND pid <> pg_backend_pid()";
    assert!(!column(&database, others).await.is_empty());
    assert!(store.get("p1".into()).await.unwrap().is_some());
    store.enqueue(purge("p2", vec![job("fastly", 1)])).await.unwrap();
    assert_eq!(store.status().await.unwrap()[0].pending, 2);
}

/// A commit whose wait for the standby is cancelled succeeds with a warning, and may be lost with the primary.
#[tokio::test]
async fn a_commit_that_no_standby_has_is_none() {
    let server = Server::start();
    let database = server.database();
    let store = Arc::new(member(&database, "a"));
    execute(&database, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    execute(&database, "SELECT pg_reload_conf()");
    let accepting = tokio::spawn({
        let store = store.clone();
        async move { store.enqueue(purge("p1", vec![job("fastly", 1)])).await }
    });
    let waiting =
        "SELECT pg_cancel_backend(pid)::int::bigint FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    while column(&database, waiting).await.is_empty() {}
    let error = accepting.await.unwrap().unwrap_err();
    assert!(error.is_in_doubt(), "{error:?}");
    assert!(crate::base::with_causes(&error).contains("not durably"), "{}", crate::base::with_causes(&error));
    execute(&database, "ALTER SYSTEM RESET synchronous_standby_names");
    execute(&database, "SELECT pg_reload_conf()");
}

#[test]
fn a_schema_of_the_next_version_is_used_and_one_beyond_is_refused() {
    let database = database();
    drop(member(&database, "a"));
    execute(&database, &format!("INSERT INTO schema_version VALUES ({})", VERSION + 1));
    drop(member(&database, "a"));
    execute(&database, &format!("INSERT INTO schema_version VALUES ({})", VERSION + 2));
    let settings = Settings {
        config: database,
        listen: None,
        certificates: None,
        membership: membership(),
        barrier_wait_ms: 100,
        instance: "a".into(),
        steady: None,
    };
    let error = PostgresStore::open(settings).err().unwrap();
    assert!(crate::base::with_causes(&error).contains("use the newer version"));
}

#[tokio::test]
async fn the_clock_of_a_member_does_not_matter() {
    let database = database();
    let of = |by_ms: i64| {
        let steady: super::TellTime = Box::new(move || crate::guard::wall_ms() + by_ms);
        let settings = Settings {
            config: database.clone(),
            listen: None,
            certificates: None,
            membership: membership(),
            barrier_wait_ms: 100,
            instance: by_ms.to_string(),
            steady: Some(steady),
        };
        (PostgresStore::open(settings).unwrap(), crate::guard::wall_ms() + by_ms)
    };
    let hour = 3_600_000;
    let ((ahead, ahead_ms), (behind, behind_ms)) = (of(hour), of(-hour));
    let due_ms = ahead_ms + 10_000;
    let new = NewPurge { since_ms: ahead_ms, due_ms, ..purge("p1", vec![job("fastly", 1)]) };
    ahead.enqueue(new).await.unwrap();
    let next = behind.due(CdnKey { site: "www".into(), cdn: "fastly".into() }, behind_ms, 1).await.unwrap();
    let wait_ms = next.next_ms.unwrap() - behind_ms;
    assert!((9_000..11_000).contains(&wait_ms), "{wait_ms}");
    let since_ms = behind.recent(9).await.unwrap()[0].since_ms - behind_ms;
    assert!((-1_000..1_000).contains(&since_ms), "{since_ms}");
}
