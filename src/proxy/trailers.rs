//! Trailers (RFC 9110 §6.5): those that are forwarded, and their announcement. A field that has a meaning in a
//! head is not forwarded in a trailer section, because we or a recipient that merges the two, against §6.5.1,
//! could act on it.

use super::interim::tells_of_caching;
use super::routing::Site;
use crate::http::head::{Known, ResponseHead, Value};
use crate::http::hop;
use crate::rewrite::Dialect;
use http::{HeaderMap, HeaderName, HeaderValue, Version, header};

/// Whether a field defines where a message ends, where it goes, who sent it, whether it may be kept or how it is
/// read.
fn means_something_in_a_head(name: &str) -> bool {
    let known = Known::of(name);
    hop::is_fixed(known)
        || hop::is_protected_in_request(name)
        || matches!(
            known,
            Known::Age
                | Known::Date
                | Known::Vary
                | Known::Expect
                | Known::Pragma
                | Known::Expires
                | Known::SetCookie
                | Known::IfNoneMatch
                | Known::IfModifiedSince
                | Known::XOriginShimStamp
        )
        || name.starts_with("content-") && !matches!(name, "content-digest" | "content-md5")
        || matches!(
            name,
            "if-match"
                | "if-range"
                | "if-unmodified-since"
                | "range"
                | "max-forwards"
                | "location"
                | "retry-after"
                | "warning"
                | "www-authenticate"
        )
}

/// Whether a trailer may be sent to an origin under this name, and under the name that a CGI-like origin would
/// read.
fn may_go_to_origin(name: &HeaderName) -> bool {
    let stays = |name: &str| {
        let known = Known::of(name);
        means_something_in_a_head(name) || known == Known::XRequestId || known.tells_of_the_peer()
    };
    if Dialect::carries_lifetimes(name.as_str()) || Dialect::carries_tags(name.as_str()) {
        return false;
    }
    let name = name.as_str();
    let is_alias = name.contains('_') && stays(&name.replace('_', "-"));
    !(stays(name) || is_alias)
}

/// Keeps the fields that satisfy `may_go_on`. Returns `None` if no field is left.
fn filtered(mut trailers: HeaderMap, may_go_on: impl Fn(&HeaderName) -> bool) -> Option<HeaderMap> {
    if !trailers.keys().all(&may_go_on) {
        let kept = trailers.iter().filter(|(name, _)| may_go_on(name));
        trailers = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
    }
    (!trailers.is_empty()).then_some(trailers)
}

/// Returns the trailers of a request that are sent to the origin. Trailers that `Connection` nominates end here,
/// like header fields (RFC 9110 §7.6.1).
pub(super) fn to_origin(trailers: HeaderMap, nominated: &[HeaderName]) -> Option<HeaderMap> {
    filtered(trailers, |name| may_go_to_origin(name) && !nominated.contains(name))
}

/// Returns the members of `Trailer` whose fields may be forwarded, as one line.
fn announced<'h>(
    lines: impl Iterator<Item = Value<'h>>,
    may_go_on: impl Fn(&HeaderName) -> bool,
) -> Option<HeaderValue> {
    let members = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let names = members.filter_map(|member| HeaderName::from_bytes(member.trim_ascii()).ok());
    let names: Vec<HeaderName> = names.filter(|name| may_go_on(name)).collect();
    let names: Vec<&str> = names.iter().map(HeaderName::as_str).collect();
    // The value is joined from legal names and is therefore legal.
    (!names.is_empty()).then(|| HeaderValue::from_str(&names.join(", ")).ok()).flatten()
}

/// Returns the `Trailer` field of a request for its origin.
pub(super) fn announced_to_origin<'h>(
    lines: impl Iterator<Item = Value<'h>>,
    nominated: &[HeaderName],
) -> Option<HeaderValue> {
    announced(lines, |name| may_go_to_origin(name) && !nominated.contains(name))
}

/// The filter for a response's trailers on their way to the client.
#[derive(Debug)]
pub(super) struct ToClient {
    nominated: Vec<HeaderName>,
    /// Whether the head is rewritten. Fields that are removed from the head must not return after the body.
    rewrites: bool,
}

impl ToClient {
    /// Creates the filter for a response whose `Connection` nominates these names.
    pub(super) fn new(nominated: Vec<HeaderName>, rewrites: bool) -> Self {
        Self { nominated, rewrites }
    }

    fn lets_pass(&self, site: &Site, name: &HeaderName) -> bool {
        let is_validator = matches!(Known::of(name.as_str()), Known::Etag | Known::LastModified);
        let stays = means_something_in_a_head(name.as_str())
            || tells_of_caching(site, name.as_str())
            || self.nominated.contains(name)
            || self.rewrites && is_validator;
        !stays
    }

    /// Returns the trailers that are forwarded, or `None` if there are none.
    pub(super) fn pass(&self, site: &Site, trailers: HeaderMap) -> Option<HeaderMap> {
        filtered(trailers, |name| self.lets_pass(site, name))
    }

