//! The `[[sites.events]]` and `[sites.aem]` tables.

use crate::config::at::At;
use crate::config::file::events as file;
use crate::config::file::site as site_file;
use crate::config::keys::nearest;
use crate::config::{EVENTS, EventRule, Events};
use crate::rewrite::aem::{Folder, Ids, Project};
use crate::rewrite::nameable;
use crate::rewrite::path::normalise;
use crate::rewrite::pattern::PathPattern;

pub(super) fn resolve(file: &site_file::Site, at: &At<'_>) -> Events {
    let aem = file.aem.as_ref();
    for (at, form) in at.key("page_forms").each(&file.page_forms) {
        if !form.is_empty() && !form.starts_with(['/', '.']) || form.contains(['?', '#', '*']) {
            at.error("must be empty, or an ending such as `/`, `/index.html` or `.html`");
        }
    }
    let threshold =
        |value: Option<u32>| value.map_or(0, |value| usize::try_from(value).unwrap_or(usize::MAX));
    Events {
        page_forms: file.page_forms.clone(),
        rules: at.key("events").each(&file.events).filter_map(|(at, file)| rule(file, &at)).collect(),
        aem_bulk_threshold: threshold(aem.map(|aem| aem.bulk_threshold)),
        aem_code_threshold: threshold(aem.map(|aem| aem.code_threshold)),
        aem_metadata: aem.into_iter().flat_map(|aem| &aem.metadata).map(|path| normal(path)).collect(),
    }
}

fn rule(file: &file::EventRule, at: &At<'_>) -> Option<EventRule> {
    if file.on.is_empty() {
        at.key("on").error("at least one event is needed");
    }
    for (at, name) in at.key("on").each(&file.on) {
        event_name(name, &at);
    }
    if file.parents > 16 {
        at.key("parents").error("must be 0 to 16");
    }
    let check = |name: &str, list: &[String], check: fn(&str) -> Result<(), String>| {
        for (at, item) in at.key(name).each(list) {
            at.ok(check(item));
        }
    };
    check("purge_paths", &file.purge_paths, nameable::path);
    check("purge_tags", &file.purge_tags, nameable::tag);
    check("purge_prefixes", &file.purge_prefixes, nameable::prefix);
    let lists = [&file.purge_paths, &file.purge_tags, &file.purge_prefixes];
    if lists.iter().all(|list| list.is_empty()) && file.parents == 0 && !file.purge_everything {
        at.error("purges nothing: give purge_paths, purge_tags, purge_prefixes, parents or purge_everything");
    }
    Some(EventRule {
        on: file.on.clone(),
        path: match &file.path {
            Some(path) => Some(at.key("path").ok(PathPattern::new(path))?),
            None => None,
        },
        parents: file.parents,
        paths: file.purge_paths.iter().map(|path| normal(path)).collect(),
        tags: file.purge_tags.clone(),
        prefixes: file.purge_prefixes.iter().map(|prefix| normal(prefix)).collect(),
        everything: file.purge_everything,
    })
}

fn event_name(name: &str, at: &At<'_>) {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(legal) {
        at.error("must be 1 to 64 of the letters a to z, digits, `_` and `-`");
    } else if !EVENTS.contains(&name)
        && let Some(known) = nearest(name, EVENTS.into_iter())
    {
        // The name is allowed, but a misspelt one would be an event that is never sent.
        at.warn(format!("is an event of your own; did you mean `{known}`?"));
    }
}

fn normal(path: &str) -> String {
    normalise(path).into_owned()
}

fn check_path(path: &str, at: &At<'_>) {
    if !path.starts_with('/') || path.contains(['?', '#']) || path.chars().any(char::is_control) {
        at.error("must be a path: it starts with `/` and has no query, fragment or control character");
    }
}

/// Resolves the AEM site. Without the profile it would have no effect.
pub(super) fn project(file: &site_file::Site, at: &At<'_>) -> Option<Project> {
    let aem = file.aem.as_ref()?;
    let (at, is_aem) = (at.key("aem"), file.profile == site_file::Profile::Aem);
    if !is_aem {
        at.error("has no effect without profile = \"aem\"");
    }
    let id = |name: &str, value: &String| check_id(value, &at.key(name));
    id("org", &aem.org);
    id("site", &aem.site);
    id("content_bus_id", &aem.content_bus_id);
    id("ref", &aem.code_ref);
    aem.owner.iter().for_each(|owner| id("owner", owner));
    aem.repo.iter().for_each(|repo| id("repo", repo));
    for (name, value) in [("bulk_threshold", aem.bulk_threshold), ("code_threshold", aem.code_threshold)] {
        if value == 0 {
            at.key(name).error("must be at least 1");
        }
    }
    at.key("metadata").each(&aem.metadata).for_each(|(at, path)| check_path(path, &at));
    for (at, folder) in at.key("folders").each(&aem.folders) {
        check_path(&folder.path, &at.key("path"));
        check_path(&folder.maps_to, &at.key("maps_to"));
    }
    let ids = Ids {
        content_bus_id: aem.content_bus_id.clone(),
        code_ref: aem.code_ref.clone(),
        repo: aem.repo.clone().unwrap_or_else(|| aem.site.clone()),
        owner: aem.owner.clone().unwrap_or_else(|| aem.org.clone()),
        org: aem.org.clone(),
        site: aem.site.clone(),
    };
    let folder =
        |folder: &file::Folder| Folder { path: folder.path.clone(), maps_to: folder.maps_to.clone() };
    let folders = aem.folders.iter().map(folder).collect();
    is_aem.then(|| Project::new(ids, aem.partition, folders, aem.keys))
}

/// Checks an ID. IDs become part of tags, which have no spaces and commas.
fn check_id(id: &str, at: &At<'_>) {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if id.is_empty() || id.len() > 128 || !id.bytes().all(legal) {
        at.error("must be 1 to 128 letters, digits, `.`, `_` and `-`");
    }
}
