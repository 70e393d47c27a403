//! The `[log]` table.

use crate::config::Log;
use crate::config::at::At;
use crate::config::file::log as file;
use crate::config::log_filter::{self, LogFilterError};

pub(super) fn resolve(file: &file::Log, at: &At<'_>) -> Log {
    match log_filter::check(&file.filter) {
        Err(LogFilterError::Syntax(error)) => {
            at.key("filter").error(format!("is not a log filter: {error}"));
        }
        Err(error) => at.key("filter").error(error.to_string()),
        Ok(()) => {}
    }
    for target in log_filter::doubtful(&file.filter) {
        at.key("filter")
            .warn(format!("`{target}` is not a part of this program: only a library could log under it"));
    }
    if !(0.0..=1.0).contains(&file.access_sample) {
        at.key("access_sample").error("must be from 0.0 to 1.0");
    }
    Log {
        format: file.format,
        filter: file.filter.clone(),
        access: file.access,
        access_sample: file.access_sample,
    }
}
