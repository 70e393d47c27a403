//! The `[log]` table.

use crate::config::{self as resolved, Access, LogFormat};
use schemars::JsonSchema;
use serde::Deserialize;

/// The log, which is written to stderr. The environment variables `ORIGIN_SHIM_LOG_FORMAT` and `ORIGIN_SHIM_LOG`
/// override `format` and `filter`.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The format of log lines: `text`, for people, or `json`, one object per line.
    pub format: LogFormat,
    /// The filter for log lines: a level (`error`, `warn`, `info`, `debug`, `trace`), or levels by part, such as
    /// `warn,origin_shim::delivery=debug`. A filter affects the targets `audit` and `access` only if it names them. A
    /// filter that would silence errors or `audit` is refused.
    #[schemars(example = &"warn,origin_shim::delivery=debug")]
    pub filter: String,
    /// The access log, one line for each request, without its query: `off`, `errors` (answers of 500 and above), or
    /// `all`.
    pub access: Access,
    /// The share of requests that are logged with `access = "all"`, 0.0 to 1.0. Errors are always logged.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub access_sample: f64,
}

impl Default for Log {
    fn default() -> Self {
        let resolved::Log { format, filter, access, access_sample } = resolved::Log::default();
        Self { format, filter, access, access_sample }
    }
}
