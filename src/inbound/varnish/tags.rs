//! Headers that name tags. Some of them list tags, some have a pattern of the response's own list of tags, and some
//! may have either.

use super::asked::{Asked, Unread, everything};
use super::headers::{soft, text};
use super::literal::{Quoting, alternatives};

use crate::inbound::refused::Refused;
use crate::purge::PurgeMode;
use crate::rewrite::nameable;
use http::{HeaderMap, HeaderName};
use std::collections::HashSet;

/// What a header has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Has {
    /// A list of tags.
    List(Option<PurgeMode>),
    /// A list of tags, or a pattern.
    Either(Quoting),
}

/// The headers, and who sends them.
const HEADERS: [(&str, Has); 16] = [
    // Ibexa and FOSHttpCache with `tag_mode: purgekeys`.
    ("xkey-purge", Has::List(Some(PurgeMode::Hard))),
    ("xkey-softpurge", Has::List(Some(PurgeMode::Soft))),
    // Shopware, API Platform and others with the module xkey.
    ("xkey", Has::List(None)),
    ("x-xkey", Has::List(None)),
    ("x-xkey-purge", Has::List(None)),
    ("ykey-purge", Has::List(None)),
    // Souin's clients.
    ("surrogate-key", Has::List(None)),
    // FOSHttpCache.
    ("x-cache-tags", Has::Either(Quoting::Backslashes)),
    ("apiplatform-ban-regex", Has::Either(Quoting::Backslashes)),
    ("x-magento-tags-pattern", Has::Either(Quoting::None)),
    ("x-magento-tags", Has::Either(Quoting::None)),
    // Drupal.
    ("cache-tags", Has::Either(Quoting::None)),
    ("purge-cache-tags", Has::Either(Quoting::None)),
    ("x-drupal-cache-tags", Has::Either(Quoting::None)),
    ("cache-tag", Has::Either(Quoting::None)),
    ("edge-cache-tag", Has::Either(Quoting::None)),
];

/// What separates tags in responses, whatever the header.
const SEPARATORS: [char; 3] = [' ', '\t', ','];

/// Reads the headers that name tags; `None` if there is none of them. Of several headers, each is purged: it depends
/// on the rules in Varnish which of them count. With `are_lists`, none of them has a pattern.
pub(super) fn read(
    headers: &HeaderMap,
    further: &[HeaderName],
    are_lists: bool,
) -> Result<Option<Asked>, Unread> {
    let known = HEADERS.iter().map(|(name, has)| (*name, *has));
    let is_known = |name: &str| HEADERS.iter().any(|(known, _)| *known == name);
    let further = further.iter().map(HeaderName::as_str).filter(|name| !is_known(name));
    let mut found: Option<Asked> = None;
    let mut modes = Vec::new();
    for (name, has) in known.chain(further.map(|name| (name, Has::Either(Quoting::None)))) {
        for value in headers.get_all(name) {
            let value = text(value)?;
            let (read, mode) = match has {
                Has::List(mode) => (names(value, &SEPARATORS, value)?, mode),
                Has::Either(_) if are_lists => (names(value, &SEPARATORS, value)?, None),
                Has::Either(quoting) => (either(value, quoting)?, None),
            };
            let asked = found.get_or_insert_default();
            asked.everything |= read.everything;
            asked.tags.extend(read.tags);
            modes.push(mode);
        }
    }
    let Some(mut asked) = found else { return Ok(None) };
    if asked.everything {
        asked = everything();
    } else if asked.tags.is_empty() {
        return Err(Refused::bad("no tag is named").into());
    }
    let mut seen = HashSet::new();
    asked.tags.retain(|tag| seen.insert(tag.clone()));
    // Of several modes, the hardest.
    asked.mode = soft(headers).or_else(|| match &*modes {
        [first, others @ ..] if others.iter().all(|mode| mode == first) => *first,
        _ => Some(PurgeMode::Hard),
    });
    Ok(Some(asked))
}

