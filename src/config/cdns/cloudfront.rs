//! Amazon CloudFront.

use super::settings::{Account, Keys, Settings};
use crate::config::file::cdn as file;
use crate::config::secret::Secret;

/// One CloudFront distribution.
#[derive(Clone, Debug, PartialEq)]
pub struct Cloudfront {
    /// ID of the distribution.
    pub distribution_id: String,
    /// Access key ID for SigV4.
    pub access_key_id: String,
    /// Secret access key for SigV4.
    pub secret_access_key: Secret,
    /// Session token of temporary credentials.
    pub session_token: Option<Secret>,
    /// Base URL of the API, without a trailing slash.
    pub api_url: String,
}

impl Settings for Cloudfront {
    fn resolve(keys: Keys<'_, '_>) -> Self {
        let file = keys.file;
        Self {
            distribution_id: keys.id("distribution_id", &file.distribution_id),
            access_key_id: keys.id("access_key_id", &file.access_key_id),
            secret_access_key: keys.required("secret_access_key", &file.secret_access_key),
            session_token: keys.secret("session_token", &file.session_token),
            api_url: keys.api_url(|| "https://cloudfront.amazonaws.com".to_owned()),
        }
    }

    fn account(file: &file::Cdn) -> Account {
        Account::Service(file.distribution_id.clone())
    }

    fn services(&self) -> Vec<String> {
        vec![self.distribution_id.clone()]
    }
}
