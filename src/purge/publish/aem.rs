//! `profile = "aem"`: the items that AEM's own admin service purges for an event (`adobe/helix-api-service`,
//! `src/cache/purge.js` and its callers), by the keys that its pipeline adds to responses. Where that service names
//! only keys, the paths are named too: they cost nothing on CDNs with tags, and without tags they spare a purge of
//! everything.

use super::event::{Event, Previous, wrong};
use super::items::Items;
use crate::config::Site;
use crate::purge::ItemError;
use crate::rewrite::aem::{Kind, Partition, Project, code_id, extension, kind, page_path, plain_form};

/// Adds what `event` purges. `paths` are its paths, normalised.
pub(super) fn cover(
    site: &Site,
    project: &Project,
    event: &Event,
    paths: &[String],
    items: &mut Items,
) -> Result<(), Vec<ItemError>> {
    let is_config = event.event == "config";
    if !is_config && (!event.changed.is_empty() || event.previous.is_some()) {
        return Err(vec![wrong("changed, previous", "belong to the event `config`")]);
    }
    match event.event.as_str() {
        "code" => code(site, project, paths, items),
        "branch-deleted" => all_code(project, items),
        "config" => config(project, event, items)?,
        "metadata" => metadata(site, project, paths, items),
        "redirects" => redirects(site, project, paths, items),
        "sitemap" => sitemap(project, paths, items),
        "cache" => {
            content(site, project, paths, items);
            for partition in [Partition::Live, Partition::Preview] {
                content(site, &project.in_partition(partition), paths, items);
            }
        }
        // A site's own event is treated as a publish.
        _ => content(site, project, paths, items),
    }
    Ok(())
}

/// Adds pages that a rule names.
pub(super) fn pages(site: &Site, project: &Project, paths: &[String], items: &mut Items) {
    paths.iter().for_each(|path| resource(site, project, path, items));
}

/// Adds resources that were published or unpublished.
fn content(site: &Site, project: &Project, paths: &[String], items: &mut Items) {
    if paths.len() <= site.events.aem_bulk_threshold {
        for path in paths {
            resource(site, project, path, items);
            if paths.len() > 1
                && let Some(plain) = plain_form(page_path(path))
            {
                items.tag(project.content_key(&plain));
            }
        }
        return;
    }
    items.tag(project.content());
    for path in paths {
        // The key of all content does not reach these.
        if is_metadata(site, path) {
            items.tag(project.config());
        } else if matches!(kind(path), Kind::Code | Kind::Robots | Kind::Media) {
            resource(site, project, path, items);
        }
    }
}

/// Adds one resource, by its path.
fn resource(site: &Site, project: &Project, path: &str, items: &mut Items) {
    let page = page_path(path);
    items.path(path);
    if is_metadata(site, path) {
        items.tag(project.config());
        items.tag(project.metadata());
        items.tag(project.content_key(path));
    } else if let Some(folder) = path.strip_suffix("/metadata.json") {
        items.tag(project.mapped_metadata(folder));
        items.tag(project.content_key(path));
    } else if page == "/head" || path == "/head.html" {
        items.tag(project.head());
    } else if path == "/redirects.json" {
        // The event does not state which sources changed, and every redirect has the key of all content.
        items.tag(project.content());
        file(project, path, items);
    } else if extension(page).is_some_and(|extension| extension == "html") {
        items.tag(project.content_key(page));
    } else if let Some(plain) = plain_form(page) {
        items.path(page);
        items.path(plain);
        file(project, page, items);
    } else {
        file(project, path, items);
    }
}

/// Adds JSON or another file, which may be content or code.
fn file(project: &Project, path: &str, items: &mut Items) {
    items.tag(project.content_key(path));
    items.tag(project.code_key(path));
}

fn is_metadata(site: &Site, path: &str) -> bool {
    site.events.aem_metadata.iter().any(|sheet| sheet == path)
}

/// Adds the files that a push of code changed.
fn code(site: &Site, project: &Project, paths: &[String], items: &mut Items) {
    if paths.is_empty() {
        return all_code(project, items);
    }
    if paths.len() > site.events.aem_code_threshold {
        items.tag(project.code());
    } else {
        for path in paths {
            items.tag(project.code_key(path));
            items.path(path);
        }
    }
    for path in paths {
        match path.as_str() {
            "/head.html" => {
                items.tag(project.head());
                items.tag(project.config());
            }
            "/fstab.yaml" => {
                items.tag(project.head());
                items.tag(project.not_found());
            }
            // AEM itself leaves the pages that show this file in caches until they expire.
            "/404.html" => items.tag(project.not_found()),
            "/robots.txt" | "/tools/sidekick/config.json" => items.tag(project.config()),
            _ => {}
        }
    }
}