/// Reads a pattern, or a list of tags.
fn either(value: &str, quoting: Quoting) -> Result<Asked, Unread> {
    if matches!(value, ".*" | "^.*$" | "^.*" | ".*$" | ".+") {
        return Ok(everything());
    }
    if let Some(found) = pattern(value, quoting) {
        let mut asked = Asked::default();
        for name in found {
            asked.tags.extend(names(&name, &SEPARATORS, value)?.tags);
        }
        return Ok(asked);
    }
    let special = ['\\', '^', '$', '?', '*', '+', '(', ')', '[', ']', '{', '}'];
    if value.contains(special) {
        return Err(unknown(value));
    }
    names(value, &[' ', '\t', ',', '|'], value)
}

/// Returns the names in a pattern of the closed list; `None` if it is none of them:
///
/// | pattern | of |
/// |---|---|
/// | `(^\|,)(a\|b)(,\|$)` | FOSHttpCache; the separator may be a space |
/// | `((^\|,)a(,\|$))\|((^\|,)b(,\|$))` | Magento, with one or more members |
/// | `(a\|b)($\|\,)`, `(^\|\,)a($\|\,)` | API Platform |
/// | `\b(a\|b)\b`, ` a( \|$)` | rules that are written by hand |
///
/// API Platform leaves out what anchors a name at its start because it costs time, and `\b` stands where names begin
/// and end: these patterns mean the tags as a whole, too, and that Varnish also purges names with such an end or part
/// is an accident.
fn pattern(value: &str, quoting: Quoting) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = value;
    loop {
        let (mut found, after) = bounded(rest, quoting).or_else(|| {
            // Magento puts each member into brackets.
            let (found, after) = bounded(rest.strip_prefix('(')?, quoting)?;
            Some((found, after.strip_prefix(')')?))
        })?;
        names.append(&mut found);
        match after.strip_prefix('|') {
            Some(next) => rest = next,
            None => return after.is_empty().then_some(names),
        }
    }
}

/// The beginnings of a name in a list, with the ends that go with them. A space at the start of a header is lost.
const BOUNDS: [(&[&str], &[&str]); 2] = [
    (
        &["(^|,)", r"(^|\,)", "(?:^|,)", "(^| )", r"(^|\s)", "(^|[ ,])", " ", ""],
        &["(,|$)", r"(\,|$)", r"($|\,)", "($|,)", "(?:,|$)", "( |$)", "($| )", r"(\s|$)", "([ ,]|$)"],
    ),
    (&[r"\b"], &[r"\b"]),
];

/// Reads one name, or a group of names, with what bounds it in a list.
fn bounded(pattern: &str, quoting: Quoting) -> Option<(Vec<String>, &str)> {
    BOUNDS.iter().find_map(|(starts, ends)| {
        let rest = starts.iter().find_map(|start| pattern.strip_prefix(start))?;
        let (names, rest) = group(rest, quoting)?;
        let rest = ends.iter().find_map(|end| rest.strip_prefix(end))?;
        Some((names, rest))
    })
}

/// Reads a name, or a group of names.
fn group(pattern: &str, quoting: Quoting) -> Option<(Vec<String>, &str)> {
    match pattern.strip_prefix("(?:").or_else(|| pattern.strip_prefix('(')) {
        Some(group) => {
            let (names, rest) = alternatives(group, quoting)?;
            Some((names, rest.strip_prefix(')')?))
        }
        // Without a group, `|` would separate more than the names.
        None => alternatives(pattern, quoting).filter(|(names, _)| names.len() == 1),
    }
}

/// Returns the tags in a list.
fn names(list: &str, separators: &[char], value: &str) -> Result<Asked, Unread> {
    let mut asked = Asked::default();
    for name in list.split(separators).filter(|name| !name.is_empty()) {
        if nameable::tag(name).is_err() {
            return Err(unknown(value));
        }
        asked.tags.push(name.to_owned());
    }
    if asked.tags.is_empty() { Err(Refused::bad("no tag is named").into()) } else { Ok(asked) }
}

fn unknown(value: &str) -> Unread {
    Unread::Pattern(value.to_owned(), "write `(^|,)(a|b)(,|$)`, or the tags in a list")
}
