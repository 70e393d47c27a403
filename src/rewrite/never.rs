//! What is never lengthened, unless a rule says so.

use super::field::Field;
use super::fields::Fields;
use super::origin::Origin;
use super::outcome::Reason;
use super::{Policy, RequestFacts, redirect};
use http::{Method, StatusCode};

/// Why the response must keep the lifetime that the origin gave it, whatever a rule says, if it must.
pub(super) fn reason_beyond_rules(
    policy: &Policy,
    request: RequestFacts<'_>,
    status: StatusCode,
    fields: &Fields<'_, '_>,
) -> Option<Reason> {
    if is_unseen(status, fields) {
        return Some(Reason::NotModified);
    }
    if request.bound {
        return Some(Reason::Private);
    }
    redirect::reason(policy, request, status, fields.headers())
}

/// Whether the response only confirms a page that was not seen: a 304 whose tags are not told again. A cache overwrites
/// what it stored by what the 304 says (RFC 9111 §3.2), so it must say nothing of what is not known. Some CDNs take no
/// tags from a 304.
pub(super) fn is_unseen(status: StatusCode, fields: &Fields<'_, '_>) -> bool {
    let says_tags = || {
        let own = Some(fields.own_tags).filter(|_| fields.dialect().tag_header.is_some());
        let lines = Field::TAGS.into_iter().chain(own).flat_map(|field| fields.lines(field));
        lines.into_iter().any(|line| line.as_bytes().iter().any(|b| !matches!(b, b' ' | b'\t' | b',')))
    };
    status == StatusCode::NOT_MODIFIED && (!fields.dialect().cdn.facts().tags.in_304 || !says_tags())
}

/// Why the response must keep the lifetime that the origin gave it unless a rule says otherwise, if it must.
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

/// Whether the response varies on nothing but what the site lists, and on `Accept-Encoding`, which every CDN handles.
fn vary_is_allowed(policy: &Policy, fields: &Fields<'_, '_>) -> bool {
    fields
        .lines(Field::Vary)
        // What most responses say, told at a glance.
        .filter(|line| !line.as_bytes().eq_ignore_ascii_case(b"accept-encoding"))
        .flat_map(|line| line.as_bytes().split(|b| *b == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.is_empty())
        .all(|name| {
            let is = |allowed: &str| name.eq_ignore_ascii_case(allowed.as_bytes());
            // `*` is no header name, so no list can allow it.
            name != b"*" && (is("accept-encoding") || policy.vary.iter().any(|allowed| is(allowed)))
        })
}
