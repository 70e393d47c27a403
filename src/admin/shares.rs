//! Places that callers share, with a limit for each token and each address.

use super::caller::Caller;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The caller that requests a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Who {
    /// The token's name.
    pub(super) token: String,
    /// The caller's network: the address, or the /64 of an IPv6 address.
    pub(super) network: IpAddr,
}

impl Who {
    pub(super) fn is(caller: &Caller) -> Self {
        Self { token: caller.name().to_owned(), network: caller.network() }
    }
}

/// The places.
#[derive(Clone, Debug)]
pub(super) struct Shares(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    all: usize,
    per_token: usize,
    per_address: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    tokens: HashMap<String, usize>,
    networks: HashMap<IpAddr, usize>,
}

/// The limit that is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    Token,
    Address,
    All,
}

impl Shares {
    /// Returns places with limits on their number in total, for one token, and for one address.
    pub(super) fn new(all: usize, per_token: usize, per_address: usize) -> Self {
        Self(Arc::new(Inner { all, per_token, per_address, taken: Mutex::default() }))
    }

    /// Takes a place, if there is one.
    pub(super) fn take(&self, who: Who) -> Result<Share, Full> {
        let Inner { all, per_token, per_address, .. } = &*self.0;
        let mut taken = self.0.taken();
        if count(&taken.tokens, &who.token) >= *per_token {
            return Err(Full::Token);
        }
        if count(&taken.networks, &who.network) >= *per_address {
            return Err(Full::Address);
        }
        if taken.all >= *all {
            return Err(Full::All);
        }
        taken.all += 1;
        *taken.tokens.entry(who.token.clone()).or_default() += 1;
        *taken.networks.entry(who.network).or_default() += 1;
        drop(taken);
        Ok(Share { shares: self.clone(), who })
    }
}

impl Inner {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count<K: Eq + Hash>(counts: &HashMap<K, usize>, key: &K) -> usize {
    counts.get(key).copied().unwrap_or_default()
}

fn give_back<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// A place; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Share {
    shares: Shares,
    who: Who,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.0.taken();
        taken.all -= 1;
        give_back(&mut taken.tokens, &self.who.token);
        give_back(&mut taken.networks, &self.who.network);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(token: &str, last: u8) -> Who {
        Who { token: token.to_owned(), network: IpAddr::from([192, 0, 2, last]) }
    }

    #[test]
    fn nobody_takes_all() {
        let shares = Shares::new(5, 2, 3);
        let take = |token, last| shares.take(who(token, last));
        let first = take("a", 1).unwrap();
        let _second = take("a", 1).unwrap();
        assert_eq!(take("a", 2).unwrap_err(), Full::Token);
        let _third = take("b", 1).unwrap();
        assert_eq!(take("c", 1).unwrap_err(), Full::Address);
        let _more = [take("b", 2).unwrap(), take("c", 2).unwrap()];
        assert_eq!(take("d", 3).unwrap_err(), Full::All);
        drop(first);
        drop(take("a", 2).unwrap());
        let _last = take("d", 3).unwrap();
        drop((_second, _third, _more, _last));
        let taken = shares.0.taken();
        assert!(taken.all == 0 && taken.tokens.is_empty() && taken.networks.is_empty());
    }
}
