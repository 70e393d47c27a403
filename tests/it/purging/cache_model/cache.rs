//! A shared cache by RFC 9111, with the habits of a CDN. It shares no code with the shim: the rules of what it
//! keeps, and for how long, are written here a second time, from other documents.

use super::fields::{Directives, Fields, age, expires, first, has, joined};
use super::habits::{Cookies, Habits};

/// A copy of a response. `B` is the model's knowledge of its body.
#[derive(Clone, Debug)]
pub struct Copy<B> {
    /// The path and query under which it is stored.
    pub target: String,
    /// The values of the request's fields that `Vary` names.
    selected: Vec<(String, Option<String>)>,
    pub status: u16,
    pub fields: Fields,
    pub tags: Vec<String>,
    /// The path that purges use for it, if the response gave another one.
    page: Option<String>,
    /// The end of its freshness, in milliseconds.
    pub fresh_until_ms: i64,
    /// The time at which it arrived or was last confirmed.
    pub stored_ms: i64,
    pub body: B,
}

impl<B> Copy<B> {
    /// Whether it is served without a request to the origin.
    pub fn is_fresh(&self, now_ms: i64) -> bool {
        now_ms < self.fresh_until_ms
    }

    fn is_of(&self, target: &str, request: &Fields) -> bool {
        let same = |(name, value): &(String, Option<String>)| joined(request, name) == *value;
        self.target == target && self.selected.iter().all(same)
    }
}

