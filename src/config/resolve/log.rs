//! `[log]`

use crate::config::Log;
use crate::config::at::At;
use crate::config::file::log as file;
use tracing_subscriber::EnvFilter;

pub(super) fn resolve(file: &file::Log, at: &At<'_>) -> Log {
    if file.filter.trim().is_empty() {
        at.key("filter").error("is empty; the level `error` logs least");
    } else if let Err(error) = EnvFilter::try_new(&file.filter) {
        at.key("filter").error(format!("is not a log filter: {error}"));
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
