//! Which responses a CDN may keep. The guard, the follow-up purge and what counts as on its way ask here, and nowhere else.
//!
//! In doubt a response may be kept: a guard and a follow-up for what is not kept cost one call, and none for what is kept
//! leaves an old page in the cache. What is known comes from the documentation of each CDN, and for Varnish from the VCL
//! that we ship.

use super::field::Field;
use super::fields::Fields;
use super::origin::{Obeyed, Origin};
use super::{CdnType, Dialect, RequestFacts};
use http::{Method, StatusCode};

/// Why a CDN may keep a response as the origin sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// The origin gives it a lifetime that the CDN reads.
    Granted,
    /// The origin says nothing, and caches have defaults for such responses.
    ByDefault,
    /// Only its configuration could make the CDN keep it. Whatever is written must not be what makes it shared.
    InDoubt,
}

/// Why this CDN may keep the response as the origin sent it, once its prohibitions are said in words that the CDN reads;
/// none where it will not.
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
            // It will be said again in the CDN's own words.
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

/// Whether the CDN may keep an error although it is told not to.
pub(super) fn keeps_errors(cdn: CdnType) -> bool {
    cdn.facts().storing.keeps_errors
}

/// Whether the CDN keeps responses of this status at all.
fn keeps_status(dialect: &Dialect, status: StatusCode, origin: &Origin, is_granted: bool) -> bool {
    let code = status.as_u16();
    match &dialect.cdn.facts().storing.statuses {
        None => !status.is_informational(),
        Some(known) if known.always.contains(&code) => true,
        Some(known) if known.if_granted.contains(&code) => is_granted,
        Some(_) => origin.grants_to(dialect),
    }
}

/// Statuses that caches keep without a lifetime from the origin (RFC 9110 §15.1; 302 by Fastly and Cloudflare). Not 206,
/// which only stands for a part, and not 304, which stands for a page that was kept before.
fn is_kept_by_default(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 302 | 308 | 404 | 405 | 410 | 414 | 501)
}

fn varies_on_everything(fields: &Fields<'_, '_>) -> bool {
    let members = fields.lines(Field::Vary).flat_map(|line| line.as_bytes().split(|b| *b == b','));
    members.map(<[u8]>::trim_ascii).any(|member| member == b"*")
}
