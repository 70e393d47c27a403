//! The spellings of one page. A cache may hold the page under several of them, and a purge has to reach all.
//!
//! [`normalise`] is the form that tags are made of, so it can never change. It keeps the escapes of characters
//! that RFC 3986 §2.2 reserves, because in theory they differ from the character itself. In practice no origin
//! distinguishes `/foo(1).pdf` from `/foo%281%29.pdf`. Browsers request the page by the first, and PHP's
//! `rawurlencode` and Python's `quote` write the second. [`canonical`] treats both as one page. Only `%2F` is
//! kept, because it is not a slash.

use super::path::{is_unreserved, normalise, push_escape, unescape};
use std::borrow::Cow;

/// The characters that the usual encoders do not escape, in addition to unreserved ones.
mod leaves {
    /// Browsers and JavaScript's `encodeURI`.
    pub(super) const BROWSER: &[u8] = b"!$&'()*+,;=:@";
    /// JavaScript's `encodeURIComponent`, called for each segment.
    pub(super) const COMPONENT: &[u8] = b"!'()*";
    /// PHP's `rawurlencode` and Python's `quote`, which leave only what RFC 3986 §2.3 calls unreserved.
    pub(super) const STRICT: &[u8] = b"";
    /// Text typed into a browser's address bar. The URL standard's path percent-encode set lacks these
    /// (<https://url.spec.whatwg.org/#path-percent-encode-set>; `^` was added to it in 2023).
    pub(super) const TYPED: &[u8] = b"!$&'()*+,;=:@|[]^";
}

/// Returns the form by which purges distinguish pages: the normal form, with the escapes of `! $ & ' ( ) * + , ; =
/// : @` decoded. The result is itself normal, and the function is idempotent.
pub fn canonical(path: &str) -> Cow<'_, str> {
    match normalise(path) {
        Cow::Borrowed(normal) => of_normal(normal),
        Cow::Owned(normal) => Cow::Owned(of_normal(&normal).into_owned()),
    }
}

/// Returns the [`canonical`] form of a path that is already normal.
pub(super) fn of_normal(normal: &str) -> Cow<'_, str> {
    // Most paths are short and have no escapes.
    if !normal.as_bytes().contains(&b'%') {
        return Cow::Borrowed(normal);
    }
    if !escapes(normal).any(|byte| leaves::BROWSER.contains(&byte)) {
        return Cow::Borrowed(normal);
    }
    Cow::Owned(written(normal, leaves::BROWSER))
}

/// Returns the normal forms that one page usually has, beginning with that of `path`. Copies made by older versions
/// carry only the tag of their own normal form, and the usual ones are among these. Most paths have only one form.
pub fn normal_forms(path: &str) -> Vec<String> {
    let normal = normalise(path);
    let canonical = of_normal(&normal);
    let mut forms = vec![normal.clone().into_owned()];
    for leaves in [leaves::BROWSER, leaves::COMPONENT, leaves::STRICT] {
        push_new(&mut forms, written(&canonical, leaves));
    }
    forms
}

/// Returns the names under which a cache may hold the page at `path`, beginning with `path` itself: the forms that
/// browsers and the usual encoders write, with hex digits in either case. A path of letters, digits and `-._~/`
/// has only one.
pub fn spellings(path: &str) -> Vec<String> {
    let canonical = canonical(path);
    let mut spellings = vec![path.to_owned()];
    for leaves in [leaves::BROWSER, leaves::TYPED, leaves::COMPONENT, leaves::STRICT] {
        push_new(&mut spellings, written(&canonical, leaves));
    }
    for index in 0..spellings.len() {
        for hex in [u8::to_ascii_uppercase, u8::to_ascii_lowercase] {
            let recased = with_hex(&spellings[index], hex);
            push_new(&mut spellings, recased);
        }
    }
    spellings
}

/// Returns the path with the hex digits of its escapes in upper case, as RFC 3986 §2.1 recommends.
pub fn with_upper_hex(path: &str) -> String {
    with_hex(path, u8::to_ascii_uppercase)
}

fn push_new(list: &mut Vec<String>, spelling: String) {
    if !list.contains(&spelling) {
        list.push(spelling);
    }
}

