//! Notifications to the service manager (sd_notify(3)): the shim is ready, stops, or is alive. Without
//! `NOTIFY_SOCKET` in the environment nothing is sent.

use sd_notify::NotifyState;
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// Notifies that requests are served. `status` is one line for `systemctl status`.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Notifies that a configuration is being loaded; [`ready`] ends this, whether the new one or the old one is
/// served.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// Notifies that nothing new is accepted.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// Notifies again and again that the program is alive, if the service manager asked for it, and as long as
/// every thread has been active recently. `quiet_for` returns the time since the quietest thread was last
/// active. Never returns.
pub async fn watchdog(quiet_for: impl Fn() -> Duration) -> Infallible {
    let Some(interval) = sd_notify::watchdog_enabled().filter(|interval| !interval.is_zero()) else {
        return std::future::pending().await;
    };
    feed(interval, quiet_for, || tell(&[NotifyState::Watchdog])).await
}

async fn feed(interval: Duration, quiet_for: impl Fn() -> Duration, alive: impl Fn()) -> Infallible {
    let mut ticks = tokio::time::interval(interval / 4);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stuck = false;
    loop {
        ticks.tick().await;
        let quiet = quiet_for();
        if quiet < interval / 2 {
            stuck = false;
            alive();
        } else if !stuck {
            stuck = true;
            tracing::error!(?quiet, "a thread is stuck: stopping the keep-alives to the service manager");
        }
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(error = &error as &dyn std::error::Error, "cannot notify the service manager");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test(start_paused = true)]
    async fn only_who_is_heard_of_is_alive() {
        let (quiet, told) = (Cell::new(Duration::ZERO), Cell::new(0));
        let interval = Duration::from_secs(8);
        let feeding = feed(interval, || quiet.get(), || told.set(told.get() + 1));
        let script = async {
            tokio::time::sleep(Duration::from_secs(7)).await;
            assert_eq!(told.take(), 4);
            quiet.set(Duration::from_secs(4));
            tokio::time::sleep(Duration::from_secs(20)).await;
            assert_eq!(told.take(), 0);
            quiet.set(Duration::from_secs(3));
            tokio::time::sleep(Duration::from_secs(4)).await;
            assert_eq!(told.take(), 2);
        };
        tokio::select! {
            never = feeding => match never {},
            () = script => {}
        }
    }
}
