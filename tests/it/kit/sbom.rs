//! The bill of materials (CycloneDX, <https://cyclonedx.org/docs/1.6/json/>) names every package that is built into
//! the program. `UPDATE=1 cargo test --test it kit::sbom` writes it anew.

use super::{read, repository};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

const FILE: &str = "config/deploy/sbom.cdx.json";

/// The packages of the program as Cargo resolves them. Each has its own licence and its own dependencies.
struct Packages(BTreeMap<String, (Value, BTreeSet<String>)>);

impl Packages {
    fn read() -> (Self, String) {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--locked", "--offline", "--format-version=1"])
            .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
        let packages: BTreeMap<&str, &Value> =
            list(&metadata["packages"]).iter().map(|package| (text(&package["id"]), package)).collect();
        let nodes: BTreeMap<&str, &Value> =
            list(&metadata["resolve"]["nodes"]).iter().map(|node| (text(&node["id"]), node)).collect();
        let root = text(&metadata["resolve"]["root"]);
        let (mut found, mut left) = (BTreeMap::new(), vec![root]);
        while let Some(id) = left.pop() {
            if found.contains_key(id) {
                continue;
            }
            // What only tests need is not shipped; what only builds the program may leave something in it.
            let is_shipped = |kind: &Value| kind["kind"] != "dev";
            let needed: BTreeSet<String> = list(&nodes[id]["deps"])
                .iter()
                .filter(|dependency| list(&dependency["dep_kinds"]).iter().any(is_shipped))
                .map(|dependency| text(&dependency["pkg"]).to_owned())
                .collect();
            let ids = needed.iter().filter_map(|id| nodes.get_key_value(id.as_str()).map(|(id, _)| *id));
            left.extend(ids);
            found.insert(id.to_owned(), (packages[id].clone(), needed));
        }
        (Self(found), root.to_owned())
    }

    fn purl(&self, id: &str) -> String {
        let (package, _) = &self.0[id];
        format!("pkg:cargo/{}@{}", text(&package["name"]), text(&package["version"]))
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Returns the checksums of the lock file by name and version.
fn checksums() -> BTreeMap<(String, String), String> {
    let lock: toml::Table = read("Cargo.lock").parse().unwrap();
    let packages = lock["package"].as_array().unwrap().iter();
    let of =
        |package: &toml::Value, key: &str| package.get(key).and_then(toml::Value::as_str).map(str::to_owned);
    packages
        .filter_map(|package| {
            Some(((of(package, "name")?, of(package, "version")?), of(package, "checksum")?))
        })
        .collect()
}

fn generated() -> Value {
    let (packages, root) = Packages::read();
    let checksums = checksums();
    let component = |id: &str| {
        let (package, _) = &packages.0[id];
        let (name, version) = (text(&package["name"]).to_owned(), text(&package["version"]).to_owned());
        let purl = packages.purl(id);
        let mut component = json!({
            "type": if id == root { "application" } else { "library" },
            "bom-ref": purl,
            "name": name,
            "version": version,
            "purl": purl,
        });
        // Some old packages separate alternatives by a slash.
        if let Some(licence) = package["license"].as_str() {
            component["licenses"] = json!([{ "expression": licence.replace('/', " OR ") }]);
        }
        if let Some(checksum) = checksums.get(&(name, version)) {
            component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
        }
        component
    };
    let others = packages.0.keys().filter(|id| **id != root);
    let mut components: Vec<Value> = others.map(|id| component(id)).collect();
    components.sort_by(|one, other| text(&one["purl"]).cmp(text(&other["purl"])));
    let mut dependencies: Vec<Value> = packages
        .0
        .iter()
        .map(|(id, (_, needed))| {
            let needed: BTreeSet<String> = needed.iter().map(|id| packages.purl(id)).collect();
            json!({ "ref": packages.purl(id), "dependsOn": needed })
        })
        .collect();
    dependencies.sort_by(|one, other| text(&one["ref"]).cmp(text(&other["ref"])));
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": { "component": component(&root) },
        "components": components,
        "dependencies": dependencies,
    })
}

/// One line per component keeps differences readable.
fn print(document: &Value) -> String {
    let list = |key: &str| {
        let lines: Vec<String> = list(&document[key]).iter().map(|value| format!("    {value}")).collect();
        format!("  \"{key}\": [\n{}\n  ]", lines.join(",\n"))
    };
    let field = |key: &str| format!("  \"{key}\": {}", document[key]);
    let fields = ["$schema", "bomFormat", "specVersion", "version", "metadata"].map(field);
    format!("{{\n{},\n{},\n{}\n}}\n", fields.join(",\n"), list("components"), list("dependencies"))
}

#[test]
fn the_bill_of_materials_is_current() {
    let document = generated();
    let wanted = print(&document);
    assert_eq!(serde_json::from_str::<Value>(&wanted).unwrap(), document);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(repository(FILE), &wanted).unwrap();
    }
    assert!(
        std::fs::read_to_string(repository(FILE)).is_ok_and(|committed| committed == wanted),
        "{FILE} is not that of Cargo.lock: UPDATE=1 cargo test --test it kit::sbom"
    );
}

#[test]
fn every_component_says_what_it_is_and_of_what_it_is_made() {
    let document = generated();
    let components = list(&document["components"]);
    assert!(components.len() > 200, "{}", components.len());
    let known: BTreeSet<&str> = components
        .iter()
        .chain([&document["metadata"]["component"]])
        .map(|component| text(&component["bom-ref"]))
        .collect();
    for component in components {
        assert_eq!(text(&component["hashes"][0]["content"]).len(), 64, "{component}");
        assert!(component["licenses"][0]["expression"].is_string(), "{component}");
    }
    for dependency in list(&document["dependencies"]) {
        assert!(known.contains(text(&dependency["ref"])), "{dependency}");
        assert!(list(&dependency["dependsOn"]).iter().all(|id| known.contains(text(id))), "{dependency}");
    }
    // What is shipped is there, and what only tests use is not.
    let has = |name: &str| known.iter().any(|id| id.starts_with(&format!("pkg:cargo/{name}@")));
    assert!(has("rustls") && has("rusqlite") && has("tokio"));
    assert!(!has("proptest") && !has("criterion") && !has("insta"));
}
