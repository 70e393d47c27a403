//! A publish event as the API takes it.

use crate::purge::{ItemError, PurgeMode};
use serde::{Deserialize, Serialize};

/// A report of what happened at the origin: the body of `POST /v1/sites/{site}/events`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, expecting = "an object that says what happened")]
pub struct Event {
    /// The name of the event: `publish`, `unpublish`, `cache`, `code`, `branch-deleted`, `config`, `metadata`,
    /// `redirects`, `sitemap`, or one that the site's rules name.
    pub event: String,
    /// The paths that the event is about; for `redirects`, the source paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// AEM, `config`: the parts of the site's configuration that changed; by default any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
    /// AEM, `config` with `code` or `content` changed: the IDs that differ from those in `[sites.aem]`, because they
    /// are old ones or not configured yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Previous>,
    /// The mode, `soft` or `hard`; by default as configured for each CDN. `unpublish` and `branch-deleted` are always
    /// hard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<PurgeMode>,
    /// Names of the site's CDNs to purge; by default all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cdns: Option<Vec<String>>,
    /// The reason for the purge, for people; by default the name of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether to answer only with what would be sent: nothing is accepted, and nothing is purged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// IDs of AEM that a site had before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Previous {
    /// The ID of the content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_bus_id: Option<String>,
    /// The owner of the code repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The code repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// The branch of the code.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub code_ref: Option<String>,
}

/// An error about this part of an event.
pub(super) fn wrong(item: impl Into<String>, message: impl Into<String>) -> ItemError {
    ItemError { item: item.into(), message: message.into() }
}
