//! A publish event: a report of what happened at the origin, turned into a purge. Pure.
//!
//! The site's profile defines what an event means (`generic.rs`, `aem.rs`). Its rules (`rules.rs`, `[[sites.events]]`)
//! name the other pages that show what was published. The result is an ordinary [`PurgeRequest`].

mod aem;
mod generic;
mod items;
mod rules;

#[cfg(test)]
mod tests;

use crate::config::{EVENTS, Site};
use crate::purge::{ItemError, PurgeMode, PurgeRequest};
use crate::rewrite::path::normalise;
use crate::rewrite::{Profile, nameable};
use items::Items;
use serde::{Deserialize, Serialize};

/// A report of what happened at the origin: the body of `POST /v1/sites/{site}/events`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, expecting = "an object that says what happened")]
pub struct Event {
    /// The name of the event: `publish`, `unpublish`, `cache`, `code`, `branch-deleted`, `config`, `metadata`,
    /// `redirects`, `sitemap`, or one that the site's rules name.
    pub event: String,
    /// The paths that the event is about; for `redirects`, the source paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// AEM, `config`: the parts of the site's configuration that changed; by default any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
    /// AEM, `config` with `code` or `content` changed: the IDs that differ from those in `[sites.aem]`, because they
    /// are old ones or not configured yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Previous>,
    /// The mode, `soft` or `hard`; by default as configured for each CDN. `unpublish` and `branch-deleted` are always
    /// hard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<PurgeMode>,
    /// Names of the site's CDNs to purge; by default all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cdns: Option<Vec<String>>,
    /// The reason for the purge, for people; by default the name of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// IDs of AEM that a site had before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Previous {
    /// The ID of the content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_bus_id: Option<String>,
    /// The owner of the code repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The code repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// The branch of the code.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub code_ref: Option<String>,
}

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
    request.reason = event.reason.clone().or_else(|| Some(event.event.clone()));
    Ok(request)
}

fn wrong(item: impl Into<String>, message: impl Into<String>) -> ItemError {
    ItemError { item: item.into(), message: message.into() }
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
