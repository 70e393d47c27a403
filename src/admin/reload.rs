//! `POST /v1/reload`: the configuration and the certificates are read again, as by SIGHUP.

use super::auth::Caller;
use super::problem::{BadItem, Kind, Problem};
use super::{Peer, State, audit};
use axum::extract;
use axum::response::Json;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Reads the configuration again and makes it count, or changes nothing.
pub trait Reload: Send + Sync {
    /// What changed, or what is wrong.
    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<Reloaded, NotReloaded>> + Send + '_>>;
}

/// What a reload changed. Keys only: their values may be secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reloaded {
    /// What differs from before, in the order of the names.
    pub changes: Vec<Change>,
    /// Keys that differ from what the process was started with, and that only a restart makes count.
    pub restart_needed: Vec<String>,
    /// What deserves a second look.
    pub warnings: Vec<String>,
}

/// A key that differs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// Such as `sites.www.cache.edge_ttl`; what has a name is named, what has none is counted from 0.
    pub key: String,
    /// How.
    pub change: ChangeKind,
}

/// How a key differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It has another value.
    Changed,
    /// It is gone.
    Removed,
}

/// Why nothing changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotReloaded {
    /// A sentence.
    pub detail: String,
    /// Each thing that is wrong: where, and what.
    pub problems: Vec<BadItem>,
}

/// `event: reload`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReloadEvent {
    /// Whether the new configuration counts; if not, the last good one stays.
    pub accepted: bool,
    /// What changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reloaded: Option<Reloaded>,
    /// What is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// RFC 3339.
    pub at: String,
}

impl ReloadEvent {
    /// The event of a reload.
    pub fn of(result: &Result<Reloaded, NotReloaded>) -> Self {
        let at = super::json::rfc3339(crate::guard::wall_ms());
        match result {
            Ok(reloaded) => Self { accepted: true, reloaded: Some(reloaded.clone()), detail: None, at },
            Err(error) => Self { accepted: false, reloaded: None, detail: Some(error.detail.clone()), at },
        }
    }
}

/// `POST /v1/reload`
pub(super) async fn reload(
    extract::State(state): extract::State<Arc<State>>,
    extract::Extension(caller): extract::Extension<Caller>,
    extract::Extension(Peer(peer)): extract::Extension<Peer>,
) -> Result<Json<Reloaded>, Problem> {
    if caller.limited_to().is_some() {
        let detail = format!("Token `{}` is for some sites only; a reload concerns all.", caller.name());
        return Err(Problem::new(Kind::Forbidden, detail));
    }
    let place = audit::place().await?;
    match state.reload.reload().await {
        Ok(reloaded) => {
            audit::changed(place, (&caller, peer), "", "", "configuration reloaded");
            Ok(Json(reloaded))
        }
        Err(error) => Err(Problem::new(Kind::Configuration, error.detail).with_errors(error.problems)),
    }
}
