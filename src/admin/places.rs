//! The places of connections. A connection is a stranger until a valid token has come over it. Strangers share a room
//! in which the next one always finds a place: if the room is full, another stranger leaves ([`Places::enter`] chooses
//! it). So a client with a token can always present it, whatever others do. From then on the connection has a place of
//! its own, within its token's share.

use super::throttle::network;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The time in which a new connection may not have sent its first request yet: a TLS handshake across the world.
const GREETING: Duration = Duration::from_secs(1);

/// The number of places.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Connections over which no valid token came, or of tokens beyond their share.
    pub(super) strangers: usize,
    /// Connections over which a valid token came.
    pub(super) known: usize,
    /// The part of the known connections that one token may have.
    pub(super) per_token: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { strangers: 256, known: 512, per_token: 32 }
    }
}

impl Room {
    /// Returns a room for a process that may open `files` files (`None`: any number). Connections get an eighth of
    /// them at most, so that the store and the calls to CDNs keep theirs.
    pub(super) fn within(files: Option<u64>) -> Self {
        let Self { strangers, known, per_token } = Self::default();
        let share =
            files.map_or(usize::MAX, |files| usize::try_from(files / 16).unwrap_or(usize::MAX)).max(8);
        Self { strangers: strangers.min(share), known: known.min(share), per_token: per_token.min(share) }
    }
}

/// The places of the listener.
#[derive(Debug)]
pub(super) struct Places {
    room: Room,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The strangers, in the order in which they came.
    strangers: BTreeMap<u64, Stranger>,
    /// The number of known connections, by the token's name.
    known: HashMap<String, usize>,
    next: u64,
}

#[derive(Debug)]
struct Stranger {
    network: IpAddr,
    since: Instant,
    /// The number of requests that are being answered.
    busy: usize,
    cut: CancellationToken,
}

impl Places {
    pub(super) fn new(room: Room) -> Arc<Self> {
        Arc::new(Self { room, state: Mutex::default() })
    }

