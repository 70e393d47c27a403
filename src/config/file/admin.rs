//! `[admin]`

use crate::config::Scope;
use crate::config::secret::SecretRef;
use schemars::JsonSchema;
use serde::Deserialize;

/// The admin API: its listener and who may call it.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// `IP:PORT`. Plain HTTP: keep it on loopback or a private network, since the tokens travel over it.
    pub listen: String,
    /// Names under which it is reached, without port: requests whose `Host` is neither one of them nor an IP address nor
    /// `localhost` get 421, or any web page could read it by a name of its own that leads here (DNS rebinding).
    #[schemars(example = ["shim-admin.example.com"])]
    pub hosts: Vec<String>,
    /// Who may call. Without a token only `/healthz`, `/readyz`, `/metrics`, and the pages `/` and `/v1/openapi.json` answer.
    pub tokens: Vec<Token>,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: "127.0.0.1:9180".to_owned(), hosts: Vec::new(), tokens: Vec::new() }
    }
}

/// One caller, known by its bearer token.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Names the caller in logs and in the audit line; letters a to z, digits, `.`, `_` and `-`, at most 64.
    #[schemars(regex(pattern = "^[a-z0-9._-]{1,64}$"), example = &"cms")]
    pub name: String,
    /// The bearer token, a secret of at least 16 characters.
    #[schemars(example = &"env:ORIGIN_SHIM_TOKEN")]
    pub token: SecretRef,
    /// What the caller may do: `read` (purges, sites and health), `purge` (items of a site), `purge-everything`,
    /// `operate` (pause, resume, retry, acknowledge, cancel, reload). At least one.
    #[schemars(length(min = 1))]
    pub scopes: Vec<Scope>,
    /// Names of the sites that the caller may touch; at least one. Absent: all.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub sites: Option<Vec<String>>,
}
