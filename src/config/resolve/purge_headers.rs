//! `sites.purge_headers` and `sites.purge_header_wait`.

use super::cdn::has_another_meaning;
use crate::config::at::At;
use crate::config::file::{purge_header as file, site};
use crate::config::{ItemSeparator, PurgeHeader, PurgeHeaders};
use crate::rewrite::Dialect;
use http::HeaderName;
use std::time::Duration;

/// The longest time that a response may wait for a commit: a visitor waits for it.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Returns the headers, or `None` if the origin cannot ask for purges. A site without a CDN has nothing to purge, so
/// its responses keep the headers for the cache that the shim does not know.
pub(super) fn resolve(file: &site::Site, at: &At<'_>) -> Option<PurgeHeaders> {
    let wait = at.key("purge_header_wait").duration(&file.purge_header_wait);
    if wait > LONGEST_WAIT {
        at.key("purge_header_wait").error("must be at most 10s: visitors wait that long");
    }
    let mut headers = vec![PurgeHeader::standard()];
    let at = at.key("purge_headers");
    for (at, header) in at.each(file.purge_headers.as_deref().unwrap_or_default()) {
        let Some(header) = resolved(header, &at) else { continue };
        match headers.iter_mut().find(|other| other.name == header.name) {
            // The standard header may be given another form.
            Some(standard) if *standard == PurgeHeader::standard() => *standard = header,
            Some(_) => at.key("header").error("is in the list already"),
            None => headers.push(header),
        }
    }
    let is_off = file.purge_headers.as_ref().is_some_and(Vec::is_empty);
    (!is_off && !file.cdns.is_empty()).then_some(PurgeHeaders { headers, wait })
}

fn resolved(file: &file::PurgeHeader, at: &At<'_>) -> Option<PurgeHeader> {
    let separator = at.key("separator").ok(separator(&file.separator));
    let name = at.key("header").ok(name(&file.header))?;
    Some(PurgeHeader { name, items: file.items, separator: separator? })
}

fn name(text: &str) -> Result<HeaderName, &'static str> {
    let name: HeaderName = text.parse().map_err(|_| "must be the name of a header")?;
    if has_another_meaning(&name)
        || Dialect::carries_lifetimes(name.as_str())
        || Dialect::carries_tags(name.as_str())
    {
        return Err("has another meaning in every response");
    }
    Ok(name)
}

fn separator(text: &str) -> Result<ItemSeparator, &'static str> {
    match text.as_bytes() {
        b"list" => Ok(ItemSeparator::List),
        [byte] if *byte == b' ' || byte.is_ascii_punctuation() => Ok(ItemSeparator::Byte(*byte)),
        _ => Err("must be one character (a space or a punctuation mark), or \"list\""),
    }
}
