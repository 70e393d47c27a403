//! The `[log]` table, resolved.

/// The `[log]` table.
#[derive(Clone, Debug)]
pub struct Log {
    /// The format of log lines.
    pub format: LogFormat,
    /// The filter for log lines, which is valid.
    pub filter: String,
    /// The requests with a line in the access log.
    pub access: Access,
    /// The share of requests that are logged with `access = "all"`, 0 to 1. Errors are always logged.
    pub access_sample: f64,
}

impl Default for Log {
    fn default() -> Self {
        let access = Access::default();
        Self { format: LogFormat::default(), filter: "info".to_owned(), access, access_sample: 1.0 }
    }
}

/// The values of `log.format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text for people, coloured on a terminal.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The values of `log.access`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// No requests.
    #[default]
    Off,
    /// Requests that were answered with 500 or above.
    Errors,
    /// All requests, or a share of them.
    All,
}
