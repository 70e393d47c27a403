//! A token bucket that takes the time as an argument. Its state is one moment, at which the bucket is full again (the
//! generic cell rate algorithm). This moment moves on only when tokens are taken and not as time passes, so it is easy
//! to store.
//!
//! Tokens are *reserved* before a call is prepared and *spent* when it leaves. The refill of a token begins when it is
//! spent, not when it is reserved. Otherwise a delayed call would leave together with other calls that use the tokens
//! refilled meanwhile.

use crate::base::from_microseconds;
use std::time::Duration;

/// A token bucket. Moments are in microseconds of any clock that does not jump.
#[derive(Clone, Debug, PartialEq)]
pub struct Bucket {
    /// Microseconds until one token is refilled.
    interval: f64,
    burst: f64,
    full_at: i64,
    reserved: f64,
    /// The moment before which the CDN grants no tokens.
    empty_until: i64,
}

impl Bucket {
    /// Creates a full bucket of `burst` tokens that refills `per_second` tokens per second.
    pub fn new(per_second: f64, burst: f64) -> Self {
        Self { interval: 1e6 / per_second, burst, full_at: i64::MIN, reserved: 0.0, empty_until: i64::MIN }
    }

    /// Returns how many tokens can be reserved now. The number is negative after more was taken than there was.
    #[cfg(test)]
    pub fn available(&self, now: i64) -> f64 {
        if now < self.empty_until { 0.0 } else { self.unspent(now) - self.reserved }
    }

    /// Returns how long until `amount` can be reserved if no other caller takes tokens. An amount above the
    /// bucket's capacity is treated as the capacity.
    pub fn wait(&self, amount: f64, now: i64) -> Duration {
        if amount <= 0.0 {
            return Duration::ZERO;
        }
        let refilled = self.time_for(amount.min(self.burst), now);
        refilled.max(from_microseconds(self.empty_until.saturating_sub(now)))
    }

    /// Returns how long until `amount` has been refilled, even if that is more than the bucket holds.
    pub fn time_for(&self, amount: f64, now: i64) -> Duration {
        let missing = amount - (self.unspent(now) - self.reserved);
        // A rounding error is not a missing token.
        let is_there = amount <= 0.0 || missing <= 1e-6;
        if is_there { Duration::ZERO } else { from_microseconds((missing * self.interval).ceil() as i64) }
    }

    /// Reserves `amount` for a call that is not ready yet.
    pub fn reserve(&mut self, amount: f64) {
        self.reserved += amount;
    }

    /// Returns a reservation to the bucket.
    pub fn release(&mut self, amount: f64) {
        self.reserved = (self.reserved - amount).max(0.0);
    }

    /// Spends reserved tokens for a call that leaves now.
    pub fn spend(&mut self, amount: f64, now: i64) {
        self.release(amount);
        self.full_at = self.full_at.max(now).saturating_add((amount * self.interval).ceil() as i64);
    }

    /// Applies the number of tokens that the CDN reports as left. If it is lower than ours, others share the
    /// account.
    pub fn left(&mut self, remaining: f64, now: i64) {
        if remaining < self.unspent(now) {
            self.full_at = now.saturating_add(((self.burst - remaining) * self.interval).ceil() as i64);
        }
    }

    /// Applies the CDN's report that no tokens are left before this moment and that all are back then.
    pub fn empty_until(&mut self, moment: i64) {
        self.empty_until = self.empty_until.max(moment);
    }

    /// Returns when the bucket is full again if everything reserved leaves as late as at `latest`. The store keeps
    /// this moment, so that after a crash no token that may have been spent counts as left.
    pub fn full_at(&self, latest: i64) -> i64 {
        let spent = self.full_at.max(latest).saturating_add((self.reserved * self.interval).ceil() as i64);
        spent.max(self.empty_until)
    }

    /// Restores the moment that a store kept. A bucket cannot be emptier than empty.
    pub fn restore(&mut self, full_at: i64, now: i64) {
        let empty = now.saturating_add((self.burst * self.interval).ceil() as i64);
        self.full_at = self.full_at.max(full_at.min(empty));
    }

