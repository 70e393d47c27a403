//! The other facts about the site in AEM's file, if it is the whole configuration: the ids that cache keys are
//! made of, metadata sheets, and folder mapping; and what the file does not tell.

use super::imports::Imports;
use super::origin::{Origin, OriginError};
use crate::rewrite::aem::Partition;
use serde_json::Value;

/// Settings that AEM's file does not contain.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The origin, `https://<ref>--<site>--<org>.aem.live`.
    pub origin: Option<Origin>,
    /// The name of the site in the new configuration.
    pub site: Option<String>,
}

/// The site in the shim's terms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Site {
    /// The site's name in the new configuration; empty: derived from its host.
    pub(super) name: String,
    /// The address at which AEM serves the site, if it is known.
    pub(super) origin: Option<Origin>,
    /// The value of `content.contentBusId`.
    pub(super) content_bus_id: Option<String>,
    /// The value of `code.owner`.
    pub(super) owner: Option<String>,
    /// The value of `code.repo`.
    pub(super) repo: Option<String>,
    /// The values of `metadata.source`.
    pub(super) metadata: Vec<String>,
    /// The entries of `folders`: a path and its target.
    pub(super) folders: Vec<(String, String)>,
}

pub(super) fn read(imports: &mut Imports, options: &Options) -> Site {
    let name = text(imports, &["name"]);
    let owner = text(imports, &["code", "owner"]);
    let mut site = Site {
        name: options.site.clone().or(name.clone()).unwrap_or_default(),
        content_bus_id: text(imports, &["content", "contentBusId"]),
        repo: text(imports, &["code", "repo"]),
        metadata: texts(imports, &["metadata", "source"]),
        folders: folders(imports),
        origin: options.origin.clone(),
        owner,
    };
    // The sources of content and code concern only AEM.
    imports.take_below(&["content"]);
    imports.take_below(&["code"]);
    if site.origin.is_none() {
        site.origin = guess(imports, name.as_deref(), site.owner.as_deref());
    }
    if site.content_bus_id.is_none() || site.origin.is_none() {
        imports.note(
            "publish events: [sites.aem] is commented out until you fill in its ids; until then events are refused. `content_bus_id` is \
             `content.contentBusId` of the site's configuration, which can be imported as a whole",
        );
    }
    site
}

fn guess(imports: &mut Imports, name: Option<&str>, owner: Option<&str>) -> Option<Origin> {
    let guessed: Option<Result<Origin, OriginError>> =
        name.zip(owner).map(|(name, owner)| format!("https://main--{name}--{owner}.aem.live").parse());
    match guessed {
        Some(Ok(origin)) => {
            imports.note(format!(
                "origin: {origin} is made of the site's name and the owner of its code; check it, or run again with --origin"
            ));
            Some(Origin { partition: Partition::Live, ..origin })
        }
        _ => {
            imports.note(
                "origin: the file does not say where AEM serves the site; set it to https://main--SITE--ORG.aem.live, or run \
                 again with --origin",
            );
            None
        }
    }
}

fn text(imports: &mut Imports, key: &[&str]) -> Option<String> {
    let entry = imports.take(key)?;
    match &entry.value {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        _ => {
            imports.wrong(&entry, "must be a string");
            None
        }
    }
}

/// Takes a list of texts, or a single text as a list.
fn texts(imports: &mut Imports, key: &[&str]) -> Vec<String> {
    let Some(entry) = imports.take(key) else { return Vec::new() };
    let values = match &entry.value {
        Value::Array(values) => values.iter().map(|value| value.as_str().map(str::to_owned)).collect(),
        Value::String(text) => Some(vec![text.clone()]),
        _ => None,
    };
    values.unwrap_or_else(|| {
        imports.wrong(&entry, "must be a list of strings");
        Vec::new()
    })
}

fn folders(imports: &mut Imports) -> Vec<(String, String)> {
    let mut folders = Vec::new();
    for entry in imports.take_below(&["folders"]) {
        match (&entry.key[1..], &entry.value) {
            ([path], Value::String(maps_to)) => folders.push((path.clone(), maps_to.clone())),
            _ => imports.wrong(&entry, "must be a path"),
        }
    }
    folders
}
