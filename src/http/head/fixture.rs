//! Heads for tests.

use super::{Headers, RequestHead};
use http::{HeaderName, HeaderValue, Version};

/// Fields of these lines.
pub fn headers(lines: &[(&str, &str)]) -> Headers {
    let name = |name: &str| HeaderName::from_bytes(name.as_bytes()).unwrap();
    lines.iter().map(|(line, value)| (name(line), HeaderValue::from_str(value).unwrap())).collect()
}

/// The head of a request.
pub fn request(version: Version, method: &str, target: &str, lines: &[(&str, &str)]) -> RequestHead {
    let (method, uri) = (method.parse().unwrap(), target.parse().unwrap());
    RequestHead { method, uri, version, headers: headers(lines) }
}

/// The lines of a head, in their order.
pub fn lines(headers: &Headers) -> Vec<(&str, &str)> {
    headers.iter().map(|(name, value)| (name, value.to_str().unwrap())).collect()
}
