//! The responses that a CDN may keep. The guard, the follow-up purge and the in-flight accounting all ask this
//! module, and nothing else.
//!
//! In doubt, a response may be kept. A guard and a follow-up for a response that is not kept cost one call.
//! Without them, a response that is kept leaves an old page in the cache. The facts come from the documentation of
//! each CDN, and for Varnish from the included VCL.

use super::field::Field;
use super::fields::Fields;
use super::origin::{Obeyed, Origin};
use super::{CdnType, Dialect, RequestFacts};
use http::{Method, StatusCode};

/// The reason why a CDN may keep a response as the origin sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// The origin gives the response a lifetime that the CDN reads.
    Granted,
    /// The origin gives no lifetime, and caches have defaults for such responses.
    ByDefault,
    /// Only the CDN's configuration could make it keep the response. The shim must not write anything that makes
    /// it shared.
    InDoubt,
}

/// Returns why this CDN may keep the response as the origin sent it, after prohibitions are rewritten in a form
/// that the CDN reads. Returns `None` if the CDN will not keep it.
pub(super) fn as_sent(
    dialect: &Dialect,
    request: RequestFacts<'_>,
    status: StatusCode,
    origin: &Origin,
    fields: &Fields<'_, '_>,
) -> Option<Kept> {
    let is_get = matches!(*request.method, Method::GET | Method::HEAD);
    if !is_get && !dialect.cdn.facts().storing.other_methods.contain(request.method) {
        return None;
    }
    if origin.forbids_sharing() && !origin.grants_to(dialect) {
        let obeyed = match origin.is_obeyed_by(dialect, fields) {
            // The prohibition will be repeated in the CDN's own field.
            Obeyed::No if dialect.cdn.facts().storing.can_be_forbidden => Obeyed::Yes,
            obeyed => obeyed,
        };
        return (obeyed != Obeyed::Yes).then_some(Kept::InDoubt);
    }
    let is_granted =
        origin.grants_to(dialect) || origin.lifetime_for_all().is_some_and(|seconds| seconds > 0);
    if !keeps_status(dialect, status, origin, is_granted) {
        return None;
    }
    let may_be_somebodys = !is_get
        || request.authorization && !origin.allows_authorization()
        || (fields.has(Field::SetCookie) || request.cookie) && !is_granted
        || varies_on_everything(fields);
    Some(match is_granted {
        _ if may_be_somebodys => Kept::InDoubt,
        true => Kept::Granted,
        false if is_kept_by_default(status) => Kept::ByDefault,
        false => Kept::InDoubt,
    })
}

/// Whether the CDN may keep an error although that is forbidden.
pub(super) fn keeps_errors(cdn: CdnType) -> bool {
    cdn.facts().storing.keeps_errors
}

/// Whether the CDN keeps responses with this status at all.
fn keeps_status(dialect: &Dialect, status: StatusCode, origin: &Origin, is_granted: bool) -> bool {
    let code = status.as_u16();
    match &dialect.cdn.facts().storing.statuses {
        None => !status.is_informational(),
        Some(known) if known.always.contains(&code) => true,
        Some(known) if known.if_granted.contains(&code) => is_granted,
        Some(_) => origin.grants_to(dialect),
    }
}

/// Whether caches keep this status without a lifetime from the origin (RFC 9110 §15.1; 302 by Fastly and
/// Cloudflare). This excludes 206, which is only a part, and 304, which refers to a page kept before.
fn is_kept_by_default(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 302 | 308 | 404 | 405 | 410 | 414 | 501)
}

fn varies_on_everything(fields: &Fields<'_, '_>) -> bool {
    let members = fields.lines(Field::Vary).flat_map(|line| line.as_bytes().split(|b| *b == b','));
    members.map(<[u8]>::trim_ascii).any(|member| member == b"*")
}
