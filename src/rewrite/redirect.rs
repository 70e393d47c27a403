//! Redirects that must not outlive a mistake: those to the requested URL itself, and those to the origin's own host.

use super::outcome::Reason;
use super::path::normalise;
use super::{Policy, RequestFacts};
use crate::http::head::{Headers, Value};
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use url::{Position, Url};

/// Returns why a redirect must not be lengthened, if it must not.
pub(super) fn reason(
    policy: &Policy,
    request: RequestFacts<'_>,
    status: StatusCode,
    headers: &Headers,
) -> Option<Reason> {
    if !status.is_redirection() {
        return None;
    }
    let asked = url_of(request)?;
    let location = target(&asked, headers.get(&LOCATION)?)?;
    if is_same(&asked, &location, request.asked.scheme.is_some()) {
        Some(Reason::RedirectLoop)
    } else if is_of_origin(policy, request, &asked, &location) {
        Some(Reason::RedirectToOrigin)
    } else {
        None
    }
}

/// Returns the `Location` for visitors if the given one names the origin. It has the requested host, and the
/// requested scheme if known. Without a scheme, the visitor's applies (RFC 3986 §4.2). Returns `None` if the
/// redirect may stay as it is.
pub fn public_location(policy: &Policy, request: RequestFacts<'_>, headers: &Headers) -> Option<HeaderValue> {
    let asked = url_of(request)?;
    let location = target(&asked, headers.get(&LOCATION)?)?;
    if !is_of_origin(policy, request, &asked, &location) {
        return None;
    }
    let scheme = request.asked.scheme.map(|scheme| format!("{scheme}:")).unwrap_or_default();
    let rest = &location[Position::BeforePath..];
    HeaderValue::try_from(format!("{scheme}//{}{rest}", request.asked.host)).ok()
}

fn url_of(request: RequestFacts<'_>) -> Option<Url> {
    let asked = request.asked;
    let (scheme, question) = (asked.scheme.unwrap_or("http"), asked.query.map_or("", |_| "?"));
    let (path, query) = (request.path, asked.query.unwrap_or_default());
    Url::parse(&format!("{scheme}://{}{path}{question}{query}", asked.host)).ok()
}

/// The target of a redirect, resolved against the requested URL (RFC 9110 §10.2.2).
fn target(asked: &Url, location: Value<'_>) -> Option<Url> {
    asked.join(&String::from_utf8_lossy(location.as_bytes())).ok().filter(Url::has_host)
}

/// Whether both URLs are one page. Default ports and unknown schemes make no difference.
fn is_same(asked: &Url, location: &Url, scheme_is_known: bool) -> bool {
    asked.host_str() == location.host_str()
        && port(asked, scheme_is_known) == location.port()
        && normalise(asked.path()) == normalise(location.path())
        && asked.query() == location.query()
        && (!scheme_is_known || asked.scheme() == location.scheme())
}

/// The requested port, unless it is the default of the scheme, or of either scheme if the scheme is unknown.
fn port(asked: &Url, scheme_is_known: bool) -> Option<u16> {
    asked.port().filter(|port| scheme_is_known || !matches!(port, 80 | 443))
}

