//! A worker thread: accepts, sweeps, and drains.

use super::connection::{Connection, Hub};
use super::listeners::{Change, Socket};
use super::pulse::Pulse;
use super::socket::ClientSocket;
use super::tls::Tls;
use super::watch::{Connections, Order};
use crate::http::timer::TICK;
use crate::metrics::shard::Limit;
use crate::proxy::{Shared, Worker};
use crate::telemetry::Sparse;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch::Receiver;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The delay after a failed accept. Without file descriptors or memory, accepting again at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

static NOT_ACCEPTED: Sparse = Sparse::new();
static PAUSED: Sparse = Sparse::new();

/// The time after the stop in which a client may still send one request, because the request may already have been
/// in transit. Clients of HTTP/1.1 learn of the end only from their last response.
const LAST_REQUESTS: Duration = Duration::from_secs(1);

/// The longest duration of an answer to a purge (see `answer`) that needs no pause after it.
const ANSWER: Duration = Duration::from_micros(100);
/// The maximum number of answers to purges without a pause, and of idle connections that one sweep ends if descriptors
/// are scarce.
const CROWD: usize = 16;

/// A worker before its thread starts, with the channel that tells it where to listen.
pub(super) struct Starting {
    changes: UnboundedReceiver<Change>,
    pulse: Arc<Pulse>,
}

impl Starting {
    /// Creates a worker. It has begun only when it listens on everything that `changes` already contains.
    pub(super) fn new(changes: UnboundedReceiver<Change>) -> Self {
        Self { changes, pulse: Arc::new(Pulse::new(Instant::now())) }
    }

    /// Returns the pulse of the future thread.
    pub(super) fn pulse(&self) -> Arc<Pulse> {
        Arc::clone(&self.pulse)
    }
}

struct Listener {
    number: u64,
    socket: TcpListener,
    tls: Option<Arc<Tls>>,
}

/// A worker's event queue, which only its thread uses. Its end does not wait for a name that is being resolved.
pub(super) struct EventLoop(Option<LocalRuntime>);

impl EventLoop {
    pub(super) fn new() -> io::Result<Self> {
        let mut builder = Builder::new_current_thread();
        builder.enable_all().build_local(LocalOptions::default()).map(|runtime| Self(Some(runtime)))
    }

