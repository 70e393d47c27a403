//! Tests that `config/origin-shim.toml` is valid, mentions every key and shows the actual defaults, and that
//! `config/schema.json` matches the code.

use super::CANARY;
use crate::config::{Loaded, parse, schema};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn example() -> String {
    std::fs::read_to_string(repository("config/origin-shim.toml")).unwrap()
}

/// Removes `marks` from the start of lines with a key or a table.
fn uncomment(text: &str, marks: &str) -> String {
    let lines = text.lines().map(|line| match line.strip_prefix(marks) {
        Some(rest) if rest.starts_with(|first: char| first.is_ascii_lowercase() || first == '[') => rest,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn load(text: &str) -> Loaded {
    let env = |_: &str| Some(CANARY.to_owned());
    parse(text, Path::new("origin-shim.toml"), &env).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn it_can_be_used_and_raises_no_doubt() {
    let loaded = load(&example());
    assert_eq!(loaded.config.sites.len(), 1);
    assert_eq!(loaded.warnings, []);
}

#[test]
fn its_defaults_are_the_defaults() {
    let with_defaults = uncomment(&example(), "#");
    assert!(with_defaults.lines().count() > 100 && with_defaults != example());
    assert_eq!(format!("{:#?}", load(&with_defaults).config), format!("{:#?}", load(&example()).config));
}

/// The defaults of the other CDNs are behind `##`, because their whole tables are.
#[test]
fn its_other_cdns_show_their_defaults() {
    let text = example();
    let cdns = &text[text.find("##[[sites.cdns]]").unwrap()..];
    let own = |line: &&str| {
        let default =
            ["##network", "##ttl_header", "##plan", "##surgical_purge", "##api_url ", "##tag_header"];
        let cloudfront_tags = **line == *"##tag_header = \"Cache-Tag\"";
        !default.iter().any(|key| line.starts_with(key)) || cloudfront_tags
    };
    let site = |cdns: &str| {
        let site = "[[sites]]\nname = \"www\"\nhosts = [\"www.example.com\"]\norigin = \"http://origin\"\n";
        format!("{:#?}", load(&format!("{site}{}", uncomment(cdns, "##"))).config)
    };
    let without: Vec<_> = cdns.lines().filter(own).collect();
    assert!(without.len() + 10 < cdns.lines().count());
    assert_eq!(site(cdns), site(&without.join("\n")));
}

#[test]
fn it_mentions_every_key() {
    let text = uncomment(&uncomment(&example(), "##"), "#");
    let root = DeTable::parse(&text).unwrap();
    let mut mentioned = BTreeSet::new();
    keys_of_table(root.get_ref(), "", &mut mentioned);
    let mut known = BTreeSet::new();
    keys_of_schema(schema().as_value(), "", &mut known);
    assert_eq!(mentioned, known);
}

fn keys_of_table(table: &DeTable<'_>, prefix: &str, keys: &mut BTreeSet<String>) {
    // A JSON pointer is a name that the user chooses.
    for (name, value) in table.iter().filter(|(name, _)| !name.get_ref().starts_with('/')) {
        let path = format!("{prefix}{}", name.get_ref());
        match value.get_ref() {
            DeValue::Table(table) => keys_of_table(table, &format!("{path}."), keys),
            DeValue::Array(array) => {
                let tables = array.iter().filter_map(|value| value.get_ref().as_table());
                tables.for_each(|table| keys_of_table(table, &format!("{path}."), keys));
            }
            _ => {}
        }
        keys.insert(path);
    }
}

fn keys_of_schema(schema: &serde_json::Value, prefix: &str, keys: &mut BTreeSet<String>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{prefix}{name}");
        keys_of_schema(property, &format!("{path}."), keys);
        keys_of_schema(&property["items"], &format!("{path}."), keys);
        keys.insert(path);
    }
}

/// `UPDATE=1 cargo test` rewrites the file.
#[test]
fn the_schema_file_is_up_to_date() {
    let path = repository("config/schema.json");
    let generated = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == generated, "config/schema.json is old: run UPDATE=1 cargo test");
}

#[test]
fn every_key_of_the_schema_has_a_description() {
    fn check(schema: &serde_json::Value, path: &str) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            assert!(property["description"].as_str().is_some_and(|text| text.len() > 10), "{path}");
            check(property, &path);
            check(&property["items"], &path);
        }
    }
    check(schema().as_value(), "");
}
