//! Cloudflare.

use super::settings::{Account, Keys, Settings};
use crate::config::file::cdn::{self as file, CloudflarePlan, SurgicalPurge};
use crate::config::secret::Secret;

/// One zone.
#[derive(Clone, Debug, PartialEq)]
pub struct Cloudflare {
    /// The zone.
    pub zone_id: String,
    /// An API token.
    pub api_token: Secret,
    /// Decides rates and file limits.
    pub plan: CloudflarePlan,
    /// Purge everything below Enterprise, as the original service documents it.
    pub enterprise_only: bool,
    /// Without a trailing slash.
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

    /// `surgical_purge = "enterprise-only"` with a lesser plan is the original service's rule.
    fn always_everything(&self) -> Option<&'static str> {
        (self.enterprise_only && self.plan != CloudflarePlan::Enterprise)
            .then_some("surgical_purge is \"enterprise-only\" and the plan is not: everything is purged")
    }
}
