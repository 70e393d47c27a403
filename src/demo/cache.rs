//! The storage of the demo's edge: responses by host and target, which purges find by tag, URL and prefix. Pure: the
//! time is an argument. Memory is bounded: the least recently used response is removed first.

use crate::rewrite::spelling::canonical;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Cost in bytes of a cache entry in addition to its body and headers, so that the number of small ones is bounded
/// too.
const ENTRY_OVERHEAD: usize = 512;

/// The page that a visitor requested: host and target.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Host in lower case, without port.
    pub host: String,
    /// Path and query as received.
    pub target: String,
}

impl Key {
    /// Returns what identifies the page for a purge: the host, the canonical form of the path, and the query.
    fn page(&self) -> (&str, Cow<'_, str>, &str) {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        (&self.host, canonical(path), query)
    }
}

/// A stored response.
#[derive(Debug, PartialEq, Eq)]
pub struct Object {
    /// The status.
    pub status: StatusCode,
    /// The headers as the shim sent them, without hop-by-hop headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// How long an object may be served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lifetime {
    /// Time during which the object is served without contacting the shim.
    pub fresh: Duration,
    /// Time after `fresh` during which the stale object is served while it is fetched again (RFC 5861).
    pub revalidate: Duration,
    /// Time after `fresh` during which the stale object is served if the origin fails (RFC 5861).
    pub if_error: Duration,
}

/// The result of a lookup.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// A fresh object to serve.
    Fresh(Arc<Object>),
    /// A stale object to serve while one caller fetches it again.
    Stale {
        /// The stale object.
        object: Arc<Object>,
        /// Whether this caller must fetch it, because no other one does yet.
        refresh: bool,
    },
    /// A stale object to serve only if fetching the page fails.
    IfError(Arc<Object>),
    /// No object: the page must be fetched.
    Miss,
}

/// How a purge treats objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hardness {
    /// Deletes the object.
    Hard,
    /// Marks the object stale.
    Soft,
}

#[derive(Debug)]
struct Entry {
    key: Key,
    /// The request headers that `Vary` names, with their values in the request that fetched the object.
    varies: Vec<(HeaderName, Vec<HeaderValue>)>,
    tags: Vec<String>,
    object: Arc<Object>,
    lifetime: Lifetime,
    stale_from: Instant,
    refreshing: bool,
    cost: usize,
    used: u64,
}

/// The cache.
#[derive(Debug)]
pub struct Cache {
    capacity: usize,
    size: usize,
    next: u64,
    entries: HashMap<u64, Entry>,
    by_key: HashMap<Key, Vec<u64>>,
    by_tag: HashMap<String, HashSet<u64>>,
    by_use: BTreeMap<u64, u64>,
}

