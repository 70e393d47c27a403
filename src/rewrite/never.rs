//! What is never lengthened, unless a rule says so.

use super::fields::{Field, Fields};
use super::origin::Origin;
use super::outcome::Reason;
use super::{Policy, RequestFacts};
use http::Method;

/// Why the response must keep the lifetime that the origin gave it, if it must.
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
