//! Tests of what each event purges, and of the laws between that and what responses carry.

mod aem;
mod generic;
mod laws;

use super::*;
use crate::config::parse;
use std::path::Path;
use std::sync::Arc;

/// Returns a site with these additional keys.
fn site(keys: &str) -> Arc<Site> {
    let text = format!(
        "[[sites]]\nname = \"www\"\nhosts = [\"www.example.com\"]\norigin = \"http://origin\"\n{keys}"
    );
    let loaded = parse(&text, Path::new("shim.toml"), &|_| None).unwrap_or_else(|error| panic!("{error}"));
    loaded.config.sites[0].clone()
}

/// Parses an event as callers write it.
fn event(json: &str) -> Event {
    serde_json::from_str(json).unwrap()
}

/// Formats the items of an event as `path …`, `tag …` and `prefix …`, or its errors.
fn text(site: &Site, json: &str) -> String {
    match purge_of(site, &event(json)) {
        Ok(request) => {
            let list = |kind: &str, values: &[String]| {
                values.iter().map(|value| format!("{kind} {value}")).collect::<Vec<_>>()
            };
            let everything = if request.everything { vec!["everything".to_owned()] } else { vec![] };
            let mode = request.mode.map(|mode| format!("{mode:?}").to_lowercase());
            [
                mode.into_iter().collect(),
                list("path", &request.paths),
                list("tag", &request.tags),
                list("prefix", &request.prefixes),
                everything,
            ]
            .concat()
            .join(", ")
        }
        Err(errors) => {
            let errors = errors.iter().map(|error| format!("{}: {}", error.item, error.message));
            errors.collect::<Vec<_>>().join("\n")
        }
    }
}
