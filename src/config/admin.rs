//! The `[admin]` table, resolved.

use super::secret::Secret;
use std::net::SocketAddr;

/// The `[admin]` table.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The admin listener.
    pub listen: SocketAddr,
    /// Host names of the admin API, in lower case. Addresses and `localhost` are not among them.
    pub hosts: Vec<String>,
    /// The callers and their tokens.
    pub tokens: Vec<AdminToken>,
}

/// One of the `[[admin.tokens]]`.
#[derive(Clone, Debug)]
pub struct AdminToken {
    /// The caller's name in logs and in the audit log.
    pub name: String,
    /// The bearer token.
    pub token: Secret,
    /// The scopes of the token.
    pub scopes: Vec<Scope>,
    /// The sites that the token may use; `None` for all.
    pub sites: Option<Vec<String>>,
}

/// A permission of an admin token.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Read purges, sites and health.
    Read,
    /// Purge items of a site.
    Purge,
    /// Purge everything of a site.
    PurgeEverything,
    /// Pause, resume, retry, acknowledge, cancel, reload.
    Operate,
}