/// Writes a normal path so that everything is escaped except unreserved characters, `leaves` and slashes.
fn written(normal: &str, leaves: &[u8]) -> String {
    let mut out = String::with_capacity(normal.len() + 8);
    for piece in pieces(normal) {
        match piece {
            Piece::Escape(byte) if leaves.contains(&byte) => out.push(char::from(byte)),
            Piece::Escape(byte) => push_escape(&mut out, byte),
            Piece::Byte(byte) if byte == b'/' || is_unreserved(byte) || leaves.contains(&byte) => {
                out.push(char::from(byte));
            }
            Piece::Byte(byte) => push_escape(&mut out, byte),
        }
    }
    out
}

fn with_hex(path: &str, case: fn(&u8) -> u8) -> String {
    let mut out = String::with_capacity(path.len());
    let mut digits = 0;
    let bytes = path.as_bytes();
    for (at, character) in path.char_indices() {
        let escape = bytes.get(at + 1..at + 3);
        if character == '%' && escape.is_some_and(|escape| escape.iter().all(u8::is_ascii_hexdigit)) {
            digits = 3;
        }
        match u8::try_from(character) {
            Ok(byte) if digits > 0 && byte.is_ascii() => out.push(char::from(case(&byte))),
            _ => out.push(character),
        }
        digits = digits.max(1) - 1;
    }
    out
}

/// A part of a path: a literal byte, or an escaped one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A literal byte.
    Byte(u8),
    /// A byte written as `%` and two hex digits.
    Escape(u8),
}

/// Iterates over the parts of a path in order.
pub fn pieces(path: &str) -> impl Iterator<Item = Piece> {
    let bytes = path.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        let byte = *bytes.get(at)?;
        let escape = match bytes.get(at + 1..at + 3) {
            Some(&[high, low]) if byte == b'%' => unescape(high, low),
            _ => None,
        };
        at += if escape.is_some() { 3 } else { 1 };
        Some(escape.map_or(Piece::Byte(byte), Piece::Escape))
    })
}

fn escapes(path: &str) -> impl Iterator<Item = u8> {
    pieces(path).filter_map(|piece| match piece {
        Piece::Escape(byte) => Some(byte),
        Piece::Byte(_) => None,
    })
}

#[cfg(test)]
pub(crate) mod testing {
    use super::super::path::push_escape;
    use proptest::prelude::*;

    /// Generates a page and two ways to spell it. Hex digits are in either case, optional escapes are used or not,
    /// non-ASCII characters may be literal, and redundant slashes and dot segments are added.
    pub(crate) fn respelt() -> impl Strategy<Value = (String, String)> {
        let character = prop_oneof!["[a-z0-9._~-]", "[!$&'()*+,;=:@]", "[ |^\"é€<>%]"];
        let segment = prop::collection::vec(character, 1..6).prop_map(|parts| parts.concat());
        let segment = segment.prop_filter("no dot segment", |segment| segment.bytes().any(|b| b != b'.'));
        let path = (prop::collection::vec(segment, 0..4), any::<bool>());
        path.prop_flat_map(|(segments, open)| {
            let spelt = || {
                let choices = prop::collection::vec(any::<u8>(), 64);
                let (segments, open) = (segments.clone(), open);
                choices.prop_map(move |choices| spell(&segments, open, &choices))
            };
            (spelt(), spelt())
        })
    }

