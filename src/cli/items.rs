//! Purge items as lines of text, one item a line. Blank lines, `#` comments and a byte order mark are skipped.
//!
//! An item that starts with `http://` or `https://` is a URL, one that starts with `/` is a path, and any other
//! is a tag.

use crate::purge::PurgeRequest;
use std::io::Read;

/// The maximum size that the admin API accepts, in bytes.
const MAX_BYTES: u64 = 8 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The reason why lines cannot be purged.
#[derive(Debug, thiserror::Error)]
pub enum ItemsError {
    /// Reading failed.
    #[error("the items cannot be read")]
    Read(#[from] std::io::Error),
    /// The items are larger than one purge may be.
    #[error("the items are more than 8 MiB: send them in parts")]
    TooLarge,
    /// A line is not an item.
    #[error("line {line}: {message}")]
    Line {
        /// The line number, counted from 1.
        line: usize,
        /// The error in the line.
        message: &'static str,
    },
}

/// Reads items to the end of `input` and adds them to `request`.
pub fn read_items(input: impl Read, request: &mut PurgeRequest) -> Result<(), ItemsError> {
    let mut bytes = Vec::new();
    input.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(ItemsError::TooLarge);
    }
    // Editors and exports on Windows begin a file with this mark (RFC 3629 §6), which is not part of the first
    // item.
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes);
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        add_line(line, request).map_err(|message| ItemsError::Line { line: index + 1, message })?;
    }
    Ok(())
}

/// Quotes as people, spreadsheets and word processors write them.
const QUOTES: [char; 7] = ['"', '\'', '`', '“', '”', '‘', '’'];

fn add_line(line: &[u8], request: &mut PurgeRequest) -> Result<(), &'static str> {
    let line = std::str::from_utf8(line).map_err(|_| "not UTF-8")?.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(());
    }
    if line.chars().any(|char| char.is_control() || char.is_whitespace()) {
        return Err(
            "an item has no spaces or control characters: write one item a line, encoded as in its URL",
        );
    }
    if line.starts_with('\u{feff}') {
        return Err("a byte order mark within the items: files were joined, remove it");
    }
    if line.starts_with(QUOTES) || line.ends_with(QUOTES) {
        // A quoted item would match nothing as a tag, because the quotes of a list in JSON or CSV are not part
        // of its items.
        return Err("an item has no quotes around it: write it as it is, without quotes and commas");
    }
    if line.contains('*') {
        return Err(
            "a `*` is no wildcard: give --prefix for everything below a path; in a name it is written %2A",
        );
    }
    let scheme = line.split_once("://").map(|(scheme, _)| scheme);
    match scheme {
        Some(scheme) if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") => {
            request.urls.push(line.to_owned());
        }
        _ if line.starts_with('/') => request.paths.push(line.to_owned()),
        // As a tag this item would match nothing, and the page would stay.
        Some(_) => return Err("a URL starts with http:// or https://"),
        None => request.tags.push(line.to_owned()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: impl AsRef<[u8]>, urls: &[&str], paths: &[&str], tags: &[&str]) {
        let mut request = PurgeRequest::default();
        read_items(input.as_ref(), &mut request).unwrap();
        assert_eq!((request.urls, request.paths, request.tags), (own(urls), own(paths), own(tags)));
        assert_eq!((request.prefixes, request.everything), (Vec::new(), false));
    }

    fn own(items: &[&str]) -> Vec<String> {
        items.iter().map(|item| (*item).to_owned()).collect()
    }

    #[track_caller]
    fn check_error(input: impl AsRef<[u8]>, expected: &str) {
        let error = read_items(input.as_ref(), &mut PurgeRequest::default()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn each_line_is_one_item() {
        check("", &[], &[], &[]);
        check("\n  \n# comment\n", &[], &[], &[]);
        check("https://a.example/x?y=1#z", &["https://a.example/x?y=1#z"], &[], &[]);
        check("HTTP://a.example/", &["HTTP://a.example/"], &[], &[]);
        check("/blog/first\r\n/blog/\n/", &[], &["/blog/first", "/blog/", "/"], &[]);
        check("/login?next=https://a.example/", &[], &["/login?next=https://a.example/"], &[]);
        check("product-42\n  tag:x  \n#no\nü", &[], &[], &["product-42", "tag:x", "ü"]);
        check("a.example/page", &[], &[], &["a.example/page"]);
        check("/a\nt\nhttp://h/\n/b", &["http://h/"], &["/a", "/b"], &["t"]);
        check("\u{feff}/a\n/b", &[], &["/a", "/b"], &[]);
        check("\u{feff}# comment\r\nt", &[], &[], &["t"]);
        check("it's\nsize-5\"x", &[], &[], &["it's", "size-5\"x"]);
    }

    #[test]
    fn a_wrong_line_is_named() {
        check_error("/a\n\n/b c", "line 3: an item has no spaces");
        check_error("/a\ntwo\ttags", "line 2: an item has no spaces");
        check_error("/a\n\"/b\"", "line 2: an item has no quotes");
        check_error("'product-42',", "line 1: an item has no quotes");
        check_error("“a”", "line 1: an item has no quotes");
        check_error("\n/blog/*", "line 2: a `*` is no wildcard");
        check_error("/a\n\u{feff}/b", "line 2: a byte order mark");
        check_error("ftp://a.example/", "line 1: a URL starts with http:// or https://");
        check_error(b"/a\n\xff", "line 2: not UTF-8");
        check_error("x\n".repeat(5 << 20), "the items are more than 8 MiB");
    }
}
