//! Reloads of the configuration and the certificates: who makes them, and what they result in.

use super::json::rfc3339;
use super::problem::BadItem;
use crate::guard::wall_ms;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::pin::Pin;

/// Reloads the configuration and puts it into effect, or changes nothing.
pub trait Reload: Send + Sync {
    /// Returns what changed, or what is invalid.
    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<Reloaded, NotReloaded>> + Send + '_>>;

    /// Returns what a reload would change, and changes nothing.
    fn compare(&self) -> Pin<Box<dyn Future<Output = Result<Reloaded, NotReloaded>> + Send + '_>>;
}

/// Options of a reload.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "an object with options for the reload")]
pub struct ReloadRequest {
    /// Whether to answer only with what a reload would change: nothing takes effect.
    pub dry_run: bool,
}

/// The result of a reload. It shows keys only, because their values may be secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reloaded {
    /// The keys that changed, in the order of their names.
    pub changes: Vec<Change>,
    /// Keys that differ from those at the start of the process, and that take effect only after a restart.
    pub restart_needed: Vec<String>,
    /// Warnings about doubtful settings.
    pub warnings: Vec<String>,
}

/// A key that changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// The key, such as `sites.www.cache.edge_ttl`. List entries with a name appear by name, others by number,
    /// from 0.
    pub key: String,
    /// How the key changed.
    pub change: ChangeKind,
}

/// How a key changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// The key is new.
    Added,
    /// The key has another value.
    Changed,
    /// The key is gone.
    Removed,
}

/// The reason why nothing changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotReloaded {
    /// A description, as a sentence.
    pub detail: String,
    /// Each problem with its place.
    pub problems: Vec<BadItem>,
}

/// `event: reload`: the configuration was reloaded, or could not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReloadEvent {
    /// Whether the new configuration took effect; if not, the previous one stays in effect.
    pub accepted: bool,
    /// The changes, if the configuration was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reloaded: Option<Reloaded>,
    /// The problems, if the configuration was not accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// When the reload ended, RFC 3339.
    pub at: String,
}

impl ReloadEvent {
    /// Returns the event of a reload.
    pub fn of(result: &Result<Reloaded, NotReloaded>) -> Self {
        let at = rfc3339(wall_ms());
        match result {
            Ok(reloaded) => Self { accepted: true, reloaded: Some(reloaded.clone()), detail: None, at },
            Err(error) => Self { accepted: false, reloaded: None, detail: Some(error.detail.clone()), at },
        }
    }
}