    /// Reduces `Trailer` to the trailers that will be forwarded. Removes the field if the client's version of HTTP
    /// allows no trailers here, which is the case for HTTP/1.1 with a length.
    pub(super) fn announce(&self, site: &Site, version: Version, head: &mut ResponseHead) {
        if head.headers.all(Known::Trailer).next().is_none() {
            return;
        }
        let has_room = version == Version::HTTP_2 || head.headers.all(Known::ContentLength).next().is_none();
        let names = announced(head.headers.all(Known::Trailer), |name| self.lets_pass(site, name));
        match names.filter(|_| has_room) {
            Some(names) => head.headers.insert(&header::TRAILER, &names),
            None => head.headers.remove(header::TRAILER),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::http::head::MapCache;
    use crate::rewrite::CdnType;
    use crate::view::PurgeHealthView;
    use http::StatusCode;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        fixture::headers(fields).into_map(&mut MapCache::default(), |_| true)
    }

    fn names(trailers: Option<HeaderMap>) -> String {
        let Some(trailers) = trailers else { return "none".to_owned() };
        trailers.keys().map(HeaderName::as_str).collect::<Vec<_>>().join(" ")
    }

    fn to_client(rewrites: bool, fields: &[(&str, &str)]) -> String {
        let mut site = fixture::site("www", &["www.example.com"]);
        site.cdns = vec![fixture::cdn("varnish", CdnType::Varnish)];
        let routing = fixture::routing(&fixture::config(vec![site]), &PurgeHealthView::default());
        let nominated = vec![HeaderName::from_static("x-hop")];
        names(ToClient::new(nominated, rewrites).pass(&routing.sites()[0], map(fields)))
    }

    fn origin_gets(fields: &[(&str, &str)]) -> String {
        names(to_origin(map(fields), &[HeaderName::from_static("x-hop")]))
    }

    #[test]
    fn what_both_directions_have_room_for() {
        for name in
            ["grpc-status", "grpc-message", "x-checksum", "content-digest", "my_field", "server-timing"]
        {
            assert_eq!(origin_gets(&[(name, "1")]), name);
            assert_eq!(to_client(true, &[(name, "1")]), name);
        }
        let fields = [("grpc-status", "0"), ("x-a", "1"), ("x-a", "2"), ("host", "evil")];
        assert_eq!(origin_gets(&fields), "grpc-status x-a");
        let passed = to_origin(map(&fields), &[]).unwrap_or_default();
        assert!(passed.get_all("x-a").iter().eq(["1", "2"]));
        assert_eq!(origin_gets(&[]), "none");
    }

    #[test]
    fn what_would_mean_something_in_a_head_goes_nowhere() {
        let forbidden = [
            "transfer-encoding",
            "content-length",
            "connection",
            "host",
            "te",
            "trailer",
            "authorization",
            "cookie",
            "set-cookie",
            "cache-control",
            "age",
            "expires",
            "date",
            "vary",
            "pragma",
            "location",
            "retry-after",
            "range",
            "if-none-match",
            "if-match",
            "expect",
            "max-forwards",
            "content-type",
            "content-encoding",
            "content-range",
            "www-authenticate",
            "proxy-authenticate",
            "x-push-invalidation",
            "x-origin-shim-secret",
            "x-hop",
        ];
        for name in forbidden {
            assert_eq!(origin_gets(&[(name, "1")]), "none", "{name}");
            assert_eq!(to_client(false, &[(name, "1")]), "none", "{name}");
        }
    }

    #[test]
    fn nobody_tells_an_origin_who_the_client_is_after_the_body() {
        let who =
            ["x-forwarded-for", "forwarded", "x-real-ip", "via", "cdn-loop", "x-request-id", "traceparent"];
        for name in who {
            assert_eq!(origin_gets(&[(name, "1")]), "none", "{name}");
        }
        for alias in ["x_forwarded_for", "content_length", "x_push_invalidation", "set_cookie"] {
            assert_eq!(origin_gets(&[(alias, "1")]), "none", "{alias}");
        }
        assert_eq!(to_client(false, &[("x-request-id", "1")]), "x-request-id");
    }

    #[test]
    fn no_lifetimes_and_tags_come_after_the_body() {
        for name in
            ["surrogate-control", "cdn-cache-control", "edge-control", "surrogate-key", "cache-tag", "xkey"]
        {
            assert_eq!(to_client(false, &[(name, "1")]), "none", "{name}");
        }
        let validators = [("etag", "1"), ("last-modified", "x"), ("x", "1")];
        assert_eq!(to_client(false, &validators), "etag last-modified x");
        assert_eq!(to_client(true, &validators), "x");
    }

    #[test]
    fn only_what_will_come_is_announced() {
        let routing = fixture::routing(
            &fixture::config(vec![fixture::site("www", &["www.example.com"])]),
            &PurgeHealthView::default(),
        );
        let check = |version, fields: &[(&str, &str)], expected: &[(&str, &str)]| {
            let mut head = ResponseHead::new(StatusCode::OK);
            head.headers = fixture::headers(fields);
            ToClient::new(vec![], false).announce(&routing.sites()[0], version, &mut head);
            assert_eq!(fixture::lines(&head.headers), expected);
        };
        check(Version::HTTP_11, &[("x", "1")], &[("x", "1")]);
        let lines = [("trailer", "Grpc-Status, set-cookie"), ("x", "1"), ("trailer", "(, X-Sum ,")];
        check(Version::HTTP_11, &lines, &[("trailer", "grpc-status, x-sum"), ("x", "1")]);
        check(Version::HTTP_2, &lines, &[("trailer", "grpc-status, x-sum"), ("x", "1")]);
        check(Version::HTTP_11, &[("trailer", "content-length")], &[]);
        let length = [("trailer", "x-sum"), ("content-length", "2")];
        check(Version::HTTP_11, &length, &length[1..]);
        check(Version::HTTP_2, &length, &length);
    }
}
