//! Checks for unknown and missing keys. The JSON Schema defines the keys, so the documentation and the accepted keys
//! cannot differ.
//!
//! Serde would report only the first such key, and could not suggest which key was meant.

use super::at::At;
use super::file;
use super::file::cdn::{OWN_KEYS, OwnKeys};
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Reports invalid keys and removes unknown ones, so that the rest can be read. Returns whether all required keys are
/// present.
pub fn check(table: &mut DeTable<'_>, at: &At<'_>) -> bool {
    let schema = file::schema();
    check_table(table, schema.as_value(), at, None)
}

/// The table that a table is in.
#[derive(Clone, Copy)]
struct Outer<'o> {
    schema: &'o Value,
    at: &'o At<'o>,
}

fn check_table(table: &mut DeTable<'_>, schema: &Value, at: &At<'_>, outer: Option<Outer<'_>>) -> bool {
    let Some(properties) = schema["properties"].as_object() else { return true };
    let mut complete = true;
    let mut unknown = Vec::new();
    let this = at;
    for (name, value) in table.iter_mut() {
        let at = at.key(name.get_ref());
        match properties.get(name.get_ref().as_ref()) {
            Some(property) => complete &= check_value(value, property, &at, Outer { schema, at: this }),
            None => {
                match outer.filter(|outer| !outer.schema["properties"][name.get_ref().as_ref()].is_null()) {
                    Some(outer) => complain_misplaced(&at, this, outer.at),
                    None => complain_unknown(&at, name.get_ref(), properties.keys()),
                }
                unknown.push(name.clone());
            }
        }
    }
    for name in unknown {
        table.remove(&name);
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !table.contains_key(name) {
            at.key(name).error("is required");
            complete = false;
        }
    }
    if at.keys() == "sites.cdns" {
        check_cdn(table, at);
    }
    complete
}

fn check_value(value: &mut Spanned<DeValue<'_>>, schema: &Value, at: &At<'_>, outer: Outer<'_>) -> bool {
    match value.get_mut() {
        DeValue::Table(table) => check_table(table, schema, at, Some(outer)),
        DeValue::Array(array) => {
            let values = array.iter_mut().enumerate();
            values.fold(true, |complete, (index, value)| {
                check_value(value, &schema["items"], &at.index(index), outer) && complete
            })
        }
        _ => true,
    }
}

/// Reports a key that stands below a table's header, and so belongs to it, but is one of the outer table's.
fn complain_misplaced(at: &At<'_>, table: &At<'_>, outer: &At<'_>) {
    let (header, line, owner) = (table.keys(), table.line(), outer.keys());
    let owner = if owner.is_empty() { "the top of the file".to_owned() } else { format!("`{owner}`") };
    at.error_in_key(format!(
        "unknown key here; it belongs to {owner}: move it above the line of `{header}` (line {line})"
    ));
}

fn complain_unknown<'k>(at: &At<'_>, name: &str, known: impl Iterator<Item = &'k String>) {
    match nearest(name, known.map(String::as_str)) {
        Some(near) => at.error_in_key(format!("unknown key; did you mean `{near}`?")),
        None => at.error_in_key("unknown key"),
    }
}

/// Checks the keys that only some types of CDN accept.
fn check_cdn(table: &DeTable<'_>, at: &At<'_>) {
    let cdn_type = table.get("type").and_then(|value| value.get_ref().as_str());
    let Some(own) = OWN_KEYS.iter().find(|own| Some(own.cdn_type.as_str()) == cdn_type) else { return };
    for name in own.required.iter().filter(|name| !table.contains_key(**name)) {
        at.key(name).error(format!("is required for type = \"{}\"", own.cdn_type.as_str()));
    }
    for name in table.keys().map(|name| name.get_ref().as_ref()).filter(|name| !own.takes(name)) {
        let owners: Vec<_> = OWN_KEYS.iter().filter(|other| other.takes(name)).map(quoted_type).collect();
        if !owners.is_empty() {
            let message = format!(
                "type = \"{}\" does not take this key; it belongs to {}",
                own.cdn_type.as_str(),
                owners.join(", ")
            );
            at.key(name).error_in_key(message);
        }
    }
}

fn quoted_type(own: &OwnKeys) -> String {
    format!("`{}`", own.cdn_type.as_str())
}

/// Returns the candidate that was probably meant, if one is near enough: a third of its letters may differ.
pub fn nearest<'n>(text: &str, candidates: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let text = text.to_lowercase();
    let with_distance = candidates.map(|candidate| (strsim::osa_distance(&text, candidate), candidate));
    let (distance, nearest) = with_distance.min()?;
    (distance * 3 <= nearest.len().max(3)).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_nearest() {
        let check = |text: &str, expected: Option<&str>| {
            let names = ["edge_ttl", "browser_ttl", "mode", "on"];
            assert_eq!(nearest(text, names.into_iter()), expected, "{text}");
        };
        check("edgettl", Some("edge_ttl"));
        check("edge-ttl", Some("edge_ttl"));
        check("mod", Some("mode"));
        check("MODE", Some("mode"));
        check("no", Some("on"));
        check("colour", None);
        check("", None);
    }

    #[test]
    fn every_own_key_is_a_key_of_the_schema() {
        let schema = file::schema();
        let cdn = &schema.as_value()["properties"]["sites"]["items"]["properties"]["cdns"]["items"];
        for name in OWN_KEYS.iter().flat_map(|own| own.required.iter().chain(own.optional)) {
            assert!(cdn["properties"].get(name).is_some(), "{name}");
        }
    }
}
