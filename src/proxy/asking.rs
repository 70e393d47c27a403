//! The response headers by which an origin asks for purges, and how they are read.

use crate::config::{HeaderItems, ItemSeparator, PurgeHeader, PurgeHeaders};
use crate::http::head::Headers;
use crate::rewrite::nameable;
use crate::view::{AskedItems, PurgeQueue};
use http::Method;
use sfv::{BareItem, ListEntry, Parser};
use std::sync::Arc;

/// The headers that ask for purges at a site, and the way to the store.
#[derive(Debug)]
pub struct Asking {
    /// The headers.
    pub(super) headers: PurgeHeaders,
    /// The queue of what they ask for.
    pub(super) queue: Arc<PurgeQueue>,
}

/// Whether a request with this method may change something at the origin. A method that is not known may (RFC 9111
/// §4.4).
pub(super) fn may_change(method: &Method) -> bool {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE) {
        return false;
    }
    // These are registered as safe.
    !matches!(method.as_str(), "PROPFIND" | "QUERY" | "REPORT" | "SEARCH")
}

/// A part of a header is no tag or path that a purge can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

/// Adds what a header lists to `items`. What cannot be read keeps nothing else from being purged.
pub(super) fn read(
    header: &PurgeHeader,
    headers: &Headers,
    items: &mut AskedItems,
) -> Result<(), Unreadable> {
    let mut result = Ok(());
    for line in headers.get_all(header.name.as_str()) {
        let read = match (header.separator, line.to_str()) {
            (ItemSeparator::List, _) => read_list(header.items, line.as_bytes(), items),
            (ItemSeparator::Byte(byte), Some(text)) => read_text(header.items, byte, text, items),
            (ItemSeparator::Byte(_), None) => Err(Unreadable),
        };
        result = result.and(read);
    }
    result
}

/// Adds the strings of a structured list (RFC 9651 §3.1). Their parameters mean nothing.
fn read_list(kind: HeaderItems, line: &[u8], items: &mut AskedItems) -> Result<(), Unreadable> {
    let list = Parser::new(line).parse::<sfv::List>().map_err(|_| Unreadable)?;
    let mut result = Ok(());
    for member in &list {
        let read = match member {
            ListEntry::Item(item) => match &item.bare_item {
                BareItem::String(text) => add(kind, text.as_str(), items),
                _ => Err(Unreadable),
            },
            ListEntry::InnerList(_) => Err(Unreadable),
        };
        result = result.and(read);
    }
    result
}

/// Adds the parts of a text. In lists of tags, spaces and commas always separate, as in responses.
fn read_text(kind: HeaderItems, separator: u8, text: &str, items: &mut AskedItems) -> Result<(), Unreadable> {
    let separates =
        |c: char| c == char::from(separator) || kind == HeaderItems::Tags && matches!(c, ' ' | '\t' | ',');
    let mut result = Ok(());
    for part in text.split(separates).map(str::trim).filter(|part| !part.is_empty()) {
        result = result.and(add(kind, part, items));
    }
    result
}

fn add(kind: HeaderItems, item: &str, items: &mut AskedItems) -> Result<(), Unreadable> {
    match kind {
        HeaderItems::Tags => nameable::tag(item).map(|()| items.add_tag(item)),
        HeaderItems::Paths => nameable::path(item).map(|()| items.add_path(item)),
    }
    .map_err(|_| Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    fn header(items: HeaderItems, separator: ItemSeparator) -> PurgeHeader {
        PurgeHeader { name: HeaderName::from_static("x-purge"), items, separator }
    }

    fn read_lines(header: &PurgeHeader, lines: &[&str]) -> (Vec<String>, Vec<String>, bool) {
        let line = |text: &&str| (header.name.clone(), HeaderValue::from_str(text).unwrap());
        let headers: Headers = lines.iter().map(line).collect();
        let mut items = AskedItems::default();
        let is_read = read(header, &headers, &mut items).is_ok();
        (items.tags.into_iter().collect(), items.paths.into_iter().collect(), is_read)
    }

    #[test]
    fn groups_are_a_structured_list_of_strings() {
        let check = |lines: &[&str], expected: &[&str], is_read: bool| {
            let (tags, paths, was_read) = read_lines(&PurgeHeader::standard(), lines);
            assert_eq!(
                (tags, was_read),
                (expected.iter().map(|tag| (*tag).to_owned()).collect(), is_read),
                "{lines:?}"
            );
            assert!(paths.is_empty());
        };
        check(&[r#""news", "author-42""#], &["author-42", "news"], true);
        check(&[r#""news";a=1"#, r#""author-42""#], &["author-42", "news"], true);
        check(&[r#""a\"b""#], &["a\"b"], true);
        check(&[""], &[], true);
        // What is wrong keeps nothing else from being purged.
        check(&["news", r#""a""#], &["a"], false);
        check(&[r#""a b", "c", ("d"), 1"#], &["c"], false);
        check(&[r#""a", "#, r#""b""#], &["b"], false);
    }

    #[test]
    fn other_headers_have_separators() {
        let tags = header(HeaderItems::Tags, ItemSeparator::Byte(b'|'));
        assert_eq!(read_lines(&tags, &["a|b c,d", "e"]).0, ["a", "b", "c", "d", "e"]);
        assert_eq!(read_lines(&tags, &["a|*"]), (vec!["a".to_owned()], vec![], false));
        let paths = header(HeaderItems::Paths, ItemSeparator::Byte(b','));
        assert_eq!(read_lines(&paths, &["/a, /b c ,,"]).1, ["/a", "/b c"]);
        assert_eq!(read_lines(&paths, &["/a?b, c, /d"]), (vec![], vec!["/d".to_owned()], false));
    }

    #[test]
    fn only_methods_that_may_change_something_count() {
        for method in ["POST", "PUT", "PATCH", "DELETE", "MKCOL", "PURGE", "propfind"] {
            assert!(may_change(&method.parse().unwrap()), "{method}");
        }
        for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "REPORT", "SEARCH", "QUERY"] {
            assert!(!may_change(&method.parse().unwrap()), "{method}");
        }
    }

    proptest! {
        #[test]
        fn every_group_is_read_from_its_own_form(groups in prop::collection::btree_set("[!-)+-~&&[^,]]{1,8}", 0..6)) {
            let quoted = |group: &String| format!("\"{}\"", group.replace('\\', "\\\\").replace('"', "\\\""));
            let line = groups.iter().map(quoted).collect::<Vec<_>>().join(", ");
            let (tags, _, is_read) = read_lines(&PurgeHeader::standard(), &[&line]);
            prop_assert!(is_read);
            prop_assert_eq!(tags, groups.into_iter().collect::<Vec<_>>());
        }
    }
}
