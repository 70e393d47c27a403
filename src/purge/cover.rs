//! The items that other items of a call make redundant. An item is covered only by one that is at least as broad and
//! as hard.

use crate::cdn::{Item, ItemKind};
use std::collections::HashMap;

/// An index of what the items of a call cover.
#[derive(Debug, Default)]
pub struct Cover<'a> {
    /// The items with their positions in the call, by value, regardless of kind.
    by_value: HashMap<&'a str, Vec<(usize, &'a Item)>>,
    /// The prefixes, with their positions in the call. Each is the beginning of the names below it: host and path, or
    /// for CloudFront a path.
    prefixes: HashMap<&'a str, Vec<(usize, &'a Item)>>,
    longest: usize,
}

impl<'a> Cover<'a> {
    /// Indexes what `items` cover.
    pub fn of(items: impl IntoIterator<Item = &'a Item>) -> Self {
        let mut cover = Self::default();
        for (position, item) in items.into_iter().enumerate() {
            cover.by_value.entry(&item.value).or_default().push((position, item));
            if let Some(prefix) = prefix(item) {
                cover.prefixes.entry(prefix).or_default().push((position, item));
                cover.longest = cover.longest.max(prefix.len());
            }
        }
        cover
    }

    /// Whether any item covers everything below a prefix.
    pub fn has_prefixes(&self) -> bool {
        !self.prefixes.is_empty()
    }

    /// Returns the position of an item that covers this one. For an item of the call, that may be its own.
    pub fn by(&self, item: &Item) -> Option<usize> {
        let same = self.by_value.get(item.value.as_str()).into_iter().flatten();
        let mut same = same.filter(|(_, other)| other.kind == item.kind && (other.hard || !item.hard));
        same.next().map(|(position, _)| *position).or_else(|| self.broader(item))
    }

    /// Returns the position of the broadest prefix that covers this item and is not equal to it.
    pub fn broader(&self, item: &Item) -> Option<usize> {
        let place = match item.kind {
            ItemKind::Url => item.value.split_once("://").map_or(item.value.as_str(), |(_, place)| place),
            ItemKind::Prefix => item.value.as_str(),
            ItemKind::Tag | ItemKind::Everything => return None,
        };
        let ends = (1..=place.len().min(self.longest)).filter(|end| place.is_char_boundary(*end));
        let mut above = ends.filter_map(|end| self.prefixes.get(&place[..end])).flatten();
        let covers = |(_, other): &&(usize, &Item)| (other.hard || !item.hard) && other.value != item.value;
        above.find(covers).map(|(position, _)| *position)
    }
}

/// Returns the beginning that all names below an item share. Depending on the CDN, a prefix without a slash at its end
/// (`/blog`) may stand for a whole segment or for the first characters of one (`/blog-2`), so it covers nothing but
/// itself.
fn prefix(item: &Item) -> Option<&str> {
    match item.kind {
        ItemKind::Prefix => Some(item.value.as_str()).filter(|value| value.ends_with('/')),
        // An item that begins with a slash is a path of CloudFront, and a `*` at its end is a wildcard. The URLs for
        // other CDNs begin with a scheme.
        ItemKind::Url if item.value.starts_with('/') => item.value.strip_suffix('*'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ItemKind::{Prefix, Tag, Url};

    fn item(kind: ItemKind, value: &str, hard: bool) -> Item {
        Item { kind, value: value.into(), hard }
    }

    #[test]
    fn by_one_as_broad_and_as_hard() {
        let items = [
            item(Tag, "hard", true),
            item(Tag, "soft", false),
            item(Prefix, "www.example.com/blog/", true),
            item(Prefix, "www.example.com/soft/", false),
            item(Prefix, "www.example.com/half", true),
            item(Url, "/wild/*", true),
            item(Url, "https://www.example.com/star*", true),
        ];
        let cover = Cover::of(&items);
        let check = |kind, value, hard, expected| {
            assert_eq!(cover.by(&item(kind, value, hard)), expected, "{kind:?} {value} {hard}");
        };
        check(Tag, "hard", true, Some(0));
        check(Tag, "hard", false, Some(0));
        check(Tag, "soft", false, Some(1));
        check(Tag, "soft", true, None);
        check(Tag, "other", false, None);
        check(Url, "hard", true, None);
        check(Prefix, "www.example.com/blog/", true, Some(2));
        check(Prefix, "www.example.com/blog/2026/", true, Some(2));
        check(Prefix, "www.example.com/", true, None);
        check(Url, "https://www.example.com/blog/a?x=1", true, Some(2));
        check(Url, "https://www.example.com/blog/", false, Some(2));
        check(Url, "https://www.example.com/blog", true, None);
        check(Url, "https://blog.example.com/blog/a", true, None);
        check(Tag, "www.example.com/blog/a", true, None);
        check(Url, "https://www.example.com/soft/a", true, None);
        check(Url, "https://www.example.com/soft/a", false, Some(3));
        check(Url, "https://www.example.com/half/a", true, None);
        check(Url, "/wild/a?*", true, Some(5));
        check(Url, "/wild", true, None);
        // The star is not a wildcard in this URL.
        check(Url, "https://www.example.com/star/a", true, None);
    }

    #[test]
    fn what_covers_the_names_below_it() {
        let check = |kind, value, expected| {
            assert_eq!(Cover::of([&item(kind, value, true)]).has_prefixes(), expected, "{kind:?} {value}");
        };
        check(Prefix, "www.example.com/blog/", true);
        check(Prefix, "www.example.com/blog", false);
        check(Url, "/blog/*", true);
        check(Url, "/blog/", false);
        check(Url, "https://www.example.com/blog/*", false);
        check(Tag, "blog/", false);
        assert!(!Cover::of([]).has_prefixes());
    }
}
