//! How long a CDN may keep a response that goes out as its origin sent it. The result is an upper bound because
//! purges must reach every copy. A CDN reads only some of the fields that carry lifetimes, depending on its
//! configuration. So the longest lifetime is taken, and a prohibition cancels only the lifetime in the same place.

use super::CdnType;
use super::cache_control::{Directive, Name, delta_seconds, directives};
use super::field::Field;
use super::field::Syntax;
use crate::http::head::{Headers, Known, Value};
use http::StatusCode;
use smallvec::SmallVec;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a CDN may keep a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The CDN may not keep the response.
    Not,
    /// The CDN may keep the response for at most this long.
    For(Duration),
    /// The CDN may keep the response, from now on, for as long as the stored one. This is a 304 without a lifetime
    /// of its own.
    AsStored,
}

/// The lifetime that the fields of a response give.
#[derive(Clone, Copy, Debug)]
pub struct Lifetime {
    /// Seconds given by `Cache-Control`, including stale lifetimes, and by `Expires`.
    general: Option<u32>,
    /// Seconds given by a field for CDNs.
    targeted: Option<u32>,
    private: bool,
    /// Whether there is `no-store` or `no-cache`.
    not_reused: bool,
    not_modified: bool,
}

impl Lifetime {
    /// Reads the lifetime of a response that arrives at `now_ms`, in milliseconds since the epoch. `is_own`
    /// identifies the non-standard fields from which the site's CDNs read their lifetimes.
    pub fn of(status: StatusCode, headers: &Headers, is_own: impl Fn(&str) -> bool, now_ms: i64) -> Self {
        let not_modified = status == StatusCode::NOT_MODIFIED;
        let mut lifetime =
            Self { general: None, targeted: None, private: false, not_reused: false, not_modified };
        let (mut expires, mut date) = (None, None);
        for line in headers.lines() {
            match line.known() {
                Known::CacheControl => lifetime.read(line.value()),
                Known::Expires => expires = expires.or(Some(line.value())),
                Known::Date => date = date.or(Some(line.value())),
                known => {
                    let field = Field::named(line.name()).filter(|field| Field::TARGETED.contains(field));
                    let is_own = || !known.is_one_name() && is_own(line.name());
                    if let Some(field) = field.or_else(|| is_own().then_some(Field::OwnTtl)) {
                        lifetime.targeted = lifetime.targeted.max(seconds(line.value(), Syntax::of(field)));
                    }
                }
            }
        }
        if let Some(after) = expires.and_then(|expires| left(expires, date, now_ms)) {
            lifetime.general = lifetime.general.max(Some(after));
        }
        lifetime
    }

    fn read(&mut self, line: Value<'_>) {
        for directive in directives(line.as_bytes(), Syntax::CacheControl) {
            match directive.name {
                Name::Private => self.private = true,
                Name::NoStore | Name::NoCache => self.not_reused = true,
                _ => {}
            }
        }
        self.general = self.general.max(seconds(line, Syntax::CacheControl));
    }

    /// How long a CDN of this type may keep the response.
    pub fn at(self, cdn: CdnType) -> Kept {
        let forbidden = self.private || self.not_reused && !cdn.facts().storing.only_private_forbids;
        let general = match self.general {
            _ if forbidden => None,
            None if self.not_modified && self.targeted.is_none() => return Kept::AsStored,
            None => Some(default_seconds(cdn)),
            given => given,
        };
        match general.max(self.targeted) {
            None | Some(0) => Kept::Not,
            Some(seconds) => Kept::For(Duration::from_secs(seconds.into())),
        }
    }
}

/// How long a CDN by default keeps a response that gives no lifetime.
pub fn default_lifetime(cdn: CdnType) -> Duration {
    Duration::from_secs(default_seconds(cdn).into())
}

fn default_seconds(cdn: CdnType) -> u32 {
    cdn.facts().storing.default_seconds
}

/// The longest lifetime that a line gives to a shared cache, fresh and stale together, ignoring prohibitions.
fn seconds(line: Value<'_>, syntax: Syntax) -> Option<u32> {
    let (mut fresh, mut stale) = (None, 0);
    for directive in directives(line.as_bytes(), syntax) {
        match directive.name {
            Name::MaxAge | Name::SMaxAge => fresh = fresh.max(Some(at_most(&directive, syntax))),
            Name::StaleWhileRevalidate | Name::StaleIfError => stale = stale.max(at_most(&directive, syntax)),
            _ => {}
        }
    }
    fresh.map(|seconds| seconds.saturating_add(stale))
}

/// The largest value that a cache may read from the argument. Some read an invalid number like `60s` up to its
/// first non-digit.
fn at_most(directive: &Directive<'_>, syntax: Syntax) -> u32 {
    let digits = directive.raw.iter().skip_while(|byte| !byte.is_ascii_digit());
    let digits: SmallVec<[u8; 16]> = digits.take_while(|byte| byte.is_ascii_digit()).copied().collect();
    directive.seconds(syntax).max(delta_seconds(&digits))
}

