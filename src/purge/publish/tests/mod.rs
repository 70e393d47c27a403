//! Every row of what events purge, in words, and the laws between what an event purges and what responses carry.

mod aem;
mod generic;
mod laws;

use super::*;
use crate::config::parse;
use std::path::Path;
use std::sync::Arc;

/// A site with these further keys.
fn site(keys: &str) -> Arc<Site> {
    let text = format!(
        "[[sites]]\nname = \"www\"\nhosts = [\"www.example.com\"]\norigin = \"http://origin\"\n{keys}"
    );
    let loaded = parse(&text, Path::new("shim.toml"), &|_| None).unwrap_or_else(|error| panic!("{error}"));
    loaded.config.sites[0].clone()
}

/// An event as callers write it.
fn event(json: &str) -> Event {
    serde_json::from_str(json).unwrap()
}

/// Its items, `path …`, `tag …` and `prefix …`; or what is wrong with it.
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
