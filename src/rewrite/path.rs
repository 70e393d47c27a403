//! The normal form of a path, by which rules match and tags are named.
//!
//! The normal form must never change because it is part of the tags of responses that CDNs already hold.

use std::borrow::Cow;

/// Returns the normal form of a path (query already removed): a valid RFC 3986 path that starts with `/`.
///
/// Unreserved characters are decoded, and other escapes are written in upper case. Bytes that a path cannot carry
/// are escaped. Repeated slashes are merged, and dot segments (`.`, `..`, also escaped) are removed. A `%` that
/// escapes nothing becomes `%25`. A trailing slash and letter case are kept. Normalising is idempotent.
pub fn normalise(path: &str) -> Cow<'_, str> {
    if is_plain(path.as_bytes()) || is_normal(path.as_bytes()) {
        return Cow::Borrowed(path);
    }
    Cow::Owned(without_dots(&escaped(path)))
}

/// Whether the path is obviously normal: no escapes, no empty segment, and no segment that starts with a dot. Most
/// paths are.
fn is_plain(path: &[u8]) -> bool {
    let mut before = 0;
    for &byte in path {
        let plain = PATH_CHARACTERS[usize::from(byte)] || byte == b'/';
        if !plain || before == b'/' && matches!(byte, b'/' | b'.') {
            return false;
        }
        before = byte;
    }
    path.first() == Some(&b'/')
}

/// Whether [`normalise`] would change nothing. This is exact because the common case must not allocate.
fn is_normal(path: &[u8]) -> bool {
    if path.first() != Some(&b'/') {
        return false;
    }
    let mut i = 1;
    // The length of the segment so far, and whether it consists of dots only.
    let (mut length, mut dots) = (0usize, true);
    let is_dot_segment = |length: usize, dots: bool| dots && (length == 1 || length == 2);
    while let Some(&byte) = path.get(i) {
        match byte {
            b'/' => {
                if length == 0 || is_dot_segment(length, dots) {
                    return false;
                }
                (length, dots) = (0, true);
                i += 1;
                continue;
            }
            b'%' => {
                let Some([high, low]) = path.get(i + 1..i + 3) else { return false };
                let upper = |digit: u8| matches!(digit, b'0'..=b'9' | b'A'..=b'F');
                if !upper(*high) || !upper(*low) || unescape(*high, *low).is_some_and(is_unreserved) {
                    return false;
                }
                i += 3;
            }
            _ if is_path_character(byte) => i += 1,
            _ => return false,
        }
        length += 1;
        dots &= byte == b'.';
    }
    !is_dot_segment(length, dots)
}

/// Brings every escape into its normal form.
fn escaped(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut out = String::with_capacity(path.len() + 16);
    let mut i = 0;
    while let Some(&byte) = bytes.get(i) {
        let escape = match bytes.get(i + 1..i + 3) {
            Some(&[high, low]) if byte == b'%' => unescape(high, low),
            _ => None,
        };
        i += if escape.is_some() { 3 } else { 1 };
        match escape {
            Some(decoded) if is_unreserved(decoded) => out.push(char::from(decoded)),
            Some(decoded) => push_escape(&mut out, decoded),
            None if byte == b'/' || is_path_character(byte) => out.push(char::from(byte)),
            None => push_escape(&mut out, byte),
        }
    }
    out
}

/// Merges repeated slashes and removes dot segments (RFC 3986 §5.2.4).
fn without_dots(path: &str) -> String {
    let mut out = String::with_capacity(path.len() + 1);
    let mut open = false;
    for segment in path.split('/') {
        open = match segment {
            "" | "." => true,
            ".." => {
                out.truncate(out.rfind('/').unwrap_or(0));
                true
            }
            _ => {
                out.push('/');
                out.push_str(segment);
                false
            }
        };
    }
    if open {
        out.push('/');
    }
    out
}

pub(super) fn push_escape(out: &mut String, byte: u8) {
    const HEX: [u8; 16] = *b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(HEX[usize::from(byte >> 4)]));
    out.push(char::from(HEX[usize::from(byte & 15)]));
}

pub(super) fn unescape(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// Whether this is an `unreserved` character (RFC 3986 §2.3), which means the same whether escaped or not.
pub(super) fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Whether this is a `pchar` (RFC 3986 §3.3), apart from escapes.
fn is_path_character(byte: u8) -> bool {
    PATH_CHARACTERS[usize::from(byte)]
}

static PATH_CHARACTERS: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        let b = byte as u8;
        table[byte] = b.is_ascii_alphanumeric()
            || matches!(b, b'-' | b'.' | b'_' | b'~')
            || matches!(
                b,
                b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@'
            );
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(path: &str, expected: &str) {
        assert_eq!(normalise(path), expected, "{path:?}");
    }

    #[test]
    fn normal_paths_are_borrowed() {
        for path in
            ["/", "/a", "/a/", "/a/b.html", "/A~-_.b", "/a%20b", "/%C3%A9", "/...", "/..a/.b", "/a,b;c=d:@e*"]
        {
            assert!(matches!(normalise(path), Cow::Borrowed(_)), "{path}");
        }
    }

    #[test]
    fn escapes() {
        check("/%61%2D%7e", "/a-~");
        check("/%2f%3a", "/%2F%3A");
        check("/%c3%a9", "/%C3%A9");
        check("/é", "/%C3%A9");
        check("/a b\t\u{7f}", "/a%20b%09%7F");
        check("/a\"<>\\^`{|}[]#?", "/a%22%3C%3E%5C%5E%60%7B%7C%7D%5B%5D%23%3F");
    }

    #[test]
    fn escapes_of_nothing() {
        check("/100%", "/100%25");
        check("/%2", "/%252");
        check("/%zz", "/%25zz");
        check("/%%41", "/%25A");
        check("/%é", "/%25%C3%A9");
        check("/%252e%252e", "/%252e%252e");
    }

    #[test]
    fn slashes_and_dots() {
        check("//a///b//", "/a/b/");
        check("/a/./b", "/a/b");
        check("/a/../b", "/b");
        check("/a/..", "/");
        check("/a/b/..", "/a/");
        check("/a/.", "/a/");
        check("/../../a", "/a");
        check("/a/%2e%2E/b", "/b");
        check("/a//../b", "/b");
        check("/.", "/");
        check("/./", "/");
    }

    #[test]
    fn what_is_no_path() {
        check("", "/");
        check("*", "/*");
        check("a/b", "/a/b");
        check("..", "/");
    }

    /// Generates paths made of the relevant pieces, and any text.
    fn any_path() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("/".to_owned()),
            Just(".".to_owned()),
            Just("%2e".to_owned()),
            Just("%".to_owned()),
            Just("%25".to_owned()),
            "[a-zA-Z0-9%/.é ?#]{0,4}",
            any::<String>(),
        ];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn normalising_twice_is_normalising_once(path in any_path()) {
            let once = normalise(&path).into_owned();
            prop_assert!(is_normal(once.as_bytes()), "{:?}", once);
            prop_assert_eq!(normalise(&once), &*once);
        }

        #[test]
        fn the_short_way_agrees_with_the_long_one(path in any_path()) {
            let normal = without_dots(&escaped(&path)) == path;
            prop_assert_eq!(is_normal(path.as_bytes()), normal);
            prop_assert!(normal || !is_plain(path.as_bytes()));
        }
    }
}