    fn spell(segments: &[String], open: bool, choices: &[u8]) -> String {
        let mut choices = choices.iter().copied().cycle();
        let mut choose = |most: u8| choices.next().unwrap_or_default() % most;
        let mut out = String::new();
        for segment in segments {
            out.push_str(["/", "/", "/", "//", "/./", "/x/../"][usize::from(choose(6))]);
            for character in segment.chars() {
                // Percent signs and spaces are always escaped.
                let must = matches!(character, '%' | ' ');
                let mut bytes = [0; 4];
                for byte in character.encode_utf8(&mut bytes).bytes() {
                    match choose(3) {
                        0 if !must && byte.is_ascii() => out.push(char::from(byte)),
                        1 => {
                            let mut escape = String::new();
                            push_escape(&mut escape, byte);
                            out.push_str(&escape.to_ascii_lowercase());
                        }
                        _ => push_escape(&mut out, byte),
                    }
                }
                if !must && !character.is_ascii() && choose(3) == 0 {
                    let escaped = 3 * character.len_utf8();
                    out.truncate(out.len() - escaped);
                    out.push(character);
                }
            }
        }
        if open || segments.is_empty() {
            out.push('/');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::{path_key, testing};
    use super::super::tags::{path_tag, path_tags};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn canonical_forms() {
        let check = |path: &str, expected: &str| assert_eq!(canonical(path), expected, "{path}");
        check("/foo%20%281%29.pdf", "/foo%20(1).pdf");
        check("/foo (1).pdf", "/foo%20(1).pdf");
        check("/%21%24%26%27%28%29%2a%2B%2c%3B%3d%3A%40", "/!$&'()*+,;=:@");
        check("/a%2fb%2Fc", "/a%2Fb%2Fc");
        check("/caf%c3%a9", "/caf%C3%A9");
        check("/%7Ba%7d%3F%23%25", "/%7Ba%7D%3F%23%25");
        check("//a/./b/../%3A", "/a/:");
        for path in ["/", "/a/b.html", "/foo(1)", "/%20"] {
            assert!(matches!(canonical(path), Cow::Borrowed(_)), "{path}");
        }
    }

    #[test]
    fn plain_paths_have_one_spelling() {
        for path in ["/", "/blog/first", "/A~b_c-d.html/", "/..a"] {
            assert_eq!((normal_forms(path), spellings(path)), (vec![path.into()], vec![path.into()]));
        }
    }

    #[test]
    fn what_encoders_write() {
        let check = |path: &str, normal: &[&str], all: &[&str]| {
            assert_eq!(normal_forms(path), normal, "{path}");
            assert_eq!(spellings(path), all, "{path}");
        };
        check("/caf%C3%A9/", &["/caf%C3%A9/"], &["/caf%C3%A9/", "/caf%c3%a9/"]);
        let foo = ["/foo%20(1).pdf", "/foo%20%281%29.pdf"];
        check(foo[0], &foo, &foo);
        check(foo[1], &[foo[1], foo[0]], &[foo[1], foo[0]]);
        // No usual encoder writes this spelling.
        check("/a%28b)", &["/a%28b)", "/a(b)", "/a%28b%29"], &["/a%28b)", "/a(b)", "/a%28b%29"]);
        check(
            "/a:(b)",
            &["/a:(b)", "/a%3A(b)", "/a%3A%28b%29"],
            &["/a:(b)", "/a%3A(b)", "/a%3A%28b%29", "/a%3a(b)", "/a%3a%28b%29"],
        );
        check("/a%7Cb", &["/a%7Cb"], &["/a%7Cb", "/a|b", "/a%7cb"]);
        check("//a", &["/a"], &["//a", "/a"]);
        assert_eq!(with_upper_hex("/%c3%a9f%zz%2"), "/%C3%A9f%zz%2");
        assert_eq!(with_upper_hex("/é%aé%ab"), "/é%aé%AB");
    }

    proptest! {
        #[test]
        fn a_canonical_path_is_normal_and_stays(path in "[/a.%~:;(|éa2-9A-F]{0,20}") {
            let once = canonical(&path).into_owned();
            prop_assert_eq!(normalise(&once), &*once);
            prop_assert_eq!(canonical(&once), &*once);
            let normal = normalise(&path).into_owned();
            prop_assert_eq!(canonical(&normal), once);
        }

        #[test]
        fn respelling_is_of_one_page((one, other) in testing_of_pages()) {
            prop_assert_eq!(canonical(&one), canonical(&other));
        }

        #[test]
        fn every_spelling_is_of_its_page((path, _) in testing_of_pages()) {
            for spelling in spellings(&path).iter().chain(&normal_forms(&path)) {
                prop_assert_eq!(canonical(spelling), canonical(&path));
            }
        }

        /// The keys and tags of a response match those of a purge of another spelling of its page.
        #[test]
        fn a_purge_reaches_every_spelling((response, purge) in testing_of_pages()) {
            prop_assert!(testing::of_path(&normalise(&response)).any(|key| key == path_key(&purge)));
            // The response carries the tag of the canonical form, and the purge names it.
            let named = path_tags("www", &purge);
            prop_assert!(named.contains(&path_tag("www", &canonical(&response))));
        }

        /// Copies from older versions carry only the tag of their own normal form.
        #[test]
        fn a_purge_reaches_old_copies_in_each_usual_spelling((path, purge) in testing_of_pages()) {
            let named = path_tags("www", &purge);
            for held in spellings(&canonical(&path)) {
                prop_assert!(named.contains(&path_tag("www", &held)), "{}", held);
            }
        }
    }

    fn testing_of_pages() -> impl Strategy<Value = (String, String)> {
        super::testing::respelt()
    }
}
