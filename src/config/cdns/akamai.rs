//! Akamai Fast Purge.

use super::settings::{Account, Keys, Lack, Settings};
use crate::config::file::cdn::{self as file, AkamaiNetwork};
use crate::config::resolve::host;
use crate::config::secret::Secret;

/// One Fast Purge API client, and what it purges.
#[derive(Clone, Debug, PartialEq)]
pub struct Akamai {
    /// Base URL of the API client's host, without a trailing slash.
    pub api_url: String,
    /// EdgeGrid client token.
    pub client_token: Secret,
    /// EdgeGrid client secret.
    pub client_secret: Secret,
    /// EdgeGrid access token.
    pub access_token: Secret,
    /// `production` or `staging`.
    pub network: AkamaiNetwork,
    /// CP codes that `everything = "cdn"` purges.
    pub cp_codes: Vec<u64>,
}

/// The lack of CP codes. Akamai has no purge-all, so CP codes stand in for it.
pub const NO_CP_CODES: Lack =
    Lack { key: "cp_codes", what: "CP codes", why: "Akamai purges everything by CP code" };

impl Settings for Akamai {
    fn resolve(keys: Keys<'_, '_>) -> Self {
        let file = keys.file;
        let endpoint = endpoint(keys);
        Self {
            client_token: keys.required("client_token", &file.client_token),
            client_secret: keys.required("client_secret", &file.client_secret),
            access_token: keys.required("access_token", &file.access_token),
            network: file.network.unwrap_or_default(),
            cp_codes: cp_codes(keys),
            api_url: keys.api_url(|| endpoint),
        }
    }

    fn account(file: &file::Cdn) -> Account {
        Account::Credential(file.client_token.clone())
    }

    fn services(&self) -> Vec<String> {
        self.cp_codes.iter().map(u64::to_string).collect()
    }

    fn lacks_for_everything(&self) -> Option<Lack> {
        self.cp_codes.is_empty().then_some(NO_CP_CODES)
    }
}

fn endpoint(keys: Keys<'_, '_>) -> String {
    let at = keys.at.key("endpoint");
    let Some(endpoint) = &keys.file.endpoint else {
        if keys.file.api_url.is_none() {
            at.error("is required for type = \"akamai\" where `api_url` is absent");
        }
        return String::new();
    };
    format!("https://{}", at.ok(host::exact(endpoint)).unwrap_or_default())
}

fn cp_codes(keys: Keys<'_, '_>) -> Vec<u64> {
    let codes = keys.file.cp_codes.clone().unwrap_or_default();
    for (at, _) in keys.at.key("cp_codes").each(&codes).filter(|(_, code)| **code == 0) {
        at.error("must be a CP code, which is more than 0");
    }
    codes
}
