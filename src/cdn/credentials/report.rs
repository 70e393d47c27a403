//! The report on a CDN's credentials.

use schemars::JsonSchema;
use serde::Serialize;

/// The result of a check of a CDN's credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CredentialReport {
    /// Whether purges get through with these credentials.
    pub usable: Usable,
    /// The owner of the credentials, if the CDN reports it.
    pub identity: Option<String>,
    /// The findings, the worst first.
    pub findings: Vec<Finding>,
}

/// Whether purges get through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Usable {
    /// Purges get through, which is proved.
    Yes,
    /// Purges do not get through.
    No,
    /// No problem was found, but only a purge can prove that purges get through.
    Unproved,
}

/// One finding of the check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    /// The severity of the finding.
    pub level: Level,
    /// The finding in one sentence, without secrets.
    pub text: String,
    /// The recommended action.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Purges do not get through.
    Error,
    /// Purges get through now, but some will not, or not for long.
    Warning,
    /// A fact worth knowing.
    Note,
    /// The item is as it should be.
    Ok,
}
