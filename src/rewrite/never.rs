//! The responses that are never lengthened, either regardless of any rule or unless a rule overrides that.

use super::field::Field;
use super::fields::Fields;
use super::origin::Origin;
use super::outcome::Reason;
use super::{Policy, RequestFacts, redirect};
use http::{Method, StatusCode};

/// Returns why the response must keep the origin's lifetime regardless of any rule, if it must.
pub(super) fn reason_beyond_rules(
    policy: &Policy,
    request: RequestFacts<'_>,
    status: StatusCode,
    fields: &Fields<'_, '_>,
) -> Option<Reason> {
    if is_unseen(policy, status, fields) {
        return Some(Reason::NotModified);
    }
    if request.bound {
        return Some(Reason::Private);
    }
    redirect::reason(policy, request, status, fields.headers())
}

/// Whether the response only confirms a page that the shim did not see: a 304 that does not repeat the tags. A cache
/// overwrites stored fields by those of the 304 (RFC 9111 §3.2), so the 304 must not contain anything unknown. For a
/// CDN that ignores the tags of a 304, this holds for every 304.
pub(super) fn is_unseen(policy: &Policy, status: StatusCode, fields: &Fields<'_, '_>) -> bool {
    let dialect = fields.dialect();
    let says_tags = || {
        let lines = policy.tags.fields.lines(fields.headers(), dialect.tag_list());
        let mut read = lines.iter().filter(|line| line.separator.is_some());
        read.any(|line| line.value.as_bytes().iter().any(|b| !matches!(b, b' ' | b'\t' | b',')))
    };
    status == StatusCode::NOT_MODIFIED && (!dialect.cdn.facts().tags.in_304 || !says_tags())
}

/// Returns why the response must keep the origin's lifetime unless a rule overrides that, if it must.
pub(super) fn reason(
    policy: &Policy,
    request: RequestFacts<'_>,
    origin: &Origin,
    fields: &Fields<'_, '_>,
) -> Option<Reason> {
    if *request.method != Method::GET && *request.method != Method::HEAD {
        return Some(Reason::Method);
    }
    if fields.has(Field::SetCookie) {
        return Some(Reason::SetCookie);
    }
    if let Some(reason) = origin.forbids() {
        return Some(reason);
    }
    // RFC 9111 §3.5.
    if request.authorization && !origin.allows_authorization() {
        return Some(Reason::Authorization);
    }
    if request.cookie && !origin.has_positive_lifetime() {
        return Some(Reason::Cookie);
    }
    (!vary_is_allowed(policy, fields)).then_some(Reason::Vary)
}

/// Whether the response varies only on fields that the site lists, and on `Accept-Encoding`, which every CDN handles.
fn vary_is_allowed(policy: &Policy, fields: &Fields<'_, '_>) -> bool {
    fields
        .lines(Field::Vary)
        // This is a fast path for the most common line.
        .filter(|line| !line.as_bytes().eq_ignore_ascii_case(b"accept-encoding"))
        .flat_map(|line| line.as_bytes().split(|b| *b == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.is_empty())
        .all(|name| {
            let is = |allowed: &str| name.eq_ignore_ascii_case(allowed.as_bytes());
            // `*` is not a header name, so no list can allow it.
            name != b"*" && (is("accept-encoding") || policy.vary.iter().any(|allowed| is(allowed)))
        })
}