    /// Returns a place for one more connection. If the room is full, a stranger of the address with the most
    /// strangers leaves: preferably one that has had the time for a first request, then one that has no request in
    /// progress, then the one that came first.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Place {
        let mut state = self.state();
        while state.strangers.len() >= self.room.strangers.max(1) {
            let Some(leaving) = state.leaving() else { break };
            if let Some(stranger) = state.strangers.remove(&leaving) {
                stranger.cut.cancel();
            }
        }
        let (number, cut) = (state.next, CancellationToken::new());
        state.next += 1;
        let (network, since) = (network(address), Instant::now());
        let stranger = Stranger { network, since, busy: 0, cut: cut.clone() };
        state.strangers.insert(number, stranger);
        drop(state);
        Place(Arc::new(Held { places: self.clone(), number, cut, token: Mutex::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn leaving(&self) -> Option<u64> {
        let mut crowds: HashMap<IpAddr, usize> = HashMap::new();
        for stranger in self.strangers.values() {
            *crowds.entry(stranger.network).or_default() += 1;
        }
        let crowd = |stranger: &Stranger| crowds.get(&stranger.network).copied().unwrap_or_default();
        let first = self.strangers.iter().min_by_key(|(number, stranger)| {
            let is_new = stranger.since.elapsed() < GREETING;
            (Reverse(crowd(stranger)), is_new, stranger.busy > 0, **number)
        });
        first.map(|(number, _)| *number)
    }
}

/// The place of one connection, given back when the last of its clones is dropped.
#[derive(Clone, Debug)]
pub(super) struct Place(Arc<Held>);

#[derive(Debug)]
struct Held {
    places: Arc<Places>,
    number: u64,
    cut: CancellationToken,
    /// The token whose share contains the place; `None` for a stranger's place.
    token: Mutex<Option<String>>,
}

impl Place {
    /// Waits until the place has gone to another connection.
    pub(super) async fn lost(&self) {
        self.0.cut.cancelled().await;
    }

    /// Reports that a valid token came over the connection. From now on no stranger takes its place, if there is room
    /// for it in the token's share and among all known connections. Otherwise it stays a stranger.
    pub(super) fn known_as(&self, token: &str) {
        let Held { places, number, token: own, .. } = &*self.0;
        let mut own = own.lock().unwrap_or_else(PoisonError::into_inner);
        if own.is_some() {
            return;
        }
        let mut state = places.state();
        let all: usize = state.known.values().sum();
        let share = state.known.get(token).copied().unwrap_or_default();
        // A stranger that is not in the map any more has lost its place, and its connection is about to end.
        if all < places.room.known
            && share < places.room.per_token
            && state.strangers.remove(number).is_some()
        {
            state.known.insert(token.to_owned(), share + 1);
            *own = Some(token.to_owned());
        }
    }

    /// Counts a request as being answered until the returned value is dropped.
    pub(super) fn begin(&self) -> Busy {
        self.count(|busy| busy + 1);
        Busy(self.clone())
    }

    fn count(&self, change: impl Fn(usize) -> usize) {
        if let Some(stranger) = self.0.places.state().strangers.get_mut(&self.0.number) {
            stranger.busy = change(stranger.busy);
        }
    }
}

/// A request that is being answered; see [`Place::begin`].
#[derive(Debug)]
pub(super) struct Busy(Place);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.count(|busy| busy.saturating_sub(1));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let token = self.token.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let mut state = self.places.state();
        let Some(token) = token else {
            state.strangers.remove(&self.number);
            return;
        };
        if let Some(share) = state.known.get_mut(&token) {
            *share -= 1;
            if *share == 0 {
                state.known.remove(&token);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn is_lost(place: &Place) -> bool {
        place.0.cut.is_cancelled()
    }

    fn places(strangers: usize, known: usize, per_token: usize) -> Arc<Places> {
        Places::new(Room { strangers, known, per_token })
    }

    #[test]
    fn few_files_leave_fewer_places() {
        let check = |files, expected| {
            let Room { strangers, known, per_token } = Room::within(files);
            assert_eq!((strangers, known, per_token), expected, "{files:?}");
        };
        check(None, (256, 512, 32));
        check(Some(u64::MAX), (256, 512, 32));
        check(Some(262_144), (256, 512, 32));
        check(Some(4_096), (256, 256, 32));
        check(Some(256), (16, 16, 16));
        check(Some(20), (8, 8, 8));
    }

    #[test]
    fn the_next_stranger_takes_the_place_of_the_first_idle_one() {
        let places = places(3, 3, 3);
        let [first, second, third] = [(); 3].map(|()| places.enter(address(1)));
        let busy = first.begin();
        let fourth = places.enter(address(1));
        assert_eq!([&first, &second, &third, &fourth].map(is_lost), [false, true, false, false]);
        drop(busy);
        let fifth = places.enter(address(1));
        assert_eq!([&first, &third, &fourth, &fifth].map(is_lost), [true, false, false, false]);
        // A connection that has ended leaves room.
        drop(third);
        let sixth = places.enter(address(1));
        assert_eq!([&fourth, &fifth, &sixth].map(is_lost), [false; 3]);
        // If all are busy, one of them leaves all the same, because the next may have a token.
        let _busy = [&fourth, &fifth, &sixth].map(Place::begin);
        let _seventh = places.enter(address(1));
        assert_eq!([&fourth, &fifth, &sixth].map(is_lost), [true, false, false]);
    }

    #[test]
    fn the_address_with_the_most_strangers_gives_up_the_place() {
        let places = places(4, 3, 3);
        let lonely = places.enter(address(1));
        let v6 = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]);
        // All addresses of one /64 count as one.
        let crowd: Vec<_> = (1..=4).map(|last| places.enter(v6(last))).collect();
        assert!(!is_lost(&lonely) && is_lost(&crowd[0]) && !is_lost(&crowd[1]));
    }

    /// A client that is alone at its address has the time to present a token, however busy a crowd is.
    #[tokio::test(start_paused = true)]
    async fn who_is_busy_does_not_push_out_who_has_just_come() {
        let places = places(8, 3, 3);
        let crowd: Vec<_> = (0..8).map(|_| places.enter(address(1))).collect();
        let _busy: Vec<_> = crowd.iter().map(Place::begin).collect();
        let honest = places.enter(address(2));
        let more: Vec<_> =
            (0..20).map(|_| places.enter(address(1))).map(|place| (place.begin(), place)).collect();
        assert!(!is_lost(&honest));
        drop(more);
        // At the same address, the stranger that has been idle for longest leaves before one that has just come.
        let places = super::tests::places(3, 3, 3);
        let _old = [places.enter(address(1)), places.enter(address(1))].map(|place| (place.begin(), place));
        tokio::time::advance(GREETING).await;
        let new = places.enter(address(1));
        let _next = places.enter(address(1));
        assert!(!is_lost(&new));
    }

    #[test]
    fn a_token_has_a_place_within_its_share() {
        let places = places(1, 3, 2);
        let known: Vec<_> = ["cms", "cms", "ci"]
            .iter()
            .map(|token| {
                let place = places.enter(address(1));
                place.known_as(token);
                // Another token on the same connection changes nothing.
                place.known_as("cms");
                place
            })
            .collect();
        let beyond_share = places.enter(address(1));
        beyond_share.known_as("cms");
        let beyond_all = places.enter(address(1));
        beyond_all.known_as("ops");
        let _next = places.enter(address(1));
        assert!(known.iter().all(|place| !is_lost(place)));
        assert!(is_lost(&beyond_share) && is_lost(&beyond_all));
        // A token that comes too late does not return a lost place.
        drop(known);
        beyond_all.known_as("ops");
        assert_eq!(places.state().known.len(), 0);
    }

    proptest! {
        /// In any sequence of steps, there are no more connections than there is room for, no connection with a
        /// token loses its place, and all places are given back.
        #[test]
        fn the_room_is_bounded(steps in prop::collection::vec((0..4u8, 0..8usize, 0..3u8), 0..200)) {
            let room = Room { strangers: 4, known: 3, per_token: 2 };
            let places = Places::new(room);
            let mut open: Vec<(Place, Option<Busy>)> = Vec::new();
            for (step, which, who) in steps {
                let index = which.min(open.len().saturating_sub(1));
                match (step, open.get_mut(index)) {
                    (1, Some((place, _))) => place.known_as(["a", "b", "c"][usize::from(who)]),
                    (2, Some((place, busy))) => *busy = if busy.is_some() { None } else { Some(place.begin()) },
                    (3, Some(_)) => drop(open.swap_remove(index)),
                    _ => open.push((places.enter(address(who)), None)),
                }
                // The tasks of lost connections end.
                for (place, _) in open.extract_if(.., |(place, _)| is_lost(place)) {
                    prop_assert!(place.0.token.lock().unwrap().is_none());
                }
                let state = places.state();
                prop_assert!(state.strangers.len() <= room.strangers);
                prop_assert!(state.known.values().sum::<usize>() <= room.known);
                prop_assert!(state.known.values().all(|share| (1..=room.per_token).contains(share)));
                prop_assert_eq!(open.len(), state.strangers.len() + state.known.values().sum::<usize>());
            }
            open.clear();
            prop_assert!(places.state().strangers.is_empty() && places.state().known.is_empty());
        }
    }
}
