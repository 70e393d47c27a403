//! A worker thread: accepts, sweeps, and drains.

use super::bind::BACKLOG;
use super::connection::{Connection, Hub, serve_plain, serve_tls};
use super::pulse::Pulse;
use super::watch::{Connections, Order};
use crate::proxy::clock::TICK;
use crate::proxy::{Shared, Worker};
use rustls::ServerConfig;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::watch::Receiver;

/// Out of file descriptors or memory, accepting again at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A worker before its thread: what it will listen on.
pub(super) struct Starting {
    sockets: Vec<(std::net::TcpListener, Option<Arc<ServerConfig>>)>,
    pulse: Arc<Pulse>,
}

impl Starting {
    pub(super) fn new() -> Self {
        Self { sockets: vec![], pulse: Arc::new(Pulse::new(Instant::now())) }
    }

    /// Of the thread that it will be.
    pub(super) fn pulse(&self) -> Arc<Pulse> {
        Arc::clone(&self.pulse)
    }

    pub(super) fn listen(&mut self, socket: std::net::TcpListener, tls: Option<Arc<ServerConfig>>) {
        self.sockets.push((socket, tls));
    }
}

struct Listener {
    socket: TcpListener,
    tls: Option<Arc<ServerConfig>>,
}

/// A worker's event queue, which its thread keeps to itself. It ends without waiting for a name that is being resolved.
struct EventLoop(Option<LocalRuntime>);

impl Drop for EventLoop {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// The whole life of a worker; `started` is told whether it has begun.
pub(super) fn run(
    index: usize,
    starting: Starting,
    shared: &Shared,
    started: &Sender<io::Result<()>>,
    stop: Receiver<Option<Instant>>,
) {
    // Nobody listens only where another worker has failed: this one will be told to stop.
    let tell = |result| drop(started.send(result));
    let runtime = match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
        Ok(runtime) => EventLoop(Some(runtime)),
        Err(error) => return tell(Err(error)),
    };
    let Some(running) = &runtime.0 else { return };
    let Starting { sockets, pulse } = starting;
    let listeners = {
        let _registering = running.enter();
        sockets.into_iter().map(Listener::new).collect::<io::Result<Vec<_>>>()
    };
    match listeners {
        Ok(listeners) => {
            tell(Ok(()));
            running.block_on(serve(index, listeners, pulse, shared, stop));
        }
        Err(error) => tell(Err(error)),
    }
}

impl Listener {
    fn new((socket, tls): (std::net::TcpListener, Option<Arc<ServerConfig>>)) -> io::Result<Self> {
        Ok(Self { socket: TcpListener::from_std(socket)?, tls })
    }
}

async fn serve(
    index: usize,
    listeners: Vec<Listener>,
    pulse: Arc<Pulse>,
    shared: &Shared,
    mut stop: Receiver<Option<Instant>>,
) {
    let worker = Worker::new(index, shared);
    let connections = Connections::new(&worker.clock);
    let hub = Rc::new(Hub { worker, connections });
    let accepting: Vec<_> = listeners
        .into_iter()
        .map(|listener| tokio::task::spawn_local(accept(Rc::clone(&hub), listener, stop.clone())))
        .collect();
    let sweeping = tokio::task::spawn_local(sweep(Rc::clone(&hub), pulse));

    // A sender that is gone without a word is a data plane that was dropped: stop at once.
    let deadline = match stop.wait_for(Option::is_some).await {
        Ok(deadline) => deadline.unwrap_or_else(Instant::now),
        Err(_) => Instant::now(),
    };
    for listener in accepting {
        // It accepts what had been waiting, and then ends.
        let _ = listener.await;
    }
    // Those just accepted have a moment to show the request that they brought: it may well be in the socket.
    tokio::time::sleep(TICK.min(deadline.saturating_duration_since(Instant::now()))).await;
    hub.connections.give_all(Order::Drain);
    if tokio::time::timeout_at(deadline.into(), hub.connections.all_closed()).await.is_err() {
        tracing::warn!(worker = index, "aborting what has not ended by the deadline");
        hub.connections.give_all(Order::Close);
    }
    sweeping.abort();
}

/// Ends deadlines and idle origin connections, and shows that the worker is alive.
async fn sweep(hub: Rc<Hub>, pulse: Arc<Pulse>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = Instant::now();
        pulse.beat(now);
        let routing = hub.worker.routing();
        hub.worker.clock.tick(now);
        hub.connections.sweep(&routing.limits);
        hub.worker.pool.sweep(routing.limits.origin_idle_timeout);
    }
}

async fn accept(hub: Rc<Hub>, listener: Listener, mut stop: Receiver<Option<Instant>>) {
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(Option::is_some) => break,
            accepted = listener.socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => start(&hub, &listener, stream, address),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a connection was not accepted");
                if !concerns_one_connection(&error) {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    // What the kernel took before the stop would be reset with the listener.
    for _ in 0..BACKLOG {
        match poll_fn(|cx| Poll::Ready(listener.socket.poll_accept(cx))).await {
            Poll::Ready(Ok((stream, address))) => start(&hub, &listener, stream, address),
            Poll::Ready(Err(_)) | Poll::Pending => return,
        }
    }
}

fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

fn start(hub: &Hub, listener: &Listener, stream: TcpStream, address: SocketAddr) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = &error as &dyn std::error::Error, "a client left before it was served");
        return;
    }
    let connection = Connection::open(hub, address, listener.tls.is_some());
    match listener.tls.clone() {
        Some(config) => tokio::task::spawn_local(serve_tls(connection, config, stream)),
        None => tokio::task::spawn_local(serve_plain(connection, stream)),
    };
}
