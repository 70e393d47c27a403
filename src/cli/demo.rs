//! `origin-shim demo`: see [`crate::demo`].

use crate::config::LogFormat;
use crate::demo::{self, Options};
use crate::telemetry;
use std::process::ExitCode;

/// Runs the demo.
pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    // The demo describes its purges itself.
    telemetry::init(LogFormat::Text, "warn,audit=off")?;
    demo::run(options)?;
    Ok(ExitCode::SUCCESS)
}
