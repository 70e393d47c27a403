//! Cloudflare.

use super::settings::{Account, Keys, Settings};
use crate::config::file::cdn::{self as file, CloudflarePlan, SurgicalPurge};
use crate::config::secret::Secret;

/// One Cloudflare zone.
#[derive(Clone, Debug, PartialEq)]
pub struct Cloudflare {
    /// ID of the zone.
    pub zone_id: String,
    /// An API token.
    pub api_token: Secret,
    /// The plan, which decides rates and batch sizes.
    pub plan: CloudflarePlan,
    /// Whether every purge below the Enterprise plan purges everything, as the original service documents it.
    pub enterprise_only: bool,
    /// Base URL of the API, without a trailing slash.
    pub api_url: String,
}

impl Settings for Cloudflare {
    fn resolve(keys: Keys<'_, '_>) -> Self {
        let file = keys.file;
        Self {
            zone_id: keys.id("zone_id", &file.zone_id),
            api_token: keys.required("api_token", &file.api_token),
            plan: file.plan.unwrap_or_default(),
            enterprise_only: file.surgical_purge == Some(SurgicalPurge::EnterpriseOnly),
            api_url: keys.api_url(|| "https://api.cloudflare.com/client/v4".to_owned()),
        }
    }

    fn account(file: &file::Cdn) -> Account {
        Account::Credential(file.api_token.clone())
    }

    fn services(&self) -> Vec<String> {
        vec![self.zone_id.clone()]
    }

    /// Implements the original service's rule: with `surgical_purge = "enterprise-only"` and a lesser plan, every
    /// purge is one of everything.
    fn always_everything(&self) -> Option<&'static str> {
        (self.enterprise_only && self.plan != CloudflarePlan::Enterprise)
            .then_some("surgical_purge is \"enterprise-only\" and the plan is not: everything is purged")
    }
}
