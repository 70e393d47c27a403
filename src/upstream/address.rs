//! The state of an origin that all workers share: its addresses, their health, and the limit of concurrent
//! requests.
//!
//! The [`OriginMonitor`](super::health::OriginMonitor) writes the addresses. Workers read one flag of an address
//! for each request, and write only after a failure and in the recovery from it. An address that fails is avoided,
//! not forbidden: if all addresses are avoided, all are used.

use super::error::OriginError;
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// How long open connections may use an address that its name no longer resolves to. Names of large services
/// resolve to a different selection of their addresses each time.
const FAREWELL: Duration = Duration::from_secs(60);

/// An origin, which stays the same after a reload that does not change it.
#[derive(Debug)]
pub struct Upstream {
    /// The number under which its pooled connections are kept.
    pub id: OriginId,
    /// Scheme, host and port, for people.
    pub url: String,
    host: String,
    port: u16,
    /// In the order of the resolver. Empty if the name is not resolved yet.
    addresses: ArcSwap<Vec<Arc<Address>>>,
    /// The addresses that the name no longer resolves to, and since when.
    former: Mutex<Vec<(Arc<Address>, Instant)>>,
    /// The places for concurrent requests, if these are limited.
    pub(super) places: Option<Arc<Semaphore>>,
}

/// The number of an origin, which a reload does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OriginId(pub(super) usize);

/// The properties that distinguish origins for connections and for health.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Scheme, host and port.
    pub url: String,
    /// Host name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// All other settings that must be equal for connections to be shared.
    pub settings: String,
    /// The maximum number of concurrent requests, or 0 for any number.
    pub connections: usize,
}

/// The origins of all configurations so far.
#[derive(Debug, Default)]
pub struct Upstreams(Mutex<HashMap<String, Known>>);

type Known = (OriginId, Weak<Upstream>);

impl Upstreams {
    /// Returns the origin with this identity. Callers keep the returned handle, because this takes a lock and is
    /// not for the request path.
    pub fn of(&self, identity: Identity) -> Arc<Upstream> {
        let Identity { url, host, port, settings, connections } = identity;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = OriginId(known.len());
        let (id, upstream) = known.entry(format!("{url} {settings}")).or_insert((next, Weak::new()));
        if let Some(upstream) = upstream.upgrade() {
            return upstream;
        }
        let literal = host.parse::<IpAddr>().map(|address| Address::new(SocketAddr::new(address, port)));
        let made = Arc::new(Upstream {
            id: *id,
            url,
            host,
            port,
            addresses: ArcSwap::from_pointee(literal.into_iter().map(Arc::new).collect()),
            former: Mutex::default(),
            places: (connections > 0).then(|| Arc::new(Semaphore::new(connections))),
        });
        *upstream = Arc::downgrade(&made);
        made
    }
}

impl Upstream {
    /// Whether the host is a name and not an address.
    pub(super) fn is_named(&self) -> bool {
        self.host.parse::<IpAddr>().is_err()
    }

    /// Returns the known addresses, or none if the name is not resolved yet.
    pub(super) fn addresses(&self) -> Arc<Vec<Arc<Address>>> {
        self.addresses.load_full()
    }

    /// Whether requests should go to other origins.
    pub(super) fn is_avoided(&self) -> bool {
        let addresses = self.addresses.load();
        !addresses.is_empty() && addresses.iter().all(|address| address.is_avoided())
    }

    /// Whether there is an address other than this one that is not avoided.
    pub(super) fn has_another(&self, than: &Address) -> bool {
        let addresses = self.addresses.load();
        addresses.iter().any(|address| address.socket != than.socket && !address.is_avoided())
    }

