//! The header that names the page of a response for Varnish if the request spells it differently from its
//! [canonical](super::spelling) form. Varnish's purges of URLs and prefixes compare names, and Varnish cannot
//! compute the canonical form itself. The query is left out: the cache has it already, and every spelling of a
//! query is a page of its own.

use super::Dialect;
use super::edits::Edits;
use super::field::FieldName;
use crate::http::head::Known;
use http::HeaderName;

/// The name of the header. The included VCL keeps it with the object and hides it from visitors.
static PAGE: HeaderName = HeaderName::from_static("x-origin-shim-path");

/// The maximum number of bytes of a header line that Varnish reads (`http_resp_hdr_len` is 8k by default). A
/// longer line would turn the response into a 503. The page then has only the name from the request.
const MOST: usize = 8_000;

/// Names the page of a request for `raw`, whose canonical form is `canonical`. A header of the origin is always
/// replaced or removed because it would name another page.
pub(super) fn write(raw: &str, canonical: &str, dialect: &Dialect, edits: &mut Edits<'_>) {
    if !dialect.cdn.facts().is_told_the_page {
        return;
    }
    let field = FieldName { name: &PAGE, known: Known::Other };
    match raw != canonical && PAGE.as_str().len() + 2 + canonical.len() <= MOST {
        // A canonical path has only characters that a path may have (RFC 3986 §3.3).
        true => edits.set(field, |text| text.extend_from_slice(canonical.as_bytes())),
        false => edits.remove(field),
    }
}