/// Whether the redirect leads to a host that only the shim should use: the origin's name, or the public name with
/// the port on which the origin listens. Servers that take their name from `Host` write the latter.
fn is_of_origin(policy: &Policy, request: RequestFacts<'_>, asked: &Url, location: &Url) -> bool {
    let host = location.host_str().unwrap_or_default();
    if asked.host_str() == Some(host) {
        let inner = |port: u16| policy.origins.iter().any(|origin| origin.port == port);
        let asked_port = port(asked, request.asked.scheme.is_some());
        location.port() != asked_port && location.port().is_some_and(inner)
    } else {
        policy.origins.iter().any(|origin| origin.host == host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rewrite::Asked;
    use crate::rewrite::policy::OriginName;
    use crate::rewrite::tests::site;
    use http::Method;

    const GET: Method = Method::GET;

    fn origins() -> Policy {
        let origin = |host: &str, port| OriginName { host: host.to_owned(), port };
        Policy {
            origins: vec![origin("127.0.0.1", 45375), origin("main--site--org.aem.live", 443)],
            ..site()
        }
    }

    /// Calls `then` with a redirect to `location`, in response to `https://www.example.com/dir?x=1` with a known
    /// or unknown scheme.
    fn with<T>(scheme: Option<&str>, location: &str, then: impl Fn(RequestFacts<'_>, &Headers) -> T) -> T {
        let asked = Asked { scheme, host: "www.example.com", query: Some("x=1") };
        let facts = RequestFacts {
            method: &GET,
            path: "/dir",
            authorization: false,
            bound: false,
            cookie: false,
            asked,
        };
        let headers = Headers::from_iter([(LOCATION, HeaderValue::from_bytes(location.as_bytes()).unwrap())]);
        then(facts, &headers)
    }

    #[track_caller]
    fn check(scheme: Option<&str>, location: &str, expected: Option<Reason>) {
        let found = with(scheme, location, |facts, headers| {
            reason(&origins(), facts, StatusCode::MOVED_PERMANENTLY, headers)
        });
        assert_eq!(found, expected, "{location}");
    }

    #[test]
    fn to_itself() {
        let loops = Some(Reason::RedirectLoop);
        for location in [
            "https://www.example.com/dir?x=1",
            "http://www.example.com/dir?x=1",
            "HTTPS://WWW.example.com:443/dir?x=1#top",
            "//www.example.com/./%64ir?x=1",
            "/dir?x=1",
            "?x=1",
            "",
            "#top",
        ] {
            check(None, location, loops);
        }
        // An upgrade to HTTPS is no loop if the visitor is known to have used HTTP.
        check(Some("http"), "https://www.example.com/dir?x=1", None);
        check(Some("https"), "https://www.example.com/dir?x=1", loops);
        for location in [
            "/dir",
            "/dir/",
            "/dir?x=2",
            "https://example.com/dir?x=1",
            "https://www.example.com:8443/dir?x=1",
        ] {
            check(None, location, None);
        }
    }

    #[test]
    fn a_default_port_is_no_difference() {
        let asked = |scheme, host, location: &str| {
            let asked = Asked { scheme, host, query: None };
            let facts = RequestFacts {
                method: &GET,
                path: "/dir",
                authorization: false,
                bound: false,
                cookie: false,
                asked,
            };
            let headers =
                Headers::from_iter([(LOCATION, HeaderValue::from_bytes(location.as_bytes()).unwrap())]);
            reason(&origins(), facts, StatusCode::FOUND, &headers)
        };
        let (secure, plain) = (Some("https"), Some("http"));
        for (scheme, host, location) in [
            (None, "a.test:443", "https://a.test/dir"),
            (None, "a.test:80", "https://a.test/dir"),
            (None, "a.test:443", "https://a.test:443/dir"),
            (None, "a.test", "http://a.test:80/dir"),
            (None, "a.test:8443", "https://a.test:8443/dir"),
            (secure, "a.test:443", "https://a.test/dir"),
            (plain, "a.test:80", "http://a.test/dir"),
        ] {
            assert_eq!(asked(scheme, host, location), Some(Reason::RedirectLoop), "{host} {location}");
        }
        // A port that is not the default of its own scheme makes a difference, and an upgrade to HTTPS is no loop.
        for (scheme, host, location) in [
            (None, "a.test", "http://a.test:443/dir"),
            (None, "a.test:8443", "https://a.test/dir"),
            (plain, "a.test:80", "https://a.test/dir"),
        ] {
            assert_ne!(asked(scheme, host, location), Some(Reason::RedirectLoop), "{host} {location}");
        }
    }

    #[test]
    fn to_the_origin() {
        for (location, public) in [
            ("http://127.0.0.1:45375/dir/", "/dir/"),
            ("http://127.0.0.1/dir/?a=b#c", "/dir/?a=b#c"),
            ("http://www.example.com:45375/dir/", "/dir/"),
            ("https://main--site--org.aem.live/", "/"),
        ] {
            check(None, location, Some(Reason::RedirectToOrigin));
            let made = |scheme| {
                with(scheme, location, |facts, headers| public_location(&origins(), facts, headers)).unwrap()
            };
            assert_eq!(made(Some("https")), format!("https://www.example.com{public}"));
            assert_eq!(made(None), format!("//www.example.com{public}"));
        }
        for location in
            ["/dir/", "https://www.example.com/dir/", "https://cdn.example.com/", "mailto:a@b", "http://["]
        {
            check(None, location, None);
            let public = with(None, location, |facts, headers| public_location(&origins(), facts, headers));
            assert_eq!(public, None, "{location}");
        }
    }

    #[test]
    fn only_of_redirects() {
        let found =
            with(None, "/dir?x=1", |facts, headers| reason(&origins(), facts, StatusCode::CREATED, headers));
        assert_eq!(found, None);
    }
}