impl Cache {
    /// Creates a cache of at most `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            size: 0,
            next: 0,
            entries: HashMap::new(),
            by_key: HashMap::new(),
            by_tag: HashMap::new(),
            by_use: BTreeMap::new(),
        }
    }

    /// Looks up the variant of `key` that fits the request's headers.
    pub fn lookup(&mut self, key: &Key, request: &HeaderMap, now: Instant) -> Found {
        let Some(id) = self.variant(key, request) else { return Found::Miss };
        let tick = self.tick();
        let Some(entry) = self.entries.get_mut(&id) else { return Found::Miss };
        self.by_use.remove(&entry.used);
        entry.used = tick;
        self.by_use.insert(tick, id);

        let object = entry.object.clone();
        let stale = now.saturating_duration_since(entry.stale_from);
        if now < entry.stale_from {
            Found::Fresh(object)
        } else if stale < entry.lifetime.revalidate {
            let refresh = !std::mem::replace(&mut entry.refreshing, true);
            Found::Stale { object, refresh }
        } else if stale < entry.lifetime.if_error {
            Found::IfError(object)
        } else {
            self.remove(id);
            Found::Miss
        }
    }

    /// Stores a response. It replaces the one that the same request would have found.
    pub fn store(&mut self, key: Key, request: &HeaderMap, object: Object, lifetime: Lifetime, now: Instant) {
        if let Some(old) = self.variant(&key, request) {
            self.remove(old);
        }
        let tags = tags(&object.headers);
        let cost = cost(&key, &object);
        if cost > self.capacity {
            return;
        }
        while self.size + cost > self.capacity {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            self.remove(oldest);
        }
        let id = self.tick();
        for tag in &tags {
            self.by_tag.entry(tag.clone()).or_default().insert(id);
        }
        self.by_key.entry(key.clone()).or_default().push(id);
        self.by_use.insert(id, id);
        self.size += cost;
        let entry = Entry {
            varies: varies(&object.headers, request),
            key,
            tags,
            object: Arc::new(object),
            lifetime,
            stale_from: now + lifetime.fresh,
            refreshing: false,
            cost,
            used: id,
        };
        self.entries.insert(id, entry);
    }

    /// Records that a background fetch of `key` failed, so that the next lookup may try again.
    pub fn refresh_failed(&mut self, key: &Key) {
        for id in self.by_key.get(key).into_iter().flatten() {
            if let Some(entry) = self.entries.get_mut(id) {
                entry.refreshing = false;
            }
        }
    }

    /// Purges every object with one of the tags; returns the number of objects.
    pub fn purge_tags<'a>(
        &mut self,
        tags: impl IntoIterator<Item = &'a str>,
        hardness: Hardness,
        now: Instant,
    ) -> usize {
        let ids: HashSet<u64> =
            tags.into_iter().filter_map(|tag| self.by_tag.get(tag)).flatten().copied().collect();
        self.purge(ids, hardness, now)
    }

    /// Purges every variant of one URL, however its path is spelt; returns the number of objects.
    pub fn purge_url(&mut self, key: &Key, hardness: Hardness, now: Instant) -> usize {
        let page = key.page();
        let ids: Vec<u64> =
            self.entries.iter().filter(|(_, entry)| entry.key.page() == page).map(|(id, _)| *id).collect();
        self.purge(ids, hardness, now)
    }

    /// Deletes everything of `host` below `prefix`, a canonical path; returns the number of objects.
    pub fn purge_prefix(&mut self, host: &str, prefix: &str, now: Instant) -> usize {
        let below = |entry: &Entry| entry.key.host == host && entry.key.page().1.starts_with(prefix);
        let ids: Vec<u64> = self.entries.iter().filter(|(_, e)| below(e)).map(|(id, _)| *id).collect();
        self.purge(ids, Hardness::Hard, now)
    }

    /// Deletes everything; returns the number of objects.
    pub fn purge_everything(&mut self) -> usize {
        let count = self.entries.len();
        *self = Self::new(self.capacity);
        count
    }

    fn purge(&mut self, ids: impl IntoIterator<Item = u64>, hardness: Hardness, now: Instant) -> usize {
        let mut count = 0;
        for id in ids {
            count += 1;
            match (hardness, self.entries.get_mut(&id)) {
                (Hardness::Hard, _) => self.remove(id),
                // An object that is stale already stays as old as it is.
                (Hardness::Soft, Some(entry)) => {
                    entry.stale_from = entry.stale_from.min(now);
                    entry.refreshing = false;
                }
                (Hardness::Soft, None) => {}
            }
        }
        count
    }

    fn variant(&self, key: &Key, request: &HeaderMap) -> Option<u64> {
        let fits = |entry: &Entry| entry.varies.iter().all(|(name, then)| values(request, name) == *then);
        self.by_key.get(key)?.iter().copied().find(|id| self.entries.get(id).is_some_and(fits))
    }

    fn remove(&mut self, id: u64) {
        let Some(entry) = self.entries.remove(&id) else { return };
        self.size -= entry.cost;
        self.by_use.remove(&entry.used);
        for tag in &entry.tags {
            if let Some(ids) = self.by_tag.get_mut(tag) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.by_tag.remove(tag);
                }
            }
        }
        if let Some(ids) = self.by_key.get_mut(&entry.key) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_key.remove(&entry.key);
            }
        }
    }

    /// Returns a number greater than every one before. It serves as an ID and as the order of use.
    fn tick(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

/// Returns the tags in all `xkey` lines. Spaces and commas separate them, as in vmod_xkey.
fn tags(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all("xkey").into_iter().filter_map(|value| value.to_str().ok());
    lines
        .flat_map(|line| line.split([' ', '\t', ',']))
        .filter(|tag| !tag.is_empty())
        .map(str::to_owned)
        .collect()
}

fn varies(response: &HeaderMap, request: &HeaderMap) -> Vec<(HeaderName, Vec<HeaderValue>)> {
    let lines = response.get_all(http::header::VARY).into_iter().filter_map(|value| value.to_str().ok());
    lines
        .flat_map(|line| line.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .map(|name| (name.clone(), values(request, &name)))
        .collect()
}

fn values(headers: &HeaderMap, name: &HeaderName) -> Vec<HeaderValue> {
    headers.get_all(name).into_iter().cloned().collect()
}

fn cost(key: &Key, object: &Object) -> usize {
    let headers: usize = object.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    // The indexes hold tags and keys a second time.
    ENTRY_OVERHEAD + 2 * (key.host.len() + key.target.len() + headers) + object.body.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn key(target: &str) -> Key {
        Key { host: "www.example.com".to_owned(), target: target.to_owned() }
    }

    fn object(body: &str, headers: &[(&'static str, &'static str)]) -> Object {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        Object { status: StatusCode::OK, headers, body: Bytes::copy_from_slice(body.as_bytes()) }
    }

    fn lifetime(fresh: u64, revalidate: u64, if_error: u64) -> Lifetime {
        let [fresh, revalidate, if_error] = [fresh, revalidate, if_error].map(Duration::from_secs);
        Lifetime { fresh, revalidate, if_error }
    }

    /// Returns the body that a lookup finds, with a mark for the kind of result.
    fn found(cache: &mut Cache, target: &str, now: Instant) -> String {
        match cache.lookup(&key(target), &HeaderMap::new(), now) {
            Found::Fresh(object) => String::from_utf8_lossy(&object.body).into_owned(),
            Found::Stale { object, refresh } => {
                format!(
                    "stale {} {}",
                    String::from_utf8_lossy(&object.body),
                    if refresh { "refresh" } else { "wait" }
                )
            }
            Found::IfError(object) => format!("if-error {}", String::from_utf8_lossy(&object.body)),
            Found::Miss => "miss".to_owned(),
        }
    }

    fn three_pages(now: Instant, lifetime: Lifetime) -> Cache {
        let mut cache = Cache::new(1 << 20);
        for (target, tags) in [("/", "home p42"), ("/blog/a", "blog"), ("/products/42?x=1", "p42,site")] {
            cache.store(key(target), &HeaderMap::new(), object(target, &[("xkey", tags)]), lifetime, now);
        }
        cache
    }

    #[test]
    fn purges_find_what_they_name() {
        fn check(purge: impl FnOnce(&mut Cache, Instant) -> usize, gone: &[&str]) {
            let now = Instant::now();
            let mut cache = three_pages(now, lifetime(60, 0, 0));
            assert_eq!(purge(&mut cache, now), gone.len());
            for target in ["/", "/blog/a", "/products/42?x=1"] {
                let expected = if gone.contains(&target) { "miss" } else { target };
                assert_eq!(found(&mut cache, target, now), expected);
            }
        }
        check(|c, now| c.purge_tags(["p42", "unused"], Hardness::Hard, now), &["/", "/products/42?x=1"]);
        check(|c, now| c.purge_tags(["site"], Hardness::Hard, now), &["/products/42?x=1"]);
        check(|c, now| c.purge_tags(["sit"], Hardness::Hard, now), &[]);
        check(|c, now| c.purge_url(&key("/"), Hardness::Hard, now), &["/"]);
        check(|c, now| c.purge_url(&key("/products/42"), Hardness::Hard, now), &[]);
        check(|c, now| c.purge_prefix("www.example.com", "/blog/", now), &["/blog/a"]);
        check(|c, now| c.purge_prefix("other.example.com", "/", now), &[]);
        check(|c, _| c.purge_everything(), &["/", "/blog/a", "/products/42?x=1"]);
    }

    #[test]
    fn a_soft_purge_without_permission_to_be_stale_is_a_miss() {
        let now = Instant::now();
        let mut cache = three_pages(now, lifetime(60, 0, 0));
        cache.purge_tags(["blog"], Hardness::Soft, now);
        assert_eq!(found(&mut cache, "/blog/a", now), "miss");
    }

    #[test]
    fn a_soft_purge_serves_the_old_page_while_one_caller_fetches() {
        let now = Instant::now();
        let mut cache = three_pages(now, lifetime(60, 60, 0));
        cache.purge_tags(["blog"], Hardness::Soft, now);
        assert_eq!(found(&mut cache, "/blog/a", now), "stale /blog/a refresh");
        assert_eq!(found(&mut cache, "/blog/a", now), "stale /blog/a wait");
        cache.refresh_failed(&key("/blog/a"));
        assert_eq!(found(&mut cache, "/blog/a", now), "stale /blog/a refresh");
        cache.store(key("/blog/a"), &HeaderMap::new(), object("new", &[]), lifetime(60, 0, 0), now);
        assert_eq!(found(&mut cache, "/blog/a", now), "new");
    }

    #[test]
    fn a_hard_purge_takes_what_was_marked_stale() {
        let now = Instant::now();
        let mut cache = three_pages(now, lifetime(60, 60, 60));
        cache.purge_tags(["blog"], Hardness::Soft, now);
        assert_eq!(cache.purge_tags(["blog"], Hardness::Hard, now), 1);
        assert_eq!(found(&mut cache, "/blog/a", now), "miss");
    }

    #[test]
    fn time_makes_an_object_stale_then_useful_only_on_errors_then_gone() {
        let now = Instant::now();
        let mut cache = three_pages(now, lifetime(60, 60, 120));
        assert_eq!(found(&mut cache, "/", now + MINUTE - Duration::from_millis(1)), "/");
        assert_eq!(found(&mut cache, "/", now + MINUTE), "stale / refresh");
        assert_eq!(found(&mut cache, "/", now + 2 * MINUTE), "if-error /");
        assert_eq!(found(&mut cache, "/", now + 3 * MINUTE), "miss");
    }

    #[test]
    fn a_soft_purge_does_not_make_stale_objects_younger() {
        let now = Instant::now();
        let mut cache = three_pages(now, lifetime(60, 60, 0));
        cache.purge_tags(["home"], Hardness::Soft, now + MINUTE + MINUTE / 2);
        assert_eq!(found(&mut cache, "/", now + 2 * MINUTE), "miss");
    }

    #[test]
    fn variants_are_kept_apart_and_purged_together() {
        let now = Instant::now();
        let mut cache = Cache::new(1 << 20);
        let request = |language| {
            HeaderMap::from_iter([(http::header::ACCEPT_LANGUAGE, HeaderValue::from_static(language))])
        };
        for language in ["de", "en"] {
            let page = object(language, &[("vary", "Accept-Language"), ("xkey", "page")]);
            cache.store(key("/"), &request(language), page, lifetime(60, 0, 0), now);
        }
        let Found::Fresh(page) = cache.lookup(&key("/"), &request("de"), now) else { panic!("not found") };
        assert_eq!(page.body, "de");
        assert_eq!(cache.lookup(&key("/"), &request("fr"), now), Found::Miss);
        assert_eq!(cache.purge_url(&key("/"), Hardness::Hard, now), 2);
        assert_eq!(cache.lookup(&key("/"), &request("de"), now), Found::Miss);
    }

    #[test]
    fn memory_is_bounded_and_the_least_used_goes_first() {
        let now = Instant::now();
        let page = |target: &str| object(&target.repeat(100), &[("xkey", "all")]);
        let mut cache = Cache::new(3 * cost(&key("/0"), &page("/0")));
        for target in ["/0", "/1", "/2"] {
            cache.store(key(target), &HeaderMap::new(), page(target), lifetime(60, 0, 0), now);
        }
        assert_ne!(found(&mut cache, "/0", now), "miss");
        cache.store(key("/3"), &HeaderMap::new(), page("/3"), lifetime(60, 0, 0), now);
        assert_eq!(found(&mut cache, "/1", now), "miss");
        assert_ne!(found(&mut cache, "/0", now), "miss");

        let huge = object(&"x".repeat(1 << 20), &[]);
        cache.store(key("/huge"), &HeaderMap::new(), huge, lifetime(60, 0, 0), now);
        assert_eq!(found(&mut cache, "/huge", now), "miss");

        assert_eq!(cache.purge_tags(["all"], Hardness::Hard, now), 3);
        assert_eq!((cache.size, cache.by_key.len(), cache.by_tag.len(), cache.by_use.len()), (0, 0, 0, 0));
    }
}
