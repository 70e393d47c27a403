//! Two processes with one configuration, during an upgrade. The new process serves visitors beside the old one,
//! and takes over the admin address and the store when the old one ends. Both report the situation, because it
//! must not last.

use crate::admin::{Readiness, guard_everything};
use crate::base::beside;
use crate::config::Config;
use crate::guard::Freshness;
use arc_swap::ArcSwap;
use rustix::process::getpid;
use serde::Deserialize;
use socket2::SockRef;
use std::error::Error;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// The pause between two attempts to get what another process has, which may end at any moment.
pub(super) const REPLACE: Duration = Duration::from_millis(250);

/// How long after each attempt CDNs keep nothing, because the other process may accept a purge before the next
/// attempt.
const GUARD_MS: i64 = 1_000;

/// The pause between two checks for a process that waits for this one's end.
const LOOK: Duration = Duration::from_secs(1);

/// The number of connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// The interval at which the presence of two processes is logged again.
pub(super) const REMIND: Duration = Duration::from_secs(60);

/// The time within which another shim on the admin address would answer.
const LONGEST: Duration = Duration::from_secs(2);
/// The largest answer that is read from the other process, in bytes.
const MOST: u64 = 1 << 20;

/// The admin address.
#[derive(Debug)]
pub(super) enum Door {
    /// The listener of this process.
    Ours(TcpListener),
    /// The address, which another process still has.
    Others(SocketAddr),
}

/// Treats everything that is requested before the next attempt as old. While another process has the store, it
/// accepts purges that this one does not see, so no response may stay in a cache that such a purge missed.
pub(super) fn guard(freshness: &Freshness, config: &Config) {
    guard_everything(freshness, config, freshness.clock.now_ms().saturating_add(GUARD_MS));
}

/// Listens for the admin API, or for other systems' clients. One save in a content management system may open hundreds
/// of connections at once, and the standard library lets 128 of them wait: the others would try again after a second.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    SockRef::from(&listener).listen(BACKLOG)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Returns the admin listener as soon as no other process has its address, or `None` if this process is stopped
/// before.
pub(super) async fn enter(
    door: Door,
    (freshness, config): (&Freshness, &ArcSwap<Config>),
    stop: &CancellationToken,
) -> Option<TcpListener> {
    let address = match door {
        Door::Ours(listener) => return Some(listener),
        Door::Others(address) => address,
    };
    let (mut told, mut waiting) = (None::<Instant>, None);
    let listener = loop {
        guard(freshness, &config.load());
        match listen(address) {
            Ok(listener) => break listener,
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                tracing::error!(error = &error as &dyn Error, %address, "cannot listen for the admin API");
            }
            Err(_) => {}
        }
        if waiting.is_none() {
            waiting = Waiter::begin(config.load().store.path.as_deref());
        }
        if told.is_none_or(|told| told.elapsed() >= REMIND) {
            let other = tokio::task::spawn_blocking(move || who_has(address)).await;
            let other = other.unwrap_or_default();
            match told {
                None => tracing::warn!(
                    %address, other,
                    "visitors are served beside another process, with short TTLs, until it ends and this one takes over"
                ),
                Some(_) => tracing::error!(
                    %address, other,
                    "two processes serve the same addresses; stop the other one, or this one"
                ),
            }
            told = Some(Instant::now());
        }
        tokio::select! {
            () = stop.cancelled() => return None,
            () = sleep(REPLACE) => {}
        }
    };
    tracing::info!(%address, "the other process has left the admin address");
    Some(listener)
}

/// Reports a process that waits for the end of this one, which should not take long.
pub(super) async fn look(config: Arc<ArcSwap<Config>>, readiness: Arc<Readiness>) {
    let mut told = None::<Instant>;
    loop {
        let store = config.load().store.path.clone();
        let looking = tokio::task::spawn_blocking(move || store.and_then(|store| who_waits(&store)));
        let other = looking.await.ok().flatten();
        match &other {
            None => told = None,
            Some(other) if told.is_none_or(|told| told.elapsed() >= REMIND) => {
                told = Some(Instant::now());
                tracing::error!(
                    other,
                    "another process serves the same addresses, and waits for the end of this one"
                );
            }
            Some(_) => {}
        }
        let complaint = other
            .map(|other| format!("{other} serves the same addresses, and waits for the end of this one"));
        readiness.set_beside(complaint);
        sleep(LOOK).await;
    }
}

