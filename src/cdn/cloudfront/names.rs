//! Paths in the form that CloudFront accepts in invalidations.

use crate::cdn::{Item, ItemKind};

/// Escapes the characters of a path and query that RFC 1738 §2.2 calls unsafe, as CloudFront requires: "If the
/// path includes non-ASCII characters or unsafe characters as defined in RFC 1738, URL-encode those characters"
/// (<https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/invalidation-specifying-objects.html>).
/// A `*` cannot be escaped there, and `%` and `#` are left as they are.
pub fn escaped_path(target: &str) -> String {
    let mut escaped = String::with_capacity(target.len());
    for character in target.chars() {
        match character {
            '{' | '}' | '|' | '\\' | '^' | '~' | '[' | ']' | '`' => {
                escaped.push_str(&format!("%{:02X}", u32::from(character)));
            }
            _ => escaped.push(character),
        }
    }
    escaped
}

/// Returns the path by which an invalidation names the page at a path and query. A `*` is a wildcard at the
/// end, has no meaning within a path, and cannot be escaped. A path with a `*` is therefore cut off after it,
/// which names everything that begins like the page.
pub(super) fn page(target: String) -> String {
    let target = escaped_path(&target);
    match target.find('*') {
        Some(star) => target[..=star].to_owned(),
        None => target,
    }
}

/// Returns the narrowest wildcard in place of a path that CloudFront refused: everything that begins with the
/// part before the first character that may be the reason. `None` if that would be the same path, or all paths.
pub(super) fn wildcard(item: &Item) -> Option<Item> {
    if item.kind != ItemKind::Url || !item.value.starts_with('/') {
        return None;
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.');
    let end = item.value.bytes().position(|b| !plain(b)).unwrap_or(item.value.len());
    let value = format!("{}*", &item.value[..end]);
    (end > 1 && value != item.value).then(|| Item { value, ..item.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_characters_are_escaped() {
        let check = |target: &str, expected: &str| assert_eq!(escaped_path(target), expected);
        check("/vendors~about.js", "/vendors%7Eabout.js");
        check("/{a}|b\\c^d[e]`f?x=[1]", "/%7Ba%7D%7Cb%5Cc%5Ed%5Be%5D%60f?x=%5B1%5D");
        check("/blog/*", "/blog/*");
        check("/a%7eb-c_d.(1)!?*", "/a%7eb-c_d.(1)!?*");
        check(&escaped_path("/~"), "/%7E");
    }

    #[test]
    fn the_narrowest_wildcard() {
        let of = |kind, value: &str| {
            wildcard(&Item { kind, value: value.into(), hard: true }).map(|item| item.value)
        };
        let check = |value: &str, expected: Option<&str>| {
            assert_eq!(of(ItemKind::Url, value).as_deref(), expected, "{value}");
        };
        check("/vendors%7Eabout.js", Some("/vendors*"));
        check("/vendors%7Eabout.js?*", Some("/vendors*"));
        check("/a/b.js?x=1", Some("/a/b.js*"));
        check("/a/b.js", Some("/a/b.js*"));
        check("/a(b)/*", Some("/a*"));
        check("/vendors*", None);
        check("/%7Ea", None);
        check("/*", None);
        assert_eq!(of(ItemKind::Tag, "a"), None);
        assert_eq!(of(ItemKind::Everything, "*"), None);
    }
}