/// The object of a purge, in the terms of the CDN's API.
#[derive(Clone, Copy, Debug)]
pub enum Purge<'a> {
    Tag(&'a str),
    Url(&'a str),
    Prefix(&'a str),
    Everything,
}

/// The cache.
#[derive(Debug)]
pub struct Cache<B> {
    pub habits: &'static Habits,
    pub copies: Vec<Copy<B>>,
}

impl<B> Cache<B> {
    pub fn new(habits: &'static Habits) -> Self {
        Self { habits, copies: Vec::new() }
    }

    /// Returns the copy for this request, fresh or stale. A request that bypasses the cache finds nothing.
    pub fn find(&self, target: &str, request: &Fields) -> Option<&Copy<B>> {
        let target = self.habits.name_of(target);
        if self.habits.passes(request) {
            return None;
        }
        self.copies.iter().find(|copy| copy.is_of(&target, request))
    }

    /// Returns the fields that revalidate a stale copy (RFC 9111 §4.3.1).
    pub fn conditions(copy: &Copy<B>) -> Fields {
        let validator =
            |name: &str, asks: &str| Some((asks.to_owned(), first(&copy.fields, name)?.to_owned()));
        [validator("etag", "if-none-match"), validator("last-modified", "if-modified-since")]
            .into_iter()
            .flatten()
            .collect()
    }

    /// Takes a response. Returns the copy of it, if it is kept. A copy for the same request is replaced.
    pub fn take(
        &mut self,
        (target, request): (&str, &Fields),
        (status, fields): (u16, Fields),
        now_ms: i64,
        body: B,
    ) -> Option<&mut Copy<B>> {
        let habits = self.habits;
        let seconds = habits.keeps_for(request, status, &fields)?;
        let vary = if habits.reads_vary { joined(&fields, "vary") } else { None };
        let names =
            vary.iter().flat_map(|names| names.split(',')).map(|name| name.trim().to_ascii_lowercase());
        let copy = Copy {
            target: habits.name_of(target),
            selected: names
                .filter(|name| !name.is_empty())
                .map(|name| (name.clone(), joined(request, &name)))
                .collect(),
            status,
            tags: habits.tags_of(&fields),
            page: habits.page_of(&fields),
            fields,
            fresh_until_ms: now_ms + seconds as i64 * 1_000,
            stored_ms: now_ms,
            body,
        };
        self.copies.retain(|known| !(known.target == copy.target && known.is_of(&copy.target, request)));
        self.copies.push(copy);
        self.copies.last_mut()
    }

    /// A 304 has come for a copy that was asked about: its fields replace those that were stored (RFC 9111 §3.2), and
    /// what they say then holds anew (§4.3.4). A copy that was purged since comes back that way: Varnish, for one,
    /// holds what it asks about until it is answered.
    pub fn confirm(
        &mut self,
        mut copy: Copy<B>,
        request: &Fields,
        told: &Fields,
        now_ms: i64,
    ) -> Option<&mut Copy<B>> {
        let habits = self.habits;
        let is_replaced =
            |name: &str| has(told, name) && !matches!(name, "content-length" | "content-encoding");
        copy.fields.retain(|(name, _)| !is_replaced(name) && name != "age");
        copy.fields.extend(told.iter().cloned());
        if habits.takes_tags_of_304 {
            copy.tags = habits.tags_of(&copy.fields);
        }
        copy.page = habits.page_of(told);
        self.copies.retain(|known| !known.is_of(&copy.target, request));
        let seconds = habits.keeps_for(request, copy.status, &copy.fields)?;
        (copy.fresh_until_ms, copy.stored_ms) = (now_ms + seconds as i64 * 1_000, now_ms);
        self.copies.push(copy);
        self.copies.last_mut()
    }

    /// Deletes the purged copies, or marks them stale.
    pub fn purge(&mut self, purge: Purge<'_>, hard: bool, now_ms: i64) {
        let habits = self.habits;
        let is_meant = |copy: &Copy<B>| habits.means(purge, copy);
        if hard {
            return self.copies.retain(|copy| !is_meant(copy));
        }
        for copy in self.copies.iter_mut().filter(|copy| is_meant(copy)) {
            copy.fresh_until_ms = copy.fresh_until_ms.min(now_ms);
        }
    }
}

impl Habits {
    fn passes(&self, request: &Fields) -> bool {
        self.passes_credentials && (has(request, "cookie") || has(request, "authorization"))
    }

    /// Returns for how many seconds from now on the answer to this request is served again, or `None` if it is
    /// not kept.
    pub fn keeps_for(&self, request: &Fields, status: u16, fields: &Fields) -> Option<u64> {
        if self.passes(request) || matches!(status, 100..200 | 206 | 304) {
            return None;
        }
        let seconds = self.keeps_by_its_word(status, fields);
        match status {
            400.. if self.error_seconds > 0 => Some(seconds.unwrap_or(0).max(self.error_seconds)),
            _ => seconds.filter(|seconds| *seconds > 0),
        }
    }

    fn keeps_by_its_word(&self, status: u16, fields: &Fields) -> Option<u64> {
        if self.reads_vary && joined(fields, "vary").is_some_and(|names| names.contains('*')) {
            return None;
        }
        if self.set_cookie == Cookies::NotKept && has(fields, "set-cookie") {
            return None;
        }
        let for_all = Directives::of(fields, "cache-control");
        let is_private = for_all.as_ref().is_some_and(|said| said.has("private"));
        if self.private_is_above_all && is_private {
            return None;
        }
        match self.targeted.iter().find_map(|field| self.targeted_word(fields, field)) {
            // A targeted field is meant for this cache, and its lifetime starts at the arrival.
            Some(Word::For(seconds)) => return Some(seconds.saturating_sub(age(fields))),
            Some(Word::Not) => return None,
            None => {}
        }
        let hidden = self.surrogate_hides_cache_control && has(fields, "surrogate-control");
        let for_all = for_all.filter(|_| self.reads_cache_control && !hidden);
        if let Some(said) = &for_all {
            let text = joined(fields, "cache-control").unwrap_or_default().to_ascii_lowercase();
            let forbids = |word: &str| match self.finds_prohibitions_anywhere {
                true => text.contains(word),
                false => said.has(word),
            };
            if forbids("private") || self.obeys_no_store && (forbids("no-store") || forbids("no-cache")) {
                return None;
            }
        }
        let given = for_all.as_ref().and_then(|said| said.seconds("s-maxage").or(said.seconds("max-age")));
        let given = given.or_else(|| expires(fields).filter(|_| self.reads_cache_control && !hidden));
        match given {
            Some(_) if !(self.keeps_given)(status) => None,
            Some(seconds) => Some(seconds.saturating_sub(age(fields))),
            None if self.set_cookie == Cookies::KeptIfGiven && has(fields, "set-cookie") => None,
            None => (self.default_seconds)(status),
        }
    }

    /// Returns the verdict of a targeted field, if it decides.
    fn targeted_word(&self, fields: &Fields, field: &str) -> Option<Word> {
        let said = Directives::of(fields, field)?;
        let stores_anyway = said.has("!no-store");
        let forbids = ["no-store", "no-cache", "private", "bypass-cache"].iter().any(|word| said.has(word));
        if forbids && self.obeys_targeted_prohibitions && !stores_anyway {
            return Some(Word::Not);
        }
        let seconds = ["cache-maxage", "s-maxage", "max-age"].iter().find_map(|name| said.seconds(name))?;
        Some(Word::For(seconds))
    }

    fn tags_of(&self, fields: &Fields) -> Vec<String> {
        let lines = fields.iter().filter(|(name, _)| self.tag_header == Some(name));
        let tags = lines.flat_map(|(_, value)| value.split(self.tag_separators));
        tags.map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
    }

    fn page_of(&self, fields: &Fields) -> Option<String> {
        first(fields, self.page_header?).map(str::to_owned)
    }

    /// Returns the name under which a target is stored.
    fn name_of(&self, target: &str) -> String {
        if !self.writes_upper_hex {
            return target.to_owned();
        }
        let (mut name, mut digits) = (String::new(), 0);
        for character in target.chars() {
            name.push(if digits > 0 { character.to_ascii_uppercase() } else { character });
            digits = if character == '%' { 2 } else { digits.max(1) - 1 };
        }
        name
    }

    /// Whether a purge covers this copy.
    fn means<B>(&self, purge: Purge<'_>, copy: &Copy<B>) -> bool {
        let query = copy.target.find('?').map_or("", |at| &copy.target[at..]);
        let by_page = copy.page.as_ref().map(|page| format!("{page}{query}"));
        match purge {
            Purge::Everything => true,
            Purge::Tag(tag) => copy.tags.iter().any(|known| match self.tags_ignore_case {
                true => known.eq_ignore_ascii_case(tag),
                false => known == tag,
            }),
            Purge::Url(url) => {
                let target = self.name_of(without_host(url));
                match target.strip_suffix('*').filter(|_| self.has_wildcards) {
                    Some(start) => copy.target.starts_with(start),
                    None => copy.target == target || by_page.as_ref() == Some(&target),
                }
            }
            Purge::Prefix(prefix) => {
                let (known, prefix) = (by_page.as_ref().unwrap_or(&copy.target), without_host(prefix));
                match self.expresses_prefixes {
                    true => decoded(known).starts_with(&decoded(prefix)),
                    false => known.starts_with(prefix),
                }
            }
        }
    }
}

/// Returns the URL without its scheme and host, if it has them.
fn without_host(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    url[start..].find('/').map_or(url, |at| &url[start + at..])
}

/// Decodes percent-encoding.
fn decoded(path: &str) -> Vec<u8> {
    let (bytes, mut decoded, mut at) = (path.as_bytes(), Vec::new(), 0);
    while at < bytes.len() {
        let hex = path.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    decoded
}

enum Word {
    For(u64),
    Not,
}

#[cfg(test)]
mod tests {
    use super::super::fields::fields;
    use super::super::habits::*;
    use super::*;

    #[track_caller]
    fn keeps(habits: &Habits, status: u16, lines: &[(&str, &str)], expected: Option<u64>) {
        assert_eq!(habits.keeps_for(&Vec::new(), status, &fields(lines)), expected, "{}", habits.name);
    }

    #[test]
    fn lifetimes() {
        keeps(&CLOUDFRONT, 200, &[("cache-control", "max-age=60, s-maxage=90"), ("age", "30")], Some(60));
        keeps(&CLOUDFRONT, 200, &[("cache-control", "private, max-age=60")], None);
        keeps(&CLOUDFRONT, 503, &[("cache-control", "no-store")], Some(10));
        keeps(&CLOUDFRONT, 200, &[("set-cookie", "a"), ("surrogate-control", "max-age=9")], Some(86_400));
        keeps(&FASTLY, 200, &[("cache-control", "no-store")], Some(3_600));
        keeps(&FASTLY, 200, &[("cache-control", "private"), ("surrogate-control", "max-age=9")], None);
        keeps(&FASTLY, 200, &[("surrogate-control", "no-store")], Some(3_600));
        keeps(&FASTLY, 200, &[("cache-control", "max-age=9"), ("surrogate-control", "max-age=0")], None);
        keeps(
            &AKAMAI,
            200,
            &[("cache-control", "no-store"), ("edge-control", "!no-store, max-age=1d")],
            Some(86_400),
        );
        keeps(&AKAMAI, 200, &[("cdn-cache-control", "no-store"), ("cache-control", "max-age=60")], None);
        keeps(&STUBBORN_AKAMAI, 200, &[("cache-control", "private")], Some(86_400));
        keeps(&CLOUDFLARE, 200, &[("cache-control", "no-store"), ("surrogate-control", "x")], Some(7_200));
        keeps(&CLOUDFLARE, 200, &[("set-cookie", "a")], None);
        keeps(&VARNISH, 200, &[("cache-control", "public private")], None);
        keeps(&VARNISH, 200, &[("cache-control", "no-store"), ("surrogate-control", "max-age=9")], Some(9));
        keeps(&VARNISH, 302, &[], None);
        keeps(&VARNISH, 302, &[("cache-control", "max-age=9")], Some(9));
    }

    #[test]
    fn a_304_replaces_what_it_says() {
        let stored =
            [("surrogate-key", "t"), ("etag", "1"), ("surrogate-control", "max-age=60"), ("age", "5")];
        let mut cache = Cache::new(&FASTLY);
        let none = Vec::new();
        assert!(cache.take(("/a", &none), (200, fields(&stored)), 0, ()).is_some());
        assert!(!cache.find("/a", &none).unwrap().is_fresh(55_000));
        assert_eq!(Cache::conditions(&cache.copies[0]), fields(&[("if-none-match", "1")]));
        let copy = cache.copies[0].clone();
        cache.confirm(copy, &none, &fields(&[("etag", "1")]), 60_000);
        assert_eq!((cache.copies[0].fresh_until_ms, cache.copies[0].tags.len()), (120_000, 1));
        let copy = cache.copies[0].clone();
        cache.purge(Purge::Everything, true, 60_000);
        cache.confirm(copy, &none, &fields(&[("surrogate-key", "site")]), 60_000);
        assert_eq!(cache.copies[0].tags, ["site"]);
    }

    #[test]
    fn vary_selects() {
        let mut cache = Cache::new(&FASTLY);
        let (german, french) = (fields(&[("accept-language", "de")]), fields(&[("accept-language", "fr")]));
        cache.take(("/a", &german), (200, fields(&[("vary", "Accept-Language")])), 0, "de");
        cache.take(("/a", &french), (200, fields(&[("vary", "Accept-Language")])), 0, "fr");
        assert_eq!(cache.find("/a", &german).unwrap().body, "de");
        assert_eq!(cache.find("/a", &french).unwrap().body, "fr");
        assert!(cache.find("/a", &Vec::new()).is_none());
    }

    #[test]
    fn purges() {
        let check = |habits, purge, left: usize| {
            let mut cache = Cache::new(habits);
            let page =
                |tag: &str| fields(&[(habits.tag_header.unwrap(), tag), ("cache-control", "max-age=9")]);
            cache.take(("/a/%c3%a9?x", &Vec::new()), (200, page("T")), 0, ());
            cache.take(("/b", &Vec::new()), (200, page("u")), 0, ());
            cache.purge(purge, true, 0);
            assert_eq!(cache.copies.len(), left, "{purge:?}");
        };
        check(&FASTLY, Purge::Tag("T"), 1);
        check(&FASTLY, Purge::Tag("t"), 2);
        check(&CLOUDFLARE, Purge::Tag("t"), 1);
        check(&CLOUDFLARE, Purge::Url("https://h/a/%C3%A9?x"), 1);
        check(&VARNISH, Purge::Url("https://h/a/%C3%A9?x"), 2);
        check(&VARNISH, Purge::Prefix("h/a/%C3"), 1);
        check(&FASTLY, Purge::Prefix("h/a/%C3"), 2);
        check(&CLOUDFRONT, Purge::Url("/a/%c3%a9"), 2);
        check(&CLOUDFRONT, Purge::Url("/a/%c3%a9?*"), 1);
        check(&CLOUDFRONT, Purge::Everything, 0);
    }
}
