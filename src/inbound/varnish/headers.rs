//! Single headers of a request.

use crate::inbound::refused::Refused;
use crate::purge::PurgeMode;
use http::{HeaderMap, HeaderValue};

/// Returns the first of these headers that is there.
pub(super) fn first<'h>(headers: &'h HeaderMap, names: &[&str]) -> Result<Option<&'h str>, Refused> {
    names.iter().find_map(|name| headers.get(*name)).map(text).transpose()
}

/// Returns the soft mode, if a header asks for it.
pub(super) fn soft(headers: &HeaderMap) -> Option<PurgeMode> {
    let names = ["x-magento-purge-soft", "x-purge-soft", "x-soft-purge"];
    names.iter().any(|name| is_on(headers, name)).then_some(PurgeMode::Soft)
}

/// Whether a header is there and does not say no.
pub(super) fn is_on(headers: &HeaderMap, name: &str) -> bool {
    let value = headers.get(name).map(|value| value.as_bytes().trim_ascii());
    value.is_some_and(|value| !matches!(value, b"" | b"0" | b"false" | b"off" | b"no"))
}

/// Returns the text of a header.
pub(super) fn text(value: &HeaderValue) -> Result<&str, Refused> {
    let text = std::str::from_utf8(value.as_bytes());
    Ok(text.map_err(|_| Refused::bad("a header is not UTF-8"))?.trim())
}
