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
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch::Receiver;
use tokio::task::LocalSet;

/// Out of file descriptors or memory, accepting again at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A worker before its thread: its event queue, and the sockets that are registered there.
pub(super) struct Starting {
    runtime: Background,
    listeners: Vec<Listener>,
    pulse: Arc<Pulse>,
}

/// A runtime that ends without waiting: neither for a name that is being resolved, nor does it mind to be dropped
/// by a caller that runs on a runtime itself (where waiting would be a panic).
struct Background(Option<Runtime>);

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

struct Listener {
    socket: TcpListener,
    tls: Option<Arc<ServerConfig>>,
}

impl Starting {
    pub(super) fn new() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let pulse = Arc::new(Pulse::new(Instant::now()));
        Ok(Self { runtime: Background(Some(runtime)), listeners: vec![], pulse })
    }

    /// Of the thread that it will be.
    pub(super) fn pulse(&self) -> Arc<Pulse> {
        Arc::clone(&self.pulse)
    }

    pub(super) fn listen(
        &mut self,
        socket: std::net::TcpListener,
        tls: Option<Arc<ServerConfig>>,
    ) -> io::Result<()> {
        let _registering = self.runtime.0.as_ref().map(Runtime::enter);
        self.listeners.push(Listener { socket: TcpListener::from_std(socket)?, tls });
        Ok(())
    }
}

/// The whole life of a worker.
pub(super) fn run(index: usize, starting: Starting, shared: &Shared, stop: Receiver<Option<Instant>>) {
    let Starting { runtime, listeners, pulse } = starting;
    let local = LocalSet::new();
    if let Some(runtime) = &runtime.0 {
        local.block_on(runtime, serve(index, listeners, pulse, shared, stop));
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
