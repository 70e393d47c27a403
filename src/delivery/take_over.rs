//! Takes over what the previous run left, before anything is claimed or accepted.

use super::backoff::{LONGEST_BACKOFF, backoff};
use super::milliseconds;
use super::target::Shared;
use crate::config::Config;
use crate::store::{Left, Now, Store, StoreError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::SetOnce;
use tokio::time::sleep;

/// Takes over from the previous run. This must happen before anything is claimed or accepted.
///
/// # Errors
///
/// Fails if the store fails; then nothing has changed.
pub async fn take_over(store: &dyn Store, now: Now, config: &Config) -> Result<Left, StoreError> {
    let furthest_ms = now.steady_ms.saturating_add(milliseconds(longest_wait(config)));
    store.take_over(now, furthest_ms).await
}

/// Calls [`take_over`] until it succeeds.
pub(super) async fn keep_trying(shared: Arc<Shared>, config: Config, left: Arc<SetOnce<Left>>) {
    let mut failures = 0;
    loop {
        match take_over(&*shared.store, shared.now(), &config).await {
            Ok(taken) => return begin_with(&left, taken),
            Err(_) => {
                failures += 1;
                sleep(backoff(failures, fastrand::f64())).await;
            }
        }
    }
}

/// Lets the engine begin with what was left.
pub(super) fn begin_with(left: &SetOnce<Left>, taken: Left) {
    if taken.leases > 0 {
        tracing::info!(leases = taken.leases, "resuming purges of a previous run");
    }
    // Nothing else sets this.
    let _ = left.set(taken);
}

/// The longest time from now until any send is due, unless the clock was ahead when the send was postponed. A wait
/// that a CDN asked for may be longer; it is kept by the account's silence, which is stored as well.
fn longest_wait(config: &Config) -> Duration {
    let settle = config.sites.iter().map(|site| site.origin_settle);
    let repeat = config.sites.iter().flat_map(|site| &site.cdns).map(|cdn| cdn.repeat_after);
    settle.chain(repeat).max().unwrap_or_default().max(LONGEST_BACKOFF)
}