    fn unspent(&self, now: i64) -> f64 {
        self.burst - self.full_at.saturating_sub(now).max(0) as f64 / self.interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: i64 = 1_000_000;

    /// Waits as long as necessary, then takes the tokens. Returns the wait in milliseconds.
    fn take(bucket: &mut Bucket, amount: f64, now: &mut i64) -> u128 {
        let wait = bucket.wait(amount, *now);
        *now += wait.as_micros() as i64;
        assert_eq!(bucket.wait(amount, *now), Duration::ZERO);
        bucket.reserve(amount);
        bucket.spend(amount, *now);
        wait.as_millis()
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let (mut bucket, mut now) = (Bucket::new(5.0 / 60.0, 3.0), 0);
        let waits: Vec<_> = (0..5).map(|_| take(&mut bucket, 1.0, &mut now)).collect();
        assert_eq!(waits, [0, 0, 0, 12_000, 12_000]);
        now += 24 * SECOND;
        let waits: Vec<_> = (0..3).map(|_| take(&mut bucket, 1.0, &mut now)).collect();
        assert_eq!(waits, [0, 0, 12_000]);
    }

    #[test]
    fn large_amounts_wait_for_all_of_it() {
        let (mut bucket, mut now) = (Bucket::new(10.0, 100.0), 0);
        assert_eq!(take(&mut bucket, 80.0, &mut now), 0);
        assert_eq!(take(&mut bucket, 80.0, &mut now), 6_000);
        // An amount above the capacity waits until the bucket is full, and later ones wait longer.
        assert_eq!(take(&mut bucket, 150.0, &mut now), 10_000);
        assert_eq!(take(&mut bucket, 1.0, &mut now), 5_100);
        assert_eq!(bucket.time_for(1_000.0, now), Duration::from_secs(100));
    }

    #[test]
    fn a_reservation_does_not_come_back_before_it_is_spent() {
        let mut bucket = Bucket::new(1.0, 5.0);
        bucket.reserve(5.0);
        assert_eq!(bucket.available(100 * SECOND), 0.0);
        bucket.spend(3.0, 100 * SECOND);
        bucket.release(2.0);
        assert_eq!(bucket.available(100 * SECOND), 2.0);
        assert_eq!(bucket.available(101 * SECOND), 3.0);
    }

    #[test]
    fn the_cdn_knows_better_when_it_knows_of_less() {
        let mut bucket = Bucket::new(1.0, 10.0);
        bucket.left(4.0, 0);
        assert_eq!(bucket.available(0), 4.0);
        bucket.left(9.0, 0);
        assert_eq!(bucket.available(0), 4.0);
        bucket.empty_until(30 * SECOND);
        assert_eq!(bucket.available(29 * SECOND), 0.0);
        assert_eq!(bucket.wait(1.0, 0), Duration::from_secs(30));
        assert_eq!(bucket.available(30 * SECOND), 10.0);
    }

    #[test]
    fn a_restored_bucket_is_no_emptier_than_empty() {
        let mut bucket = Bucket::new(1.0, 10.0);
        bucket.restore(i64::MAX, 0);
        assert_eq!(bucket.available(0), 0.0);
        // An earlier moment does not undo a later one.
        bucket.restore(0, 0);
        assert_eq!(bucket.available(0), 0.0);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Pass(i64),
        /// Reserves what is available, up to this number.
        Reserve(u8),
        Release,
        Spend,
        Restart,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..3_000_000_i64).prop_map(Step::Pass),
            (1..20_u8).prop_map(Step::Reserve),
            Just(Step::Release),
            Just(Step::Spend),
            Just(Step::Spend),
            Just(Step::Restart),
        ]
    }

    proptest! {
        /// In any period, no more leaves than the burst and what was refilled meanwhile. This also holds across
        /// restarts, which know only what was saved when something was last reserved. A reservation expires after
        /// a while.
        #[test]
        fn never_more_than_the_rate(
            per_second in 0.05..50.0_f64,
            burst in 1.0..60.0_f64,
            steps in prop::collection::vec(step(), 1..100),
        ) {
            let mut bucket = Bucket::new(per_second, burst);
            let (mut now, mut kept, mut reserved) = (0_i64, 0_i64, Vec::new());
            let mut left: Vec<(i64, f64)> = Vec::new();
            for step in steps {
                match step {
                    Step::Pass(micros) => now += micros,
                    Step::Reserve(most) => {
                        let amount = f64::from(most).min(bucket.available(now).floor());
                        if amount >= 1.0 {
                            bucket.reserve(amount);
                            reserved.push((now, amount));
                            kept = kept.max(bucket.full_at(now + 5 * SECOND));
                        }
                    }
                    Step::Release => {
                        if let Some((_, amount)) = reserved.pop() {
                            bucket.release(amount);
                        }
                    }
                    Step::Spend => {
                        reserved.retain(|(at, amount)| {
                            let is_good = now - at <= 5 * SECOND;
                            if !is_good {
                                bucket.release(*amount);
                            }
                            is_good
                        });
                        if let Some((_, amount)) = reserved.pop() {
                            bucket.spend(amount, now);
                            left.push((now, amount));
                        }
                    }
                    Step::Restart => {
                        // What had been reserved may have left just before the restart.
                        let good = reserved.drain(..).filter(|(at, _)| now - at <= 5 * SECOND);
                        left.extend(good.map(|(_, amount)| (now, amount)));
                        bucket = Bucket::new(per_second, burst);
                        bucket.restore(kept, now);
                    }
                }
            }
            for (first, (from, _)) in left.iter().enumerate() {
                let mut sum = 0.0;
                for (until, amount) in &left[first..] {
                    sum += amount;
                    let allowed = burst + per_second * (until - from) as f64 / 1e6;
                    prop_assert!(sum <= allowed + 1e-3, "{sum} in {} us, {allowed} allowed", until - from);
                }
            }
        }
    }
}
