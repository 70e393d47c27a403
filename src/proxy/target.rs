//! Request targets: the allowed forms (RFC 9112 §3.2, RFC 9113 §8.3.1), and the one form in which the target is
//! used for all decisions and sent to the origin. The same rule applies to both versions of HTTP.

use super::error::ProxyError;
use crate::http::head::origin_form;
use bytes::{BufMut, Bytes, BytesMut};
use http::uri::PathAndQuery;
use http::{Method, Uri};

/// Parses the target of an HTTP/1.1 request. A URL in absolute form may have no path. The path is then `/`, or `*`
/// for OPTIONS without a query, because there is no other proxy behind us (RFC 9112 §3.2.4).
pub fn of_http1(method: &Method, target: Bytes) -> Option<Uri> {
    if target.first() == Some(&b'/') {
        return Uri::from_maybe_shared(target).ok();
    }
    let uri = Uri::from_maybe_shared(target.clone()).ok()?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Some(uri) };
    let rest = target.get(scheme.len() + "://".len() + authority.as_str().len()..)?;
    if rest.first() == Some(&b'/') {
        return Some(uri);
    }
    let path = if rest.is_empty() && *method == Method::OPTIONS { &b"*"[..] } else { b"/" };
    let mut whole = BytesMut::with_capacity(path.len() + rest.len());
    whole.put_slice(path);
    whole.put_slice(rest);
    let mut parts = uri.into_parts();
    parts.path_and_query = Some(PathAndQuery::from_maybe_shared(whole.freeze()).ok()?);
    Uri::from_parts(parts).ok()
}

/// Whether the target may be forwarded: a path with or without a query, for http or https, or `*` for OPTIONS.
pub(super) fn check(method: &Method, uri: &Uri) -> Result<(), ProxyError> {
    match uri.scheme_str() {
        None if uri.authority().is_some() => return Err(ProxyError::BadRequest("the target is not a path")),
        None | Some("http" | "https") => {}
        Some(_) => return Err(ProxyError::BadRequest("the target's scheme is not http or https")),
    }
    match origin_form(uri).as_bytes() {
        b"*" if *method == Method::OPTIONS => Ok(()),
        [b'/', ..] => Ok(()),
        _ => Err(ProxyError::BadRequest("the target is not a path")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::uri::{Authority, Scheme};
    use proptest::prelude::*;

    /// Returns the target that the origin receives for one of HTTP/1.1, or `None` if it is refused.
    fn http1(method: &Method, target: &str) -> Option<String> {
        let uri = of_http1(method, Bytes::copy_from_slice(target.as_bytes()))?;
        check(method, &uri).ok().map(|()| origin_form(&uri).to_owned())
    }

    /// Returns the same for a `:path` without a fragment, as the `h2` crate reads it.
    fn http2(method: &Method, path: &str) -> Option<String> {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(Authority::from_static("a.test"));
        parts.path_and_query =
            Some(PathAndQuery::from_maybe_shared(Bytes::copy_from_slice(path.as_bytes())).ok()?);
        let uri = Uri::from_parts(parts).ok()?;
        check(method, &uri).ok().map(|()| origin_form(&uri).to_owned())
    }

    #[test]
    fn forms() {
        let get = |target: &str, expected: Option<&str>| {
            assert_eq!(http1(&Method::GET, target).as_deref(), expected, "{target}");
        };
        get("/", Some("/"));
        get("//x?y", Some("//x?y"));
        get("/?x=1", Some("/?x=1"));
        get("http://a.test", Some("/"));
        get("HTTP://a.test?x=1", Some("/?x=1"));
        get("https://a.test:8443?x=/y", Some("/?x=/y"));
        get("http://a.test?", Some("/?"));
        get("http://a.test/?x", Some("/?x"));
        get("http://[::1]?x", Some("/?x"));
        // The authority in the target never selects an origin.
        get("http://evil.test/a//../b?c", Some("/a//../b?c"));
        get("/%2e%2E/a;b?x=%00", Some("/%2e%2E/a;b?x=%00"));
        for refused in ["?x=1", "*", "a", "a.test:80", "ftp://a.test/", "http:/a", "http://", "http://?x"] {
            get(refused, None);
        }
        let options = |target: &str, expected: Option<&str>| {
            assert_eq!(http1(&Method::OPTIONS, target).as_deref(), expected, "{target}");
        };
        options("*", Some("*"));
        options("http://a.test", Some("*"));
        options("http://a.test/", Some("/"));
        options("http://a.test?x", Some("/?x"));
        options("*?x", None);
        options("**", None);
        options("*/x", None);
    }

    proptest! {
        #[test]
        fn what_one_version_takes_the_other_takes_and_the_origin_sees_the_same(
            path in "[/*?]?[ -\"$-~é]{0,12}", options in any::<bool>(),
        ) {
            let method = if options { Method::OPTIONS } else { Method::GET };
            // Empty targets and targets with spaces are refused before this code.
            prop_assume!(!path.is_empty() && !path.contains(' '));
            let of_path = |path: &str| http1(&method, path).filter(|_| path.starts_with(['/', '*']));
            prop_assert_eq!(of_path(&path), http2(&method, &path));
            if path.starts_with(['/', '?']) {
                let whole = http1(&method, &format!("http://a.test{path}"));
                let rooted = if path.starts_with('?') { format!("/{path}") } else { path };
                prop_assert_eq!(whole, of_path(&rooted));
            }
        }
    }
}
