//! `[log]`

use crate::config::{self as resolved, Access, LogFormat};
use schemars::JsonSchema;
use serde::Deserialize;

/// What is written to stderr. The environment variables `ORIGIN_SHIM_LOG_FORMAT` and `ORIGIN_SHIM_LOG` override `format`
/// and `filter`.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `text`, for people, or `json`, one object a line.
    pub format: LogFormat,
    /// What is logged: a level (`error`, `warn`, `info`, `debug`, `trace`), or levels by part, such as
    /// `warn,origin_shim::delivery=debug`. The targets `audit` and `access` are not concerned unless it names them. One that
    /// would silence errors or `audit` is refused.
    #[schemars(example = &"warn,origin_shim::delivery=debug")]
    pub filter: String,
    /// One line a request, with its query left out: `off`, `errors` (answers of 500 and above), or `all`.
    pub access: Access,
    /// With `access = "all"`, the share of the requests that is logged, 0.0 to 1.0; errors always are.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub access_sample: f64,
}

impl Default for Log {
    fn default() -> Self {
        let resolved::Log { format, filter, access, access_sample } = resolved::Log::default();
        Self { format, filter, access, access_sample }
    }
}