    /// Queries the system's resolver. The result applies from now on.
    pub(super) async fn resolve(&self) -> Result<Arc<Vec<Arc<Address>>>, OriginError> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        let found: Vec<_> = found.map_err(OriginError::Resolve)?.collect();
        if found.is_empty() {
            return Err(OriginError::Resolve(io::ErrorKind::NotFound.into()));
        }
        self.learn(&found, Instant::now());
        Ok(self.addresses())
    }

    /// Replaces the addresses by those of the name now. Addresses that stay keep their state.
    fn learn(&self, found: &[SocketAddr], now: Instant) {
        // The lock is held throughout, so that two concurrent resolutions do not lose each other's addresses.
        let mut former = self.former.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.addresses.load_full();
        let mut addresses: Vec<Arc<Address>> = Vec::with_capacity(found.len());
        for socket in found {
            if addresses.iter().any(|address| address.socket == *socket) {
                continue;
            }
            let known = before.iter().chain(former.iter().map(|(address, _)| address));
            let known = known.into_iter().find(|address| address.socket == *socket).cloned();
            addresses.push(known.unwrap_or_else(|| Arc::new(Address::new(*socket))));
        }
        let is_listed = |address: &Arc<Address>| addresses.iter().any(|other| Arc::ptr_eq(address, other));
        former.retain(|(address, since)| {
            let leaves = now.saturating_duration_since(*since) >= FAREWELL;
            if leaves && !is_listed(address) {
                address.set(GONE, true);
            }
            !leaves && !is_listed(address)
        });
        for address in before.iter().filter(|address| !is_listed(address)) {
            if former.iter().all(|(other, _)| !Arc::ptr_eq(other, address)) {
                former.push((Arc::clone(address), now));
            }
        }
        let same = addresses.len() == before.len()
            && addresses.iter().zip(before.iter()).all(|(one, other)| Arc::ptr_eq(one, other));
        if !same {
            self.addresses.store(Arc::new(addresses));
        }
    }
}

/// The address is avoided because requests failed.
const EJECTED: u8 = 1;
/// The address is avoided because checks failed.
const DOWN: u8 = 2;
/// The address is avoided because its name has other addresses now.
const GONE: u8 = 4;

/// One address of an origin.
#[derive(Debug)]
pub struct Address {
    pub socket: SocketAddr,
    /// The reasons why the address is avoided, as bits. 0 if it is not avoided.
    avoided: AtomicU8,
    /// The number of consecutive failed requests.
    fails: AtomicU32,
    born: Instant,
    /// Until when the address is avoided because of failed requests, in milliseconds after `born`.
    ejected_until: AtomicU64,
}

impl Address {
    pub(super) fn new(socket: SocketAddr) -> Self {
        Self {
            socket,
            avoided: AtomicU8::new(0),
            fails: AtomicU32::new(0),
            born: Instant::now(),
            ejected_until: AtomicU64::new(0),
        }
    }

    /// Whether requests should go to other addresses.
    pub fn is_avoided(&self) -> bool {
        self.avoided.load(Ordering::Relaxed) != 0
    }

