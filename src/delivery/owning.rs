//! Which accounts this instance sends for, if it is one of a fleet. The others send for the rest.

use super::Engine;
use crate::cdn::Rates;
use crate::guard::Since;
use crate::store::SavedRate;
use std::sync::PoisonError;

impl Engine {
    /// Returns the names of all accounts.
    pub fn accounts(&self) -> Vec<String> {
        let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.keys().cloned().collect()
    }

    /// Returns whether this instance is the one that sends for an account.
    pub fn owns(&self, account: &str) -> bool {
        let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.get(account).is_some_and(|account| account.ownership.is_open())
    }

    /// Sends for these accounts until `for_ms` milliseconds after a moment. `rates` are the buckets that were saved,
    /// if some of the accounts were another instance's before.
    pub fn own(&self, owned: &[String], since: Since, for_ms: i64, rates: &[SavedRate]) {
        let now_ms = self.shared.now_ms();
        for name in owned {
            let account = self.account(name, Rates::default);
            account.restore(rates, now_ms);
            account.ownership.open(since, for_ms);
        }
        if !rates.is_empty() {
            self.wake_all();
        }
    }

    /// Wakes all CDNs.
    pub fn wake_all(&self) {
        self.targets.load().all.iter().for_each(|target| target.wake.notify_one());
    }

    /// Tells those who wait for changes that something may have changed, because of another instance.
    pub fn changed(&self) {
        self.shared.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}
