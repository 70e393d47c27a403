//! The keys in which two configurations differ. Values are kept only as hashes, because some are secrets.

use super::secret::{Env, SecretRef};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use toml::{Table, Value};

/// The keys of a configuration, each with a hash of its value. The hash of a secret covers the resolved secret, and
/// that of a certificate covers the content of its file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint(BTreeMap<Key, [u8; 32]>);

/// The names of a key from the top table down.
type Key = Vec<String>;

/// How a key differs between two configurations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The key is new.
    Added,
    /// The key has another value.
    Changed,
    /// The key was removed.
    Removed,
}

impl Fingerprint {
    /// Returns the fingerprint of a valid configuration text that was read from `file`.
    pub(super) fn of(text: &str, file: &Path, env: Env<'_>) -> Self {
        let mut keys = Self::default();
        let directory = file.parent().unwrap_or(Path::new(""));
        keys.add_table(&[], &text.parse().unwrap_or_default(), &Places { directory, env });
        keys
    }

    /// Returns the differences to `newer`, ordered by key. A list element with a name or a type is identified by it
    /// (`sites.www.mode`). For a new or removed table only the table itself is returned.
    pub fn differences(&self, newer: &Self) -> Vec<(String, Difference)> {
        let gone = self.beyond(newer).into_iter().map(|key| (key, Difference::Removed));
        let new = newer.beyond(self).into_iter().map(|key| (key, Difference::Added));
        let changed = newer.0.iter().filter(|(key, hash)| self.0.get(*key).is_some_and(|old| old != *hash));
        let changed = changed.map(|(key, _)| (key.clone(), Difference::Changed));
        let mut all: Vec<_> = gone.chain(new).chain(changed).collect();
        all.sort_by(|one, other| one.0.cmp(&other.0));
        all.into_iter().map(|(key, difference)| (key.join("."), difference)).collect()
    }

    /// Returns a digest of what concerns the sites, in which all instances of a fleet should agree.
    pub fn of_sites(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for (key, hash) in self.0.iter().filter(|(key, _)| key.first().is_some_and(|top| top == "sites")) {
            digest.update(key.join("\0"));
            digest.update(hash);
        }
        digest.finalize().into()
    }

    /// Returns the topmost keys below which `other` has no key.
    fn beyond(&self, other: &Self) -> BTreeSet<Key> {
        let known: BTreeSet<&[String]> =
            other.0.keys().flat_map(|key| (1..=key.len()).map(|length| &key[..length])).collect();
        let mut topmost = BTreeSet::new();
        for key in self.0.keys() {
            let mut above = (1..=key.len()).map(|length| &key[..length]);
            topmost.extend(above.find(|key| !known.contains(key)).map(<[String]>::to_vec));
        }
        topmost
    }

    fn add_table(&mut self, key: &[String], table: &Table, places: &Places<'_>) {
        for (name, value) in table {
            self.add(&[key, std::slice::from_ref(name)].concat(), value, places);
        }
    }

    fn add(&mut self, key: &[String], value: &Value, places: &Places<'_>) {
        match value {
            Value::Table(table) => self.add_table(key, table, places),
            Value::Array(items) if items.iter().any(Value::is_table) => {
                for (index, item) in items.iter().enumerate() {
                    let named = ["name", "type"].into_iter().find_map(|name| item.get(name)?.as_str());
                    let segment = named.map_or_else(|| index.to_string(), str::to_owned);
                    self.add(&[key, &[segment]].concat(), item, places);
                }
            }
            value => {
                self.0.insert(key.to_vec(), places.hash(key, value));
            }
        }
    }
}

/// Whether a key names a file with certificates or a private key.
fn is_file(key: &[String]) -> bool {
    let within = |table: &str| key.iter().any(|key| key == table);
    let last = key.last().map_or("", String::as_str);
    match key.first().map(String::as_str) {
        Some("server") => within("certificates") || last == "client_ca",
        Some("sites") => within("origin_tls") && last != "server_name",
        _ => false,
    }
}

struct Places<'a> {
    directory: &'a Path,
    env: Env<'a>,
}

impl Places<'_> {
    fn hash(&self, key: &[String], value: &Value) -> [u8; 32] {
        let mut hash = Sha256::new_with_prefix(value.to_string());
        if let Some(text) = value.as_str() {
            if is_file(key) {
                // An unreadable file is reported by the code that serves it.
                hash.update(std::fs::read(self.directory.join(text)).unwrap_or_default());
            } else if let Some(secret) = self.secret(text) {
                hash.update(secret.expose());
            }
        }
        hash.finalize().into()
    }

    /// Resolves the text if it is written like a secret that is stored elsewhere.
    fn secret(&self, text: &str) -> Option<super::secret::Secret> {
        let is_reference = text.starts_with("env:") || text.starts_with("file:");
        let reference = SecretRef::deserialize(Value::String(text.to_owned())).ok()?;
        is_reference.then(|| reference.resolve(self.directory, self.env).ok())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = r#"
        server.listen = ["127.0.0.1:80"]
        [[sites]]
        name = "www"
        hosts = ["a"]
        [sites.cache]
        edge_ttl = "1d"
        [[sites.cdns]]
        type = "fastly"
        auth_token = "env:TOKEN"
    "#;

    fn of(text: &str, token: &str) -> Fingerprint {
        Fingerprint::of(text, Path::new("shim.toml"), &|_| Some(token.to_owned()))
    }

    #[track_caller]
    fn check(from: &str, to: &str, token: &str, expected: &[&str]) {
        assert!(from.is_empty() || BASE.contains(from));
        let text = BASE.replace(if from.is_empty() { "\0" } else { from }, to);
        let told = of(BASE, "one").differences(&of(&text, token));
        let told: Vec<_> = told.iter().map(|(key, difference)| format!("{difference:?} {key}")).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn keys_are_named() {
        check("", "", "one", &[]);
        check("", "", "two", &["Changed sites.www.cdns.fastly.auth_token"]);
        check("\"1d\"", "\"2d\"", "one", &["Changed sites.www.cache.edge_ttl"]);
        check("\"1d\"", "\"1d\"\nbrowser_ttl = \"1h\"", "one", &["Added sites.www.cache.browser_ttl"]);
        check(":80\"", ":80\", \"127.0.0.1:81\"", "one", &["Changed server.listen"]);
        check("\"www\"", "\"shop\"", "one", &["Added sites.shop", "Removed sites.www"]);
        let second = "[[sites]]\nname = \"shop\"\nhosts = [\"b\"]\n[[sites]]";
        check("[[sites]]", second, "one", &["Added sites.shop"]);
        check(
            "\"fastly\"",
            "\"fastly\"\nname = \"edge\"",
            "one",
            &["Added sites.www.cdns.edge", "Removed sites.www.cdns.fastly"],
        );
    }

    #[test]
    fn a_certificate_differs_with_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("www.pem");
        let text = "[[server.certificates]]\ncert = \"www.pem\"";
        let read = || Fingerprint::of(text, &directory.path().join("shim.toml"), &|_| None);
        let missing = read();
        std::fs::write(&file, "one").unwrap();
        let told = missing.differences(&read());
        assert_eq!(told, [("server.certificates.0.cert".to_owned(), Difference::Changed)]);
        assert_eq!(read(), read());
    }
}