    /// Runs a future, and the tasks that it spawns, to its end.
    pub(super) fn run(&self, future: impl Future<Output = ()>) {
        if let Some(runtime) = &self.0 {
            runtime.block_on(future);
        }
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Runs a worker from its start to its end. `started` receives whether it has begun.
pub(super) fn run(
    index: usize,
    starting: Starting,
    shared: &Shared,
    started: &Sender<io::Result<()>>,
    stop: Receiver<Option<Instant>>,
) {
    // The receiver is gone only if another worker has failed, and then this one is told to stop.
    let tell = |result| drop(started.send(result));
    let runtime = match EventLoop::new() {
        Ok(runtime) => runtime,
        Err(error) => return tell(Err(error)),
    };
    let Some(running) = &runtime.0 else { return };
    let Starting { mut changes, pulse } = starting;
    let listeners = {
        let _registering = running.enter();
        let first = std::iter::from_fn(|| changes.try_recv().ok());
        let sockets = first.filter_map(|change| match change {
            Change::Add(socket) => Some(socket),
            Change::Remove(_) => None,
        });
        sockets.map(Listener::new).collect::<io::Result<Vec<_>>>()
    };
    match listeners {
        Ok(listeners) => {
            tell(Ok(()));
            running.block_on(serve(index, listeners, changes, pulse, shared, stop));
        }
        Err(error) => tell(Err(error)),
    }
}

impl Listener {
    fn new(Socket { number, socket, tls }: Socket) -> io::Result<Self> {
        Ok(Self { number, socket: TcpListener::from_std(socket)?, tls })
    }
}

async fn serve(
    index: usize,
    listeners: Vec<Listener>,
    mut changes: UnboundedReceiver<Change>,
    pulse: Arc<Pulse>,
    shared: &Shared,
    mut stop: Receiver<Option<Instant>>,
) {
    let worker = Worker::new(index, shared);
    let connections = Connections::new(&worker.clock);
    let hub = Rc::new(Hub { worker, connections });
    let mut accepting = Accepting { hub: Rc::clone(&hub), stop: stop.clone(), listeners: HashMap::new() };
    for listener in listeners {
        accepting.add(listener);
    }
    let sweeping = tokio::task::spawn_local(sweep(Rc::clone(&hub), pulse));
    let answering = tokio::task::spawn_local(answer(Rc::clone(&hub)));

    let stopped = loop {
        tokio::select! {
            biased;
            stopped = stop.wait_for(Option::is_some) => break stopped.map(|deadline| *deadline),
            Some(change) = changes.recv() => accepting.change(change),
        }
    };
    // A sender that is dropped without a message belongs to a dropped data plane: stop at once.
    let deadline = stopped.ok().flatten().unwrap_or_else(Instant::now);
    accepting.end().await;
    hub.connections.take_last_requests();
    let left = deadline.saturating_duration_since(Instant::now());
    if tokio::time::timeout(LAST_REQUESTS.min(left), hub.connections.all_closed()).await.is_err() {
        hub.connections.give_all(Order::Drain);
    }
    if tokio::time::timeout_at(deadline.into(), hub.connections.all_closed()).await.is_err() {
        tracing::warn!(worker = index, "aborting connections that have not ended by the deadline");
        hub.connections.give_all(Order::Close);
    }
    // Clients may still read what the kernel was given.
    let in_flight = &hub.worker.in_flight;
    while in_flight.is_waiting() && Instant::now() < deadline {
        tokio::time::sleep(TICK).await;
    }
    in_flight.end_all(hub.worker.time.now_ms());
    sweeping.abort();
    answering.abort();
}

/// Answers purges that ask which responses are in flight. An answer takes longer the more there are. After answers
/// that took long, there is a pause of nine times that duration, so that they never take more than a tenth of the
/// thread's time.
async fn answer(hub: Rc<Hub>) {
    let Some(mut inbox) = hub.worker.take_inbox() else { return };
    while let Some(question) = inbox.next().await {
        let began = Instant::now();
        let (in_flight, now_ms) = (&hub.worker.in_flight, hub.worker.time.ms(began));
        in_flight.answer(&question, now_ms);
        // A limited number of the questions that came meanwhile is answered, too.
        (1..CROWD).map_while(|_| inbox.now()).for_each(|question| in_flight.answer(&question, now_ms));
        let took = began.elapsed();
        if took > ANSWER {
            tokio::time::sleep(took * 9).await;
        }
    }
}

/// The listeners of a worker, each in a task of its own.
struct Accepting {
    hub: Rc<Hub>,
    stop: Receiver<Option<Instant>>,
    /// The listeners by number.
    listeners: HashMap<u64, (CancellationToken, JoinHandle<()>)>,
}

impl Accepting {
    fn change(&mut self, change: Change) {
        match change {
            Change::Add(socket) => match Listener::new(socket) {
                Ok(listener) => self.add(listener),
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "a worker cannot listen");
                }
            },
            Change::Remove(number) => {
                let Some((removed, task)) = self.listeners.remove(&number) else { return };
                removed.cancel();
                let hub = Rc::clone(&self.hub);
                tokio::task::spawn_local(async move {
                    // The task accepts the connections that are already waiting, and then ends.
                    let _ = task.await;
                    hub.connections.retire_from(number);
                });
            }
        }
    }

    fn add(&mut self, listener: Listener) {
        let (number, removed) = (listener.number, CancellationToken::new());
        let accepting = accept(Rc::clone(&self.hub), listener, self.stop.clone(), removed.clone());
        self.listeners.insert(number, (removed, tokio::task::spawn_local(accepting)));
    }

    /// Waits for the listeners after the stop. They accept the connections that are already waiting, and then end.
    async fn end(self) {
        for (_, task) in self.listeners.into_values() {
            let _ = task.await;
        }
    }
}

/// Enforces deadlines, closes idle origin connections, and shows that the worker is alive.
async fn sweep(hub: Rc<Hub>, pulse: Arc<Pulse>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = Instant::now();
        pulse.beat(now);
        let routing = hub.worker.routing();
        hub.worker.clock.tick(now);
        // This precedes the sweep, which closes connections found to be overdue.
        for _ in 0..hub.worker.in_flight.tick(hub.worker.time.ms(now)) {
            hub.worker.counters.limited(Limit::Write);
        }
        hub.connections.sweep(&routing.limits, &hub.worker.counters);
        hub.worker.client.sweep(routing.limits.origin_idle_timeout);
        if hub.worker.open_connections() >= hub.worker.client_descriptors() {
            hub.connections.shed(CROWD);
        }
    }
}

