//! What clients of Varnish send.

use http::{HeaderMap, HeaderName, HeaderValue, Request};
use origin_shim::inbound::varnish::{self, Reading};
use origin_shim::rewrite::nameable;

/// Header lines.
fn headers(lines: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in super::lines(lines) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii())) {
            headers.append(name, value);
        }
    }
    headers
}

/// A request as clients of Varnish send it: a method and a target in the first line, header lines, an empty line and a
/// body.
pub fn pattern(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (first, rest) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    let (head, body) = match rest.windows(2).position(|window| window == b"\n\n") {
        Some(at) => (&rest[..at], &rest[at + 2..]),
        None => (rest, &[][..]),
    };
    let space = first.iter().position(|byte| *byte == b' ').unwrap_or(first.len());
    let (method, target) = (&first[..space], first.get(space + 1..).unwrap_or(b"/"));
    let request = Request::builder().method(method).uri(target);
    let Ok(mut request) = request.body(bytes::Bytes::copy_from_slice(body)) else { return };
    *request.headers_mut() = headers(head);
    let narrow = varnish::read(&request, &Reading::default());
    let widened = varnish::read(&request, &Reading { widen: true, ..Reading::default() });
    match (narrow, widened) {
        // What is understood is not widened, and each name is one that a purge accepts.
        (Ok(narrow), Ok(widened)) => {
            assert_eq!(narrow, widened);
            for request in [narrow.request(|_| true), narrow.request(|_| false)] {
                assert!(request.item_count() > 0);
                request
                    .prefixes
                    .iter()
                    .for_each(|prefix| assert!(nameable::prefix(prefix).is_ok(), "{prefix}"));
                request.tags.iter().for_each(|tag| assert!(nameable::tag(tag).is_ok(), "{tag}"));
            }
        }
        (Err(narrow), Ok(widened)) => {
            assert!(narrow.status == 422 && widened.everything);
        }
        (Err(narrow), Err(widened)) => assert_eq!(narrow, widened),
        (Ok(_), Err(_)) => panic!("a wider reading refuses more"),
    }
}
