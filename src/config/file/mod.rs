//! The shape of the file, with nothing resolved. The doc comments in this module tree are the reference manual: they
//! become the JSON Schema (`origin-shim schema`), so they address the operator and name units, defaults and allowed
//! values.

pub mod admin;
pub mod cdn;
pub mod events;
pub mod inbound;
pub mod log;
pub mod purge_header;
pub mod server;
pub mod site;
pub mod tags;

use super::secret::SecretRef;
use super::text::DurationText;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde::Deserialize;
use serde_json::Value;

/// The configuration of Origin Shim. Unknown keys are errors. Durations are a whole number and a unit: `500ms`, `90s`,
/// `5m`, `2h`, `2d`. Secrets are `env:NAME` (an environment variable), `file:PATH` (the content of a file, without one
/// line break at its end) or `literal:TEXT`. Relative paths are relative to this file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "Origin Shim configuration")]
pub struct File {
    /// The data plane: listeners, certificates, limits.
    pub server: server::Server,
    /// The admin API: its listener and its callers.
    pub admin: admin::Admin,
    /// The store of accepted purges. It keeps them until every CDN has accepted them.
    pub store: Store,
    /// The fleet, if several instances share a PostgreSQL database.
    pub fleet: Fleet,
    /// Listeners for the purge requests that clients of other systems already send.
    pub inbound: Vec<inbound::Inbound>,
    /// The log, which is written to stderr.
    pub log: log::Log,
    /// The sites; at least one.
    #[schemars(length(min = 1))]
    pub sites: Vec<site::Site>,
}

/// The store of accepted purges. It keeps them until every CDN has accepted them.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// The location of the store. `sqlite:PATH`: a file on a local disk, created if it is missing, which only one
    /// instance may use. `sqlite::memory:`: memory, so accepted purges are lost when the process ends.
    /// `postgres://USER@HOST[:PORT][,HOST…]/DATABASE`: a PostgreSQL database, version 14 or newer, with the parameters
    /// of libpq that matter here (`target_session_attrs`, `connect_timeout`, `options`, `application_name`). Several
    /// hosts are tried in turn.
    pub url: String,
    /// The password of the database's user. Only with `postgres`.
    pub password: Option<SecretRef>,
    /// The certificates, in PEM, of the authorities that may sign the database's certificate. Default: those of the
    /// system. The connection is encrypted and verified unless all hosts are on this machine. Only with `postgres`.
    pub ca: Option<String>,
    /// The certificate, in PEM, that the instance shows to the database. Needs `key`. Only with `postgres`.
    pub cert: Option<String>,
    /// The private key of `cert`, in PEM. Only with `postgres`.
    pub key: Option<String>,
    /// Like `url`, but directly to the database, if `url` leads through a pooler in transaction mode, which does not
    /// pass on what wakes the instances. Only with `postgres`.
    pub listen_url: Option<String>,
    /// How long ended purges are kept for `origin-shim purges`; at least 1d.
    pub retention: DurationText,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            url: "sqlite:origin-shim.db".to_owned(),
            password: None,
            ca: None,
            cert: None,
            key: None,
            listen_url: None,
            retention: "14d".into(),
        }
    }
}

/// The fleet: the instances that share a PostgreSQL database.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Fleet {
    /// The name of this instance, which is unique in the fleet and stays the same when it is started again, or
    /// `env:NAME`: the name is the content of an environment variable. Default: the host's name and a random part.
    pub instance: Option<String>,
    /// How long an instance takes part without renewing this, which it does every second; 3s to 1m. An instance that
    /// cannot renew it gives short lifetimes.
    pub lease: DurationText,
    /// How long the first call of a purge to a CDN may wait for other instances to learn of the purge. If this is not
    /// enough, what they had on its way is purged once more later.
    pub barrier_wait: DurationText,
}

impl Default for Fleet {
    fn default() -> Self {
        Self { instance: None, lease: "5s".into(), barrier_wait: "100ms".into() }
    }
}

/// Returns the JSON Schema of the file. Draft 7 has the best support in editors. All subschemas are inline, so that
/// code can walk it without resolving references.
pub fn schema() -> Schema {
    SchemaSettings::draft07()
        .with(|settings| settings.inline_subschemas = true)
        .with_transform(RecursiveTransform(without_null))
        .with_transform(RecursiveTransform(unwrap_description))
        .into_generator()
        .into_root_schema_for::<File>()
}

/// Removes null from a schema. An `Option` is a key that may be absent, because TOML has no null.
fn without_null(schema: &mut Schema) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|choice| choice["type"] != "null");
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            schema.remove("anyOf");
            for (key, value) in only {
                schema.ensure_object().entry(key).or_insert(value);
            }
        }
    }
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
}

/// Joins the lines of a description, because the line breaks of doc comments have no meaning.
fn unwrap_description(schema: &mut Schema) {
    if let Some(Value::String(description)) = schema.get_mut("description") {
        *description = description.replace('\n', " ");
    }
}
