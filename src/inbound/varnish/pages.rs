//! Patterns of URLs. Whoever writes `^/blog` means `/blogger`, too, so only what ends with a slash is a prefix; and a
//! pattern without `^` matches in the middle of a URL, which no purge can name.

use super::asked::{Asked, Unread, everything};
use super::host::host_of;
use super::literal::{Quoting, alternatives, leading};

use std::fmt::Write;

/// Where a pattern matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    /// From the start of the URL. This is the meaning of patterns in the target of a request, which clients make of
    /// a page's URL and `.*`, without quoting.
    Start,
    /// Anywhere in the URL.
    Anywhere,
}

/// The ends of patterns that match a page with any query.
const ANY_QUERY: [&str; 5] = [r"(\?.*)?$", r"(\?|$)", r"($|\?)", r"(\?.*|$)", r"(?:\?.*)?$"];

/// Reads a pattern of URLs.
pub(super) fn read(pattern: &str, anchor: Anchor) -> Result<Asked, Unread> {
    if is_anything(pattern) {
        return Ok(everything());
    }
    let unknown = |instead| Unread::Pattern(pattern.to_owned(), instead);
    let (rest, quoting) = match (pattern.strip_prefix('^'), anchor) {
        (Some(rest), _) => (rest, Quoting::Backslashes),
        (None, Anchor::Start) => (pattern, Quoting::None),
        (None, Anchor::Anywhere) => {
            return Err(unknown("without `^` it matches in the middle of URLs, too; begin it with `^/`"));
        }
    };
    let odd = || unknown("write `^/blog/` for everything below a path, or `^/blog/first$` for a page");
    let (urls, end) = urls(rest, quoting).ok_or_else(odd)?;
    let mut asked = Asked::default();
    for url in urls {
        if !url.starts_with('/') {
            return Err(odd());
        }
        let (path, query) = url.split_once('?').map_or((&*url, None), |(path, query)| (path, Some(query)));
        let path = named(path).ok_or_else(odd)?;
        let is_open = matches!(end, "" | ".*" | ".*$");
        match query {
            // With every query of a page, all those that begin with this one are purged.
            Some(_) if is_open || end == "$" => asked.pages.push(path),
            None if end == "$" || ANY_QUERY.contains(&end) => asked.pages.push(path),
            None if is_open && path.ends_with('/') => asked.prefixes.push(path),
            None if is_open => {
                return Err(unknown(
                    "it matches names that only begin so, too; end it with `/`, or with `$`",
                ));
            }
            _ => return Err(odd()),
        }
    }
    if asked.prefixes.iter().any(|prefix| prefix == "/") { Ok(everything()) } else { Ok(asked) }
}

/// Reads a pattern of hosts. No host is named if all match.
pub(super) fn hosts(pattern: &str) -> Result<Vec<String>, Unread> {
    if is_anything(pattern) {
        return Ok(Vec::new());
    }
    let unknown = || Unread::Pattern(pattern.to_owned(), "write `^(www\\.example\\.com)$` for a host");
    let bare = pattern.strip_prefix('^').unwrap_or(pattern);
    let bare = bare.strip_suffix('$').unwrap_or(bare);
    let group = bare.strip_prefix("(?:").or_else(|| bare.strip_prefix('('));
    let (bare, end) = group.map_or((bare, ""), |bare| (bare, ")"));
    let (names, rest) = alternatives(bare, Quoting::None).ok_or_else(unknown)?;
    if rest != end {
        return Err(unknown());
    }
    Ok(names.iter().map(|name| host_of(name)).collect())
}

/// Whether a pattern matches every URL, each of which has a slash.
pub(super) fn is_anything(pattern: &str) -> bool {
    let inner = pattern.strip_prefix('^').unwrap_or(pattern);
    matches!(inner, "" | "/" | "." | ".*" | ".+" | "/.*" | "(.*)" | ".*$" | ".+$" | "/.*$" | "(.*)$")
}

/// Returns the names that a pattern begins with, and the rest: a name, or names that differ in one group.
fn urls(pattern: &str, quoting: Quoting) -> Option<(Vec<String>, &str)> {
    let (start, rest) = leading(pattern, quoting)?;
    let is_end = rest.is_empty() || ANY_QUERY.contains(&rest);
    let Some(group) = rest.strip_prefix('(').filter(|_| !is_end) else {
        // What may be missing or repeated is the last character before it.
        return (!rest.starts_with(['?', '*', '+', '{', '|'])).then(|| (vec![start], rest));
    };
    let group = group.strip_prefix("?:").unwrap_or(group);
    let (names, rest) = alternatives(group, quoting)?;
    let rest = rest.strip_prefix(')')?;
    (!rest.starts_with(['?', '*', '+', '{', '|']))
        .then(|| (names.iter().map(|name| format!("{start}{name}")).collect(), rest))
}

/// Returns a path that matched by its characters, as a purge names it. `None` if no request has it.
fn named(path: &str) -> Option<String> {
    let mut named = String::with_capacity(path.len());
    for character in path.chars() {
        match character {
            _ if character.is_control() => return None,
            ' ' | '*' | '#' | '\\' => {
                // Writing into a `String` cannot fail.
                let _ = write!(named, "%{:02X}", u32::from(character));
            }
            _ => named.push(character),
        }
    }
    Some(named)
}
