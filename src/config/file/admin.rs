//! The `[admin]` table.

use crate::config::Scope;
use crate::config::secret::SecretRef;
use schemars::JsonSchema;
use serde::Deserialize;

/// The admin API: its listener and its callers.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// The address of the admin listener, `IP:PORT`. The API uses plain HTTP: keep it on the loopback interface or a
    /// private network, because tokens are sent over it.
    pub listen: String,
    /// Host names of the admin API, without port, in addition to IP addresses and `localhost`. Requests with any other
    /// `Host` get 421. Otherwise any web page could read the API through a name of its own that resolves to this
    /// address (DNS rebinding).
    #[schemars(example = ["shim-admin.example.com"])]
    pub hosts: Vec<String>,
    /// The callers and their tokens. Without a token only `/healthz`, `/readyz`, `/metrics`, and the pages `/` and
    /// `/v1/openapi.json` answer.
    pub tokens: Vec<Token>,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: "127.0.0.1:9180".to_owned(), hosts: Vec::new(), tokens: Vec::new() }
    }
}

/// One caller, identified by its bearer token.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// The caller's name in logs and in the audit log; letters a to z, digits, `.`, `_` and `-`, at most 64.
    #[schemars(regex(pattern = "^[a-z0-9._-]{1,64}$"), example = &"cms")]
    pub name: String,
    /// The bearer token, a secret of at least 16 characters.
    #[schemars(example = &"env:ORIGIN_SHIM_TOKEN")]
    pub token: SecretRef,
    /// The scopes of the caller: `read` (purges, sites and health), `purge` (items of a site), `purge-everything`,
    /// `operate` (pause, resume, retry, acknowledge, cancel, reload). At least one.
    #[schemars(length(min = 1))]
    pub scopes: Vec<Scope>,
    /// Names of the sites that the caller may use; at least one. Absent: all.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub sites: Option<Vec<String>>,
}