/// Adds everything that is made of code. (AEM names owner and repository of a deleted branch in the wrong order.)
fn all_code(project: &Project, items: &mut Items) {
    items.tag(project.code());
    items.tag(project.head());
    items.tag(project.not_found());
    items.tag(project.config());
}

/// Adds the metadata of the site or of a folder.
fn metadata(site: &Site, project: &Project, paths: &[String], items: &mut Items) {
    let sheets = if paths.is_empty() { &site.events.aem_metadata } else { paths };
    for path in sheets {
        resource(site, project, path, items);
        if !path.ends_with("/metadata.json") {
            items.tag(project.config());
            items.tag(project.metadata());
        }
    }
    if sheets.is_empty() {
        items.tag(project.config());
        items.tag(project.metadata());
    }
}

/// Adds redirects that changed, by their sources.
fn redirects(site: &Site, project: &Project, sources: &[String], items: &mut Items) {
    items.path("/redirects.json");
    file(project, "/redirects.json", items);
    if sources.is_empty() || sources.len() > site.events.aem_bulk_threshold {
        items.tag(project.content());
        return;
    }
    for source in sources {
        let page = page_path(source);
        items.tag(project.content_key(page));
        items.path(page);
        items.path(source);
    }
}

fn sitemap(project: &Project, paths: &[String], items: &mut Items) {
    let default = ["/sitemap.xml".to_owned()];
    for path in if paths.is_empty() { &default } else { paths } {
        items.tag(project.content_key(path));
        items.path(path);
    }
}

/// The responses that a part of the site's configuration affects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Effect {
    code: bool,
    content: bool,
}

const EVERYWHERE: Effect = Effect { code: true, content: true };
const CONTENT: Effect = Effect { code: false, content: true };
const CODE: Effect = Effect { code: true, content: false };
const CONFIG_ONLY: Effect = Effect { code: false, content: false };

/// Returns the effect of a part. An unknown part affects everything.
fn effect(part: &str) -> Effect {
    match part {
        "code" => CODE,
        "content" | "folders" | "metadata" | "cdn" | "cdn.prod" | "cdn.prod.host" => CONTENT,
        "robots" | "public" | "sidekick" | "admin" | "apiKeys" | "groups" | "editor" | "title"
        | "description" => CONFIG_ONLY,
        _ => EVERYWHERE,
    }
}

/// Adds what a change of the site's configuration affects.
fn config(project: &Project, event: &Event, items: &mut Items) -> Result<(), Vec<ItemError>> {
    let moved = |part: &str| event.changed.iter().any(|changed| changed == part);
    let previous = event.previous.clone().unwrap_or_default();
    check_previous(&previous, moved("code"), moved("content"))?;

    let effects: Vec<_> = event.changed.iter().map(|part| effect(part)).collect();
    let is_made_of = |of: fn(&Effect) -> bool| effects.is_empty() || effects.iter().any(of);
    items.tag(project.config());
    if is_made_of(|effect| effect.code) {
        items.tag(project.code());
    }
    if is_made_of(|effect| effect.content) {
        items.tag(project.content());
    }
    if moved("code") {
        // The code's head is part of every page, and its 404 page is the body for missing ones.
        items.tag(project.head());
        items.tag(project.not_found());
    }
    let mut ids = project.ids().clone();
    ids.owner = previous.owner.unwrap_or(ids.owner);
    ids.repo = previous.repo.unwrap_or(ids.repo);
    ids.code_ref = previous.code_ref.unwrap_or(ids.code_ref);
    let old_code = code_id(&ids.code_ref, &ids.repo, &ids.owner);
    if project.code() != format!("{old_code}_code") {
        for part in ["code", "head", "404"] {
            items.tag(format!("{old_code}_{part}"));
        }
    }
    if let Some(id) = previous.content_bus_id {
        ids.content_bus_id = id;
        items.tag(project.with_ids(ids).content());
    }
    Ok(())
}

/// Checks the previous IDs. They are needed because responses that were made of another source carry its keys.
fn check_previous(previous: &Previous, code: bool, content: bool) -> Result<(), Vec<ItemError>> {
    let has_code = previous.owner.is_some() || previous.repo.is_some() || previous.code_ref.is_some();
    let mut errors = Vec::new();
    if code && !has_code {
        errors.push(wrong("previous", "give the `owner`, `repo` or `ref` of the code that it was"));
    }
    if content && previous.content_bus_id.is_none() {
        errors.push(wrong("previous", "give the `content_bus_id` that it was"));
    }
    let ids = [&previous.content_bus_id, &previous.owner, &previous.repo, &previous.code_ref];
    let legal = |id: &String| {
        (1..=128).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    if !ids.into_iter().flatten().all(legal) {
        errors.push(wrong("previous", "an id has 1 to 128 letters, digits, `.`, `_` and `-`"));
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}
