//! Fastly.

use super::settings::{Account, Keys, Settings};
use crate::config::file::cdn as file;
use crate::config::secret::Secret;

/// One Fastly service.
#[derive(Clone, Debug, PartialEq)]
pub struct Fastly {
    /// ID of the service.
    pub service_id: String,
    /// An API token.
    pub auth_token: Secret,
    /// Base URL of the API, without a trailing slash.
    pub api_url: String,
}

impl Settings for Fastly {
    fn resolve(keys: Keys<'_, '_>) -> Self {
        let file = keys.file;
        Self {
            service_id: keys.id("service_id", &file.service_id),
            auth_token: keys.required("auth_token", &file.auth_token),
            api_url: keys.api_url(|| "https://api.fastly.com".to_owned()),
        }
    }

    fn account(file: &file::Cdn) -> Account {
        Account::Credential(file.auth_token.clone())
    }

    fn services(&self) -> Vec<String> {
        vec![self.service_id.clone()]
    }
}
