//! Failed logins, counted by address: five per minute get the 401, further ones a 429.
//!
//! A valid token is never throttled, whatever other clients at its address do: clients often share an address (a
//! proxy, a NAT), and a purge that is turned away leaves an old page. Guessing is hopeless all the same, because
//! tokens have at least 16 characters. The limit makes a client with an invalid token stop, and keeps the log
//! readable.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The number of failures that get the 401 in one window.
const FAILURES: u32 = 5;
/// The length of the window.
const WINDOW: Duration = Duration::from_secs(60);
/// The number of addresses that are remembered. Beyond it, the oldest is forgotten.
const ADDRESSES: usize = 4_096;

/// The failed logins of the last minute.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<HashMap<IpAddr, Window>>);

#[derive(Debug)]
struct Window {
    began: Instant,
    count: u32,
}

/// The answer to a failed login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The ordinary answer.
    Unauthorized,
    /// The answer after too many failures.
    TooMany {
        /// The time until the window ends, before which the client must not try again.
        wait: Duration,
        /// Whether this is the first such answer of the window, which is logged.
        first: bool,
    },
}

impl Failures {
    /// Counts a failed login from `address`.
    pub(super) fn note(&self, address: IpAddr, now: Instant) -> Refusal {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let network = network(address);
        if !windows.contains_key(&network) && windows.len() >= ADDRESSES {
            make_room(&mut windows, now);
        }
        let window = windows.entry(network).or_insert(Window { began: now, count: 0 });
        if now.duration_since(window.began) >= WINDOW {
            *window = Window { began: now, count: 0 };
        }
        window.count = window.count.saturating_add(1);
        if window.count <= FAILURES {
            return Refusal::Unauthorized;
        }
        let wait = WINDOW.saturating_sub(now.duration_since(window.began));
        Refusal::TooMany { wait, first: window.count == FAILURES + 1 }
    }
}

fn make_room(windows: &mut HashMap<IpAddr, Window>, now: Instant) {
    windows.retain(|_, window| now.duration_since(window.began) < WINDOW);
    if windows.len() >= ADDRESSES
        && let Some(oldest) =
            windows.iter().min_by_key(|(_, window)| window.began).map(|(address, _)| *address)
    {
        windows.remove(&oldest);
    }
}

/// Returns the network of an address: an IPv4 address itself, or the /64 of an IPv6 address, which one client has
/// whole.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(failures: &Failures, address: &str, now: Instant) -> Option<u64> {
        match failures.note(address.parse().unwrap(), now) {
            Refusal::Unauthorized => None,
            Refusal::TooMany { wait, .. } => Some(wait.as_secs()),
        }
    }

    #[test]
    fn five_a_minute_by_address() {
        let (failures, start) = (Failures::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        for second in 0..5 {
            assert_eq!(note(&failures, "192.0.2.1", at(second)), None);
        }
        assert_eq!(note(&failures, "192.0.2.1", at(10)), Some(50));
        assert_eq!(note(&failures, "::ffff:192.0.2.1", at(59)), Some(1), "the same in another spelling");
        assert_eq!(note(&failures, "192.0.2.2", at(10)), None);
        assert_eq!(note(&failures, "192.0.2.1", at(60)), None);

        for last in 1..=5 {
            assert_eq!(note(&failures, &format!("2001:db8::{last}"), start), None);
        }
        assert_eq!(note(&failures, "2001:db8::6", start), Some(60), "the same /64");
        assert_eq!(note(&failures, "2001:db8:0:1::6", start), None);
    }

    #[test]
    fn only_the_first_refusal_of_a_window_is_news() {
        let (failures, now, address) = (Failures::default(), Instant::now(), IpAddr::from([192, 0, 2, 1]));
        let refusals: Vec<_> = (0..8).map(|_| failures.note(address, now)).collect();
        let news = |refusal: &&Refusal| matches!(refusal, Refusal::TooMany { first: true, .. });
        assert_eq!(refusals.iter().filter(news).count(), 1);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_oldest() {
        let (failures, start) = (Failures::default(), Instant::now());
        let address = |index: u32| IpAddr::from(index.to_be_bytes());
        for _ in 0..=FAILURES {
            failures.note(address(u32::MAX), start + Duration::from_secs(1));
        }
        for index in 0..2 * ADDRESSES as u32 {
            failures.note(address(index), start + Duration::from_millis(u64::from(index / 8)));
        }
        assert_eq!(failures.0.lock().unwrap().len(), ADDRESSES);
        failures.note(address(u32::MAX - 1), start + Duration::from_secs(120));
        assert_eq!(failures.0.lock().unwrap().len(), 1, "windows that ended make room first");
    }
}