async fn accept(
    hub: Rc<Hub>,
    listener: Listener,
    mut stop: Receiver<Option<Instant>>,
    removed: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = removed.cancelled() => break,
            _ = stop.wait_for(Option::is_some) => break,
            // Under load the kernel keeps new connections until another one has ended.
            accepted = async {
                room(&hub).await;
                listener.socket.accept().await
            } => accepted,
        };
        match accepted {
            Ok((stream, address)) => start(&hub, listener.number, listener.tls.as_deref(), stream, address),
            Err(error) => {
                if let Some(times) = NOT_ACCEPTED.note(Instant::now()) {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, times, "a connection was not accepted");
                }
                if !concerns_one_connection(&error) {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    // Connections that the kernel accepted before the stop would be reset with the listener. They are read from
    // the socket itself, because the runtime may not have been notified of the last ones.
    let Listener { number, socket, tls } = listener;
    let Ok(socket) = socket.into_std() else { return };
    while let Ok((stream, address)) = socket.accept() {
        if stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = TcpStream::from_std(stream)
        {
            start(&hub, number, tls.as_deref(), stream, address);
        }
    }
}

/// Waits until there is a descriptor for one more connection, or at least for one that is turned away.
async fn room(hub: &Hub) {
    let is_full = || {
        let most = hub.worker.client_descriptors();
        hub.worker.open_connections() >= most.saturating_add(turned_away(most))
    };
    if !is_full() {
        return;
    }
    hub.worker.counters.limited(Limit::Connections);
    while is_full() {
        if let Some(times) = PAUSED.note(Instant::now()) {
            tracing::warn!(
                times,
                "connections wait to be accepted, because all descriptors for them are in use (ulimit -n)"
            );
        }
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

fn start(hub: &Hub, listener: u64, tls: Option<&Tls>, stream: TcpStream, address: SocketAddr) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = &error as &dyn std::error::Error, "a client left before it was served");
        return;
    }
    let (limit, most) = (hub.worker.routing().limits.connections as u64, hub.worker.client_descriptors());
    let room = match Room::of(hub.worker.open_connections(), limit.min(most)) {
        // Descriptors, not the configured limit, are the limit here. `room` lets listeners wait for descriptors, so
        // only those that accepted at the same time can exceed it, by one connection each. These are still told that
        // there is no room.
        Room::None if most < limit => Room::TurnedAway,
        room => room,
    };
    if room != Room::Served {
        hub.worker.counters.limited(Limit::Connections);
    }
    if room == Room::None {
        return;
    }
    let socket = ClientSocket::new(stream, &hub.worker, hub.worker.routing().limits.write_timeout);
    let from = (&socket, address.ip());
    let connection = Connection::open(hub, listener, from, tls.is_some(), room == Room::TurnedAway);
    tokio::task::spawn_local(connection.serve(socket, tls.map(Tls::current)));
}

/// The decision about one more connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    Served,
    /// The client is told that there is no room. This needs descriptors, too, so only a limited number of clients
    /// gets it.
    TurnedAway,
    /// The connection is closed at once.
    None,
}

impl Room {
    fn of(open: u64, limit: u64) -> Self {
        match open {
            _ if open < limit => Self::Served,
            _ if open < limit.saturating_add(turned_away(limit)) => Self::TurnedAway,
            _ => Self::None,
        }
    }
}

/// Returns how many connections above the limit are told that there is no room.
pub(super) fn turned_away(limit: u64) -> u64 {
    (limit / 16).clamp(16, 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_for_one_more_connection() {
        let check = |open, limit, room| assert_eq!(Room::of(open, limit), room, "{open} of {limit}");
        check(0, 1, Room::Served);
        check(1, 1, Room::TurnedAway);
        check(16, 1, Room::TurnedAway);
        check(17, 1, Room::None);
        check(15_999, 16_000, Room::Served);
        check(16_000, 16_000, Room::TurnedAway);
        check(17_000, 16_000, Room::None);
    }
}
