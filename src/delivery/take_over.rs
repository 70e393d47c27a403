//! What a former run left, brought into this one, before anything is claimed or accepted.

use super::backoff::{LONGEST_BACKOFF, backoff};
use super::milliseconds;
use super::target::Shared;
use crate::config::Config;
use crate::store::{Left, Now, Store, StoreError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::SetOnce;
use tokio::time::sleep;

/// Takes over from the former run, before anything is claimed and anything more is accepted.
///
/// # Errors
///
/// The store's: then nothing has changed.
pub async fn take_over(store: &dyn Store, now: Now, config: &Config) -> Result<Left, StoreError> {
    let furthest_ms = now.steady_ms.saturating_add(milliseconds(longest_wait(config)));
    store.take_over(now, furthest_ms).await
}

/// The same until it succeeds.
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

/// The engine may begin with what was left.
pub(super) fn begin_with(left: &SetOnce<Left>, taken: Left) {
    if taken.leases > 0 {
        tracing::info!(leases = taken.leases, "going on with what a former run had begun");
    }
    // Only set here.
    let _ = left.set(taken);
}

/// No send is due later than this from now, unless the clock was ahead when it was put off.
fn longest_wait(config: &Config) -> Duration {
    let settle = config.sites.iter().map(|site| site.origin_settle);
    let repeat = config.sites.iter().flat_map(|site| &site.cdns).map(|cdn| cdn.repeat_after);
    settle.chain(repeat).max().unwrap_or_default().max(LONGEST_BACKOFF)
}
