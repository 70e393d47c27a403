//! A publish event: a report of what happened at the origin, turned into a purge. Pure.
//!
//! The site's profile defines what an event means (`generic.rs`, `aem.rs`). Its rules (`rules.rs`, `[[sites.events]]`)
//! name the other pages that show what was published. The result is an ordinary [`PurgeRequest`].

mod aem;
mod event;
mod generic;
mod items;
mod rules;

#[cfg(test)]
mod tests;

use crate::config::{EVENTS, Site};
use crate::purge::{ItemError, PurgeMode, PurgeRequest};
use crate::rewrite::path::normalise;
use crate::rewrite::{Profile, nameable};
pub use event::{Event, Previous};

use event::wrong;
use items::Items;

/// Returns what `event` purges of `site`.
///
/// # Errors
///
/// Returns each part of the event that is invalid, or that the site cannot turn into items. The request is never
/// empty.
pub fn purge_of(site: &Site, event: &Event) -> Result<PurgeRequest, Vec<ItemError>> {
    let mut errors = wrong_paths(event);
    if !is_known(site, &event.event) {
        errors.push(wrong("event", unknown(site, &event.event)));
    }
    if site.policy.profile != Profile::Aem && (!event.changed.is_empty() || event.previous.is_some()) {
        errors.push(wrong("changed, previous", "are for sites with profile = \"aem\""));
    }
    if !errors.is_empty() {
        return Err(errors);
    }

    let mut items = Items::default();
    let paths: Vec<String> = event.paths.iter().map(|path| normalise(path).into_owned()).collect();
    match (site.policy.profile, &site.policy.aem) {
        (Profile::Generic, _) => generic::cover(site, &paths, &mut items),
        (Profile::Aem, Some(project)) => aem::cover(site, project, event, &paths, &mut items)?,
        (Profile::Aem, None) => {
            let message =
                "the site has profile = \"aem\" but no [sites.aem]: its ids are needed for the keys";
            return Err(vec![wrong("event", message)]);
        }
    }
    rules::apply(site, event, &paths, &mut items);

    let mut request = items.into_request();
    if request.item_count() == 0 {
        let message = "purges nothing without `paths`, or a rule in [[sites.events]] for events without";
        return Err(vec![wrong("paths", message)]);
    }
    let is_gone = matches!(event.event.as_str(), "unpublish" | "branch-deleted");
    request.mode = if is_gone { Some(PurgeMode::Hard) } else { event.mode };
    request.cdns = event.cdns.clone();
    request.dry_run = event.dry_run;
    request.reason = event.reason.clone().or_else(|| Some(event.event.clone()));
    Ok(request)
}

fn wrong_paths(event: &Event) -> Vec<ItemError> {
    let checked = event.paths.iter().enumerate();
    checked
        .filter_map(|(index, path)| Some(wrong(format!("paths[{index}]"), nameable::path(path).err()?)))
        .collect()
}

fn is_known(site: &Site, name: &str) -> bool {
    EVENTS.contains(&name) || site.events.rules.iter().any(|rule| rule.on.iter().any(|on| on == name))
}

fn unknown(site: &Site, name: &str) -> String {
    let own = site.events.rules.iter().flat_map(|rule| &rule.on).map(String::as_str);
    let mut known: Vec<_> = EVENTS.into_iter().chain(own).collect();
    known.sort_unstable();
    known.dedup();
    let short: String = name.chars().take(100).collect();
    format!("`{short}` is not an event of this site; its events are {}", known.join(", "))
}