/// The mark of a process that waits for a store: a file beside the store, which the process keeps locked as long
/// as it lives.
#[derive(Debug)]
pub(super) struct Waiter(#[expect(dead_code, reason = "it is locked")] File);

impl Waiter {
    /// Sets the mark. Returns `None` if another process has set it, if no file can be written, or if the store is
    /// in memory.
    pub(super) fn begin(store: Option<&Path>) -> Option<Self> {
        let path = mark(store?);
        let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path).ok()?;
        file.try_lock().ok()?;
        file.set_len(0).ok()?;
        write!(file, "{}", own_name()).ok()?;
        Some(Self(file))
    }
}

/// Returns the name of the process that waits for this store, if there is one.
pub(super) fn who_waits(store: &Path) -> Option<String> {
    let file = File::open(mark(store)).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {}
        Ok(()) | Err(TryLockError::Error(_)) => return None,
    }
    let mut name = String::new();
    file.take(100).read_to_string(&mut name).ok()?;
    Some(name)
}

/// Returns the path of the mark.
fn mark(store: &Path) -> PathBuf {
    beside(store, "-next")
}

fn own_name() -> String {
    format!("process {} (version {})", getpid().as_raw_nonzero(), env!("CARGO_PKG_VERSION"))
}

#[derive(Debug, Deserialize)]
struct ReadyzBody {
    process: Process,
}

#[derive(Debug, Deserialize)]
struct Process {
    id: u32,
    version: String,
}

/// Returns which process has the admin address, in words. Blocks the thread.
pub(super) fn who_has(admin: SocketAddr) -> String {
    match ask(admin) {
        Some(Process { id, version }) => format!("process {id} (version {version})"),
        None => "something that is not a shim, or does not answer".to_owned(),
    }
}

fn ask(admin: SocketAddr) -> Option<Process> {
    let ip = match admin.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(ip, admin.port()), LONGEST).ok()?;
    stream.set_read_timeout(Some(LONGEST)).ok()?;
    stream.set_write_timeout(Some(LONGEST)).ok()?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.take(MOST).read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    serde_json::from_str::<ReadyzBody>(body).ok().map(|answer| answer.process)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn who_waits_is_known_as_long_as_it_does() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("store.db");
        assert_eq!(who_waits(&store), None);
        let waiting = Waiter::begin(Some(&store)).unwrap();
        assert_eq!(who_waits(&store).unwrap(), own_name());
        assert!(Waiter::begin(Some(&store)).is_none(), "two wait");
        drop(waiting);
        assert_eq!(who_waits(&store), None);
        assert!(Waiter::begin(None).is_none());
        assert!(Waiter::begin(Some(Path::new("/nowhere/store.db"))).is_none());
    }

    #[test]
    fn who_listens_is_named_if_it_says_so() {
        fn check(answer: &'static str, expected: &str) {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let everywhere = SocketAddr::from(([0, 0, 0, 0], listener.local_addr().unwrap().port()));
            let server = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut asked = [0; 60];
                stream.read_exact(&mut asked).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            });
            assert_eq!(who_has(everywhere), expected);
            server.join().unwrap();
        }
        let nobody = "something that is not a shim, or does not answer";
        let body = "{\"status\":\"ready\",\"degraded\":[],\"process\":{\"id\":4711,\"version\":\"0.1.0\"}}";
        check("HTTP/1.1 200 OK\r\n\r\n{\"status\":\"ready\"}", nobody);
        check("220 mail.example ESMTP\r\n", nobody);
        check(
            Box::leak(format!("HTTP/1.1 503 x\r\na: b\r\n\r\n{body}").into_boxed_str()),
            "process 4711 (version 0.1.0)",
        );
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(who_has(gone), nobody);
    }
}
