//! What a former run left in the store.

use super::life::machine;
use crate::admin::{self, Untagged};
use crate::config::Config;
use crate::delivery::take_over;
use crate::guard::Freshness;
use crate::store::{Left, Now, Store};
use tokio::sync::Mutex;

/// Restores what a former run left, before any response gets a long lifetime: until the delivery tasks have started,
/// all CDNs are unhealthy.
pub(super) async fn recall(
    freshness: &Freshness,
    config: &Config,
    untagged: &Mutex<Untagged>,
    store: &dyn Store,
) -> Option<Left> {
    let now = Now { steady_ms: freshness.clock.steady_ms(), boot: machine() };
    // The take-over converts the store's times to the clock of this run, so it must come first.
    match take_over(store, now, config).await {
        Ok(left) => {
            admin::recall(freshness, config, store).await;
            untagged.lock().await.recall(store).await;
            Some(left)
        }
        Err(error) => {
            admin::recall_nothing(freshness, config, &error);
            freshness.set_untold(true);
            None
        }
    }
}
