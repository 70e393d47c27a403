//! The thread of the origins' monitor.

use super::pulse::Pulse;
use super::worker::EventLoop;
use crate::http::timer::TICK;
use crate::proxy::Shared;
use crate::upstream::OriginMonitor;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;
use tokio::sync::watch::Receiver;

/// Starts the thread, which ends when the data plane begins to stop.
pub(super) fn start(
    shared: Arc<Shared>,
    pulse: Arc<Pulse>,
    mut stop: Receiver<Option<Instant>>,
) -> io::Result<JoinHandle<()>> {
    let begin = move || {
        let runtime = match EventLoop::new() {
            Ok(runtime) => runtime,
            Err(error) => {
                // The pulse ends with this thread, which the watchdog detects.
                return tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the origins are not monitored"
                );
            }
        };
        runtime.run(async {
            let mut ticks = tokio::time::interval(TICK);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut monitor = OriginMonitor::default();
            loop {
                tokio::select! {
                    _ = stop.wait_for(Option::is_some) => return,
                    _ = ticks.tick() => {}
                }
                let now = Instant::now();
                pulse.beat(now);
                shared.monitor_origins(&mut monitor, now);
            }
        });
    };
    std::thread::Builder::new().name("origins".to_owned()).spawn(begin)
}
