//! Tells Varnish which page a response is of, where the request spells it otherwise than [`canonical`](super::spelling) does:
//! its purges of URLs and prefixes compare names, and it cannot make the canonical form by itself. The query is not in
//! it, since the cache has that already and every spelling of it is a page of its own.

use super::Dialect;
use super::edits::Edits;
use crate::http::head::FieldLine;
use http::{HeaderName, HeaderValue};
use std::rc::Rc;

/// Its header. The VCL that we ship keeps it with the object and hides it from visitors.
const PAGE: HeaderName = HeaderName::from_static("x-origin-shim-path");

/// Bytes of a header line that Varnish reads (`http_resp_hdr_len` is 8k by default); a longer one would make the response
/// a 503. The page is then known by the name that the request gave it.
const MOST: usize = 8_000;

/// Names the page of a request for `raw`, whose canonical form is `canonical`. One that the origin sent would name another.
pub(super) fn write(raw: &str, canonical: &str, dialect: &Dialect, edits: &mut Edits) {
    if !dialect.cdn.facts().is_told_the_page {
        return;
    }
    let told = (raw != canonical && PAGE.as_str().len() + 2 + canonical.len() <= MOST)
        .then(|| HeaderValue::from_str(canonical).ok())
        .flatten();
    match told {
        Some(value) => edits.set(Rc::new(FieldLine::new(PAGE, value))),
        None => edits.remove(&PAGE),
    }
}
