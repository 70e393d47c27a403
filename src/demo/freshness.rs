//! How long the demo's edge may store a response, by the same rules as `config/varnish.vcl`. Pure, and independent of
//! `rewrite`, so that a mistake there is not repeated here.

use super::cache::Lifetime;
use http::{HeaderMap, StatusCode, header};
use std::time::Duration;

/// Returns the response's lifetime at this edge, or `None` if it must not be stored.
pub fn lifetime(status: StatusCode, headers: &HeaderMap) -> Option<Lifetime> {
    let varies_on_everything =
        join(headers, "vary").is_some_and(|vary| vary.split(',').any(|f| f.trim() == "*"));
    if headers.contains_key(header::SET_COOKIE)
        || varies_on_everything
        || status.is_informational()
        || status == StatusCode::PARTIAL_CONTENT
        || status == StatusCode::NOT_MODIFIED
    {
        return None;
    }
    let surrogate = join(headers, "surrogate-control").map(|field| Directives::parse(&field));
    if let Some(surrogate) = surrogate
        && (surrogate.forbids() || surrogate.seconds("max-age").is_some())
    {
        return surrogate.lifetime(&["max-age"], Duration::ZERO);
    }
    let age = join(headers, "age").and_then(|age| age.trim().parse().ok()).unwrap_or_default();
    Directives::parse(&join(headers, "cache-control")?)
        .lifetime(&["s-maxage", "max-age"], Duration::from_secs(age))
}

/// Whether `Surrogate-Control` sets the edge's lifetime, so that `Cache-Control` is only for browsers.
pub fn has_surrogate_control(headers: &HeaderMap) -> bool {
    headers.contains_key("surrogate-control")
}

/// Directives in lower case, with their arguments unquoted.
struct Directives(Vec<(String, String)>);

impl Directives {
    fn parse(field: &str) -> Self {
        let directive = |text: &str| {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            (name.trim().to_ascii_lowercase(), value.trim().trim_matches('"').to_owned())
        };
        Self(field.split([',', ';']).map(directive).collect())
    }

    fn forbids(&self) -> bool {
        self.0.iter().any(|(name, _)| matches!(name.as_str(), "no-store" | "no-cache" | "private"))
    }

    fn seconds(&self, wanted: &str) -> Option<Duration> {
        let (_, value) = self.0.iter().find(|(name, _)| name == wanted)?;
        value.parse::<u32>().ok().map(|seconds| Duration::from_secs(seconds.into()))
    }

    fn lifetime(&self, fresh: &[&str], age: Duration) -> Option<Lifetime> {
        let fresh = fresh.iter().find_map(|name| self.seconds(name))?.saturating_sub(age);
        if self.forbids() || fresh.is_zero() {
            return None;
        }
        let stale = |name| self.seconds(name).unwrap_or_default();
        Some(Lifetime {
            fresh,
            revalidate: stale("stale-while-revalidate"),
            if_error: stale("stale-if-error"),
        })
    }
}

/// Joins all lines of a field into one (RFC 9110, section 5.3).
fn join(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines: Vec<&str> = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok()).collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    #[test]
    fn lifetimes() {
        fn check(headers: &[(&'static str, &'static str)], expected: Option<(u64, u64, u64)>) {
            let map = headers
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect();
            let got = lifetime(StatusCode::OK, &map)
                .map(|l| (l.fresh.as_secs(), l.revalidate.as_secs(), l.if_error.as_secs()));
            assert_eq!(got, expected, "{headers:?}");
        }
        let browser = ("cache-control", "max-age=60");
        check(&[], None);
        check(&[browser], Some((60, 0, 0)));
        check(&[browser, ("age", "20")], Some((40, 0, 0)));
        check(&[browser, ("age", "60")], None);
        check(&[("cache-control", "s-maxage=9, max-age=60, stale-if-error=5")], Some((9, 0, 5)));
        check(&[("cache-control", "s-maxage=0, max-age=60")], None);
        check(&[("cache-control", "Private, max-age=60")], None);
        check(&[browser, ("surrogate-control", "max-age=172800")], Some((172_800, 0, 0)));
        check(&[("surrogate-control", "max-age=9, stale-while-revalidate=3")], Some((9, 3, 0)));
        check(&[("cache-control", "no-cache"), ("surrogate-control", "max-age=9")], Some((9, 0, 0)));
        check(&[browser, ("surrogate-control", "no-store")], None);
        check(&[browser, ("surrogate-control", "max-age=0")], None);
        check(&[browser, ("surrogate-control", "content=\"ESI/1.0\"")], Some((60, 0, 0)));
        check(&[browser, ("surrogate-control", "max-age=9"), ("set-cookie", "a=b")], None);
        check(&[browser, ("vary", "accept, *")], None);
        check(&[browser, ("vary", "accept")], Some((60, 0, 0)));
        check(&[("cache-control", "max-age=-1")], None);
        check(&[("cache-control", "max-age=99999999999")], None);
    }

    #[test]
    fn only_whole_answers_are_kept() {
        let headers = HeaderMap::from_iter([(header::CACHE_CONTROL, HeaderValue::from_static("max-age=60"))]);
        assert_eq!(lifetime(StatusCode::PARTIAL_CONTENT, &headers), None);
        assert_eq!(lifetime(StatusCode::NOT_MODIFIED, &headers), None);
    }
}