/// The seconds until `Expires`, by the origin's clock or by ours, whichever gives more. An invalid date has passed.
fn left(expires: Value<'_>, date: Option<Value<'_>>, now_ms: i64) -> Option<u32> {
    let now = UNIX_EPOCH.checked_add(Duration::from_millis(u64::try_from(now_ms).ok()?))?;
    let Some(expires) = parse(expires) else { return Some(0) };
    let since = |moment: SystemTime| expires.duration_since(moment).unwrap_or_default();
    let after = since(now).max(date.and_then(parse).map(since).unwrap_or_default());
    let rounded_up = after.as_secs().saturating_add(u64::from(!after.is_zero()));
    Some(u32::try_from(rounded_up).unwrap_or(u32::MAX))
}

fn parse(value: Value<'_>) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use CdnType::{Akamai, Cloudflare, Cloudfront, Fastly, Varnish};
    use http::{HeaderName, HeaderValue};

    const NOW_MS: i64 = 784_111_777_000; // Sun, 06 Nov 1994 08:49:37 GMT

    fn of(status: u16, lines: &[(&'static str, &str)]) -> Lifetime {
        let line = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        let headers = lines.iter().map(line).collect();
        let status = StatusCode::from_u16(status).unwrap();
        Lifetime::of(status, &headers, |name| name == "x-ttl", NOW_MS)
    }

    #[track_caller]
    fn check(lines: &[(&'static str, &str)], cdn: CdnType, expected: Option<u64>) {
        let expected = expected.map_or(Kept::Not, |seconds| Kept::For(Duration::from_secs(seconds)));
        assert_eq!(of(200, lines).at(cdn), expected, "{lines:?}");
    }

    #[test]
    fn the_longest_that_a_field_gives() {
        for cdn in CdnType::ALL {
            check(&[("cache-control", "max-age=600")], cdn, Some(600));
            check(&[("cache-control", "max-age=60, s-maxage=600")], cdn, Some(600));
            check(&[("cache-control", "s-maxage=60, max-age=600")], cdn, Some(600));
            check(&[("cache-control", "max-age=0")], cdn, None);
            check(&[("cache-control", "max-age=60, stale-while-revalidate=600")], cdn, Some(660));
            check(&[("cache-control", "max-age=60"), ("surrogate-control", "max-age=600")], cdn, Some(600));
            check(&[("cache-control", "max-age=600"), ("cdn-cache-control", "no-store")], cdn, Some(600));
            check(
                &[("cache-control", "max-age=0"), ("edge-control", "!no-store, max-age=1h")],
                cdn,
                Some(3_600),
            );
            check(&[("cache-control", "max-age=60"), ("x-ttl", "max-age=90")], cdn, Some(90));
            check(&[("cache-control", "max-age=60"), ("x-other", "max-age=90")], cdn, Some(60));
            check(&[("cache-control", "max-age=60s")], cdn, Some(60));
            check(&[("cache-control", "max-age=\"60")], cdn, Some(60));
        }
    }

    #[test]
    fn what_says_nothing_lives_as_long_as_the_cdn_likes() {
        for (cdn, seconds) in
            [(Fastly, 3_600), (Akamai, 604_800), (Cloudflare, 7_200), (Cloudfront, 86_400), (Varnish, 120)]
        {
            check(&[], cdn, Some(seconds));
            check(&[("cache-control", "public")], cdn, Some(seconds));
            // A CDN that does not read the field uses its default.
            check(&[("cdn-cache-control", "max-age=60")], cdn, Some(seconds));
            assert_eq!(default_lifetime(cdn), Duration::from_secs(seconds));
        }
    }

    #[test]
    fn what_is_forbidden_is_not_kept_unless_the_cdn_is_told_by_itself() {
        for cdn in CdnType::ALL {
            check(&[("cache-control", "private, max-age=60")], cdn, None);
            check(&[("cache-control", "no-store"), ("surrogate-control", "max-age=60")], Varnish, Some(60));
            check(&[("cache-control", "private"), ("surrogate-control", "max-age=60")], cdn, Some(60));
        }
        for forbidden in ["no-store", "no-cache", "no-store, max-age=0"] {
            check(&[("cache-control", forbidden)], Varnish, None);
        }
        check(&[("cache-control", "no-store")], Fastly, Some(3_600));
        check(&[("cache-control", "no-store, max-age=0")], Fastly, None);
    }

    #[test]
    fn expires_by_either_clock() {
        let expires = ("expires", "Sun, 06 Nov 1994 08:50:37 GMT");
        check(&[expires], Varnish, Some(61));
        check(&[expires, ("date", "Sun, 06 Nov 1994 08:48:37 GMT")], Varnish, Some(121));
        check(&[expires, ("date", "Sun, 06 Nov 1994 09:48:37 GMT")], Varnish, Some(61));
        check(&[("expires", "0")], Varnish, None);
        check(&[("expires", "Sun, 06 Nov 1994 08:49:00 GMT")], Varnish, None);
        check(&[("expires", "0"), ("cache-control", "max-age=60")], Varnish, Some(60));
    }

    #[test]
    fn a_304_without_a_lifetime_has_that_of_what_is_stored() {
        for cdn in CdnType::ALL {
            assert_eq!(of(304, &[("etag", "\"v1\"")]).at(cdn), Kept::AsStored);
            let minute = Kept::For(Duration::from_secs(60));
            assert_eq!(of(304, &[("cache-control", "max-age=60")]).at(cdn), minute);
        }
        assert_eq!(of(304, &[("cache-control", "no-store")]).at(Varnish), Kept::Not);
    }
}
