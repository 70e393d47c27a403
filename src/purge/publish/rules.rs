//! The rules in `[[sites.events]]`: the pages, in addition to an event's own paths, that show what was published.

use super::event::Event;
use super::generic::forms;
use super::items::Items;
use crate::config::{EventRule, Site};
use crate::rewrite::Profile;

/// Adds the items of every matching rule. `paths` are the event's paths, normalised.
pub(super) fn apply(site: &Site, event: &Event, paths: &[String], items: &mut Items) {
    // AEM serves a page under one path, and `aem.rs` handles its other forms.
    let endings: &[String] =
        if site.policy.profile == Profile::Generic { &site.events.page_forms } else { &[] };
    let mut pages = Vec::new();
    for rule in site.events.rules.iter().filter(|rule| rule.on.contains(&event.event)) {
        let matching: Vec<&String> = paths.iter().filter(|path| matches(rule, path, endings)).collect();
        if rule.path.is_some() && matching.is_empty() {
            continue;
        }
        if rule.everything {
            items.everything();
        }
        for path in matching {
            pages.extend(parents(path, rule.parents).map(str::to_owned));
        }
        pages.extend(rule.paths.iter().cloned());
        rule.tags.iter().for_each(|tag| items.tag(tag));
        rule.prefixes.iter().for_each(|prefix| items.prefix(prefix));
    }
    match &site.policy.aem {
        Some(project) => super::aem::pages(site, project, &pages, items),
        None => super::generic::cover(site, &pages, items),
    }
}

/// Whether a rule matches a path, in any of the path's forms.
fn matches(rule: &EventRule, path: &str, endings: &[String]) -> bool {
    match &rule.path {
        Some(pattern) => forms(path, endings).any(|form| pattern.matches(&form)),
        None => true,
    }
}

/// Returns the folders above the page at `path`, nearest first.
fn parents(path: &str, levels: u8) -> impl Iterator<Item = &str> {
    let page = path.strip_suffix("/index.html").or(path.strip_suffix('/')).unwrap_or(path);
    page.rmatch_indices('/').take(usize::from(levels)).map(|(slash, _)| &page[..=slash])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_above() {
        let check = |path: &str, levels, expected: &[&str]| {
            assert_eq!(parents(path, levels).collect::<Vec<_>>(), expected, "{path}");
        };
        check("/blog/2024/first", 1, &["/blog/2024/"]);
        check("/blog/2024/first", 2, &["/blog/2024/", "/blog/"]);
        check("/blog/2024/first/", 9, &["/blog/2024/", "/blog/", "/"]);
        check("/blog/index.html", 1, &["/"]);
        check("/blog/first.html", 1, &["/blog/"]);
        check("/a", 0, &[]);
        check("/", 3, &[]);
    }
}
