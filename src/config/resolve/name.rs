//! Names of sites, CDNs, tokens and accounts.

use crate::config::at::At;

/// Checks a name. Names become part of URLs, metrics and tags.
pub(super) fn check(name: &str, at: &At<'_>) {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(legal) {
        at.error("must be 1 to 64 of the letters a to z, digits, `.`, `_` and `-`");
    }
}
