//! The same purge, sent by one client to several of our addresses, is one: plug-ins for Varnish send each purge to
//! every server in their list. The second one waits for the commit of the first. A client that sends a purge to the
//! same address again means another one, because something may have changed in between.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The time within which a client sends a purge to all of its servers, one after the other.
const WINDOW: Duration = Duration::from_millis(500);

/// A listener: its address as configured, and its number among those of the same address.
pub(super) type Listener = (SocketAddr, usize);

/// The digest of a purge and its client.
pub(super) type Key = [u8; 32];

/// The id of a committed purge; `None` if it was not committed.
type Outcome = Option<String>;

/// The purges of the last moments.
#[derive(Debug, Default)]
pub(super) struct Repeats(Mutex<HashMap<Key, Sighting>>);

#[derive(Debug)]
struct Sighting {
    first: Instant,
    listeners: Vec<Listener>,
    outcome: watch::Receiver<Option<Outcome>>,
}

/// What a purge is among those of the last moments.
#[derive(Debug)]
pub(super) enum Role {
    /// A new one, of which the outcome must be told.
    New(watch::Sender<Option<Outcome>>),
    /// One that came to another listener before, with its outcome.
    Repeated(watch::Receiver<Option<Outcome>>),
}

impl Repeats {
    /// Notes a purge that came to a listener.
    pub(super) fn note(&self, key: Key, listener: Listener, now: Instant) -> Role {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, sighting| now.saturating_duration_since(sighting.first) < WINDOW);
        if let Some(sighting) = known.get_mut(&key)
            && !sighting.listeners.contains(&listener)
        {
            sighting.listeners.push(listener);
            return Role::Repeated(sighting.outcome.clone());
        }
        let (tell, outcome) = watch::channel(None);
        known.insert(key, Sighting { first: now, listeners: vec![listener], outcome });
        Role::New(tell)
    }
}

/// Waits for the outcome of a repeated purge.
pub(super) async fn outcome(mut of: watch::Receiver<Option<Outcome>>) -> Outcome {
    of.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(port: u16) -> Listener {
        (SocketAddr::from(([127, 0, 0, 1], port)), 0)
    }

    fn is_new(role: &Role) -> bool {
        matches!(role, Role::New(_))
    }

    #[test]
    fn another_address_repeats_and_the_same_one_means_another_purge() {
        let (repeats, now) = (Repeats::default(), Instant::now());
        assert!(is_new(&repeats.note([1; 32], listener(1), now)));
        assert!(!is_new(&repeats.note([1; 32], listener(2), now)));
        assert!(!is_new(&repeats.note([1; 32], listener(3), now)));
        assert!(is_new(&repeats.note([2; 32], listener(2), now)), "another purge");
        assert!(is_new(&repeats.note([1; 32], listener(1), now)), "the same purge again");
        assert!(!is_new(&repeats.note([1; 32], listener(2), now)), "the same purge again");
        assert!(is_new(&repeats.note([1; 32], listener(2), now)));
    }

    #[test]
    fn what_is_long_ago_is_another_purge() {
        let (repeats, now) = (Repeats::default(), Instant::now());
        assert!(is_new(&repeats.note([1; 32], listener(1), now)));
        assert!(is_new(&repeats.note([1; 32], listener(2), now + WINDOW)));
        assert_eq!(repeats.0.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_repeated_purge_has_the_outcome_of_the_first() {
        let (repeats, now) = (Repeats::default(), Instant::now());
        let Role::New(tell) = repeats.note([1; 32], listener(1), now) else { panic!("it is new") };
        let Role::Repeated(of) = repeats.note([1; 32], listener(2), now) else { panic!("it is repeated") };
        let Role::Repeated(other) = repeats.note([1; 32], listener(3), now) else { panic!("it is repeated") };
        tell.send_replace(Some(Some("id".to_owned())));
        assert_eq!(outcome(of).await.as_deref(), Some("id"));
        drop(tell);
        assert_eq!(outcome(other).await.as_deref(), Some("id"));
        let Role::New(tell) = repeats.note([2; 32], listener(1), now) else { panic!("it is new") };
        let Role::Repeated(of) = repeats.note([2; 32], listener(2), now) else { panic!("it is repeated") };
        drop(tell);
        assert_eq!(outcome(of).await, None);
    }
}