    /// Returns the reason why the address is avoided, in words.
    pub fn reason(&self) -> Option<&'static str> {
        match self.avoided.load(Ordering::Relaxed) {
            0 => None,
            avoided if avoided & DOWN != 0 => Some("its checks fail"),
            avoided if avoided & EJECTED != 0 => Some("requests fail there"),
            _ => Some("its name has other addresses now"),
        }
    }

    /// Records that the address answered a request.
    #[inline]
    pub(super) fn answered(&self) {
        if self.fails.load(Ordering::Relaxed) != 0 {
            self.recovered();
        }
    }

    #[cold]
    fn recovered(&self) {
        self.fails.store(0, Ordering::Relaxed);
        if self.set(EJECTED, false) {
            tracing::info!(address = %self.socket, "an address of an origin answers again");
        }
    }

    /// Records that the address accepted no connection, or did not answer in time. After `max` consecutive
    /// failures (0: never), it is avoided for `timeout`.
    pub(super) fn failed(&self, max: u32, timeout: Duration, now: Instant) {
        let fails = self.fails.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if max == 0 || fails < max {
            return;
        }
        let until = now.saturating_duration_since(self.born) + timeout;
        self.ejected_until.store(millis(until), Ordering::Relaxed);
        if self.set(EJECTED, true) {
            tracing::warn!(address = %self.socket, fails, "an address of an origin fails; others are preferred");
        }
    }

    /// Ends the avoidance of an address whose requests failed when its time is over. One more failure then makes it
    /// avoided again, while a new address has `max` attempts.
    pub(super) fn pardon(&self, max: u32, now: Instant) {
        let is_ejected = self.avoided.load(Ordering::Relaxed) & EJECTED != 0;
        let age = millis(now.saturating_duration_since(self.born));
        if is_ejected && (max == 0 || self.ejected_until.load(Ordering::Relaxed) <= age) {
            self.fails.store(max.saturating_sub(1), Ordering::Relaxed);
            self.set(EJECTED, false);
        }
    }

    /// Applies the verdict of the checks.
    pub(super) fn checked(&self, is_well: bool) {
        if is_well {
            self.fails.store(0, Ordering::Relaxed);
            self.set(EJECTED, false);
        }
        if self.set(DOWN, !is_well) {
            match is_well {
                true => tracing::info!(address = %self.socket, "an address of an origin is healthy again"),
                false => {
                    tracing::warn!(address = %self.socket, "checks of an address of an origin fail; others are preferred")
                }
            }
        }
    }

    /// Sets or removes a reason to avoid the address. Returns whether that is a change.
    fn set(&self, reason: u8, holds: bool) -> bool {
        let before = match holds {
            true => self.avoided.fetch_or(reason, Ordering::Relaxed),
            false => self.avoided.fetch_and(!reason, Ordering::Relaxed),
        };
        (before & reason != 0) != holds
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the addresses in the order in which a new connection tries them, with those that are not avoided first,
/// and the number of these. `but` is left out if there are others.
pub(super) fn in_turn(all: &[Arc<Address>], but: Option<&Address>) -> (Vec<Arc<Address>>, usize) {
    let is_wanted = |address: &&Arc<Address>| but.is_none_or(|but| but.socket != address.socket);
    let mut addresses: Vec<_> = all.iter().filter(is_wanted).cloned().collect();
    if addresses.is_empty() {
        addresses = all.to_vec();
    }
    addresses.sort_by_cached_key(|address| address.is_avoided());
    let preferred = addresses.iter().filter(|address| !address.is_avoided()).count();
    (addresses, preferred)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn socket(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 80))
    }

    fn upstream(host: &str) -> Arc<Upstream> {
        Upstreams::default().of(identity(host, ""))
    }

    fn identity(host: &str, settings: &str) -> Identity {
        let url = format!("http://{host}:80");
        Identity { url, host: host.to_owned(), port: 80, settings: settings.to_owned(), connections: 0 }
    }

    fn sockets(upstream: &Upstream) -> Vec<SocketAddr> {
        upstream.addresses().iter().map(|address| address.socket).collect()
    }

    #[test]
    fn an_origin_is_the_same_as_long_as_it_is_used_and_its_number_for_ever() {
        let all = Upstreams::default();
        let first = all.of(identity("a.test", ""));
        assert!(Arc::ptr_eq(&first, &all.of(identity("a.test", ""))));
        let other = all.of(identity("a.test", "another certificate"));
        assert!(other.id != first.id && all.of(identity("b.test", "")).id != first.id);
        let id = first.id;
        drop(first);
        assert_eq!(all.of(identity("a.test", "")).id, id);
    }

    #[test]
    fn failures_in_a_row_eject_and_time_gives_one_more_chance() {
        let address = Address::new(socket(1));
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let fail = |seconds| address.failed(3, TIMEOUT, after(seconds));
        fail(0);
        fail(0);
        address.answered();
        fail(0);
        fail(0);
        assert!(!address.is_avoided());
        fail(1);
        assert!(address.is_avoided());
        address.pardon(3, after(10));
        assert!(address.is_avoided());
        address.pardon(3, after(12));
        assert!(!address.is_avoided());
        fail(12);
        assert_eq!(address.reason(), Some("requests fail there"));
        address.answered();
        assert!(!address.is_avoided());
        for _ in 0..100 {
            address.failed(0, TIMEOUT, start);
        }
        assert!(!address.is_avoided());
    }

    #[test]
    fn checks_speak_louder_than_requests() {
        let address = Address::new(socket(1));
        let now = Instant::now();
        address.checked(false);
        address.failed(1, TIMEOUT, now);
        address.answered();
        address.pardon(1, now + TIMEOUT * 2);
        assert_eq!(address.reason(), Some("its checks fail"));
        address.failed(1, TIMEOUT, now);
        address.checked(true);
        assert_eq!(address.reason(), None);
    }

    #[test]
    fn addresses_keep_what_is_known_of_them() {
        let upstream = upstream("a.test");
        let start = Instant::now();
        upstream.learn(&[socket(1), socket(2), socket(1)], start);
        assert_eq!(sockets(&upstream), [socket(1), socket(2)]);
        let first = Arc::clone(&upstream.addresses()[0]);
        first.failed(1, TIMEOUT, start);
        upstream.learn(&[socket(2), socket(1)], start);
        assert!(Arc::ptr_eq(&upstream.addresses()[1], &first) && first.is_avoided());

        // The name resolves to a different selection of its addresses, then to the first one again.
        upstream.learn(&[socket(3)], start);
        upstream.learn(&[socket(1)], start + FAREWELL / 2);
        assert!(Arc::ptr_eq(&upstream.addresses()[0], &first));
        first.answered();
        assert!(!first.is_avoided());
        // The address does not return.
        upstream.learn(&[socket(3)], start + FAREWELL);
        assert!(!first.is_avoided());
        upstream.learn(&[socket(3)], start + FAREWELL * 3);
        assert_eq!(first.reason(), Some("its name has other addresses now"));
    }

    #[test]
    fn those_that_do_well_are_tried_first_and_the_last_one_always() {
        let upstream = upstream("a.test");
        assert!(!upstream.is_avoided());
        let now = Instant::now();
        upstream.learn(&[socket(1), socket(2), socket(3)], now);
        let all = upstream.addresses();
        let turns = |but| {
            let (addresses, preferred) = in_turn(&all, but);
            (
                addresses.iter().map(|address| address.socket.to_string()).collect::<Vec<_>>().join(" "),
                preferred,
            )
        };
        assert_eq!(turns(None), ("10.0.0.1:80 10.0.0.2:80 10.0.0.3:80".to_owned(), 3));
        all[0].failed(1, TIMEOUT, now);
        assert_eq!(turns(None), ("10.0.0.2:80 10.0.0.3:80 10.0.0.1:80".to_owned(), 2));
        assert_eq!(turns(Some(&all[1])), ("10.0.0.3:80 10.0.0.1:80".to_owned(), 1));
        assert!(upstream.has_another(&all[1]) && !upstream.is_avoided());
        all[2].checked(false);
        assert!(!upstream.has_another(&all[1]));
        all[1].checked(false);
        assert_eq!(turns(None), ("10.0.0.1:80 10.0.0.2:80 10.0.0.3:80".to_owned(), 0));
        assert!(upstream.is_avoided());
        let alone = &all[..1];
        assert_eq!(in_turn(alone, Some(&all[0])).0.len(), 1);
    }

    #[test]
    fn an_address_needs_no_resolver() {
        let upstream = upstream("10.0.0.1");
        assert!(!upstream.is_named());
        assert_eq!(sockets(&upstream), [socket(1)]);
    }
}
