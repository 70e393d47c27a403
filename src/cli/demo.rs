//! `origin-shim demo`: see [`crate::demo`].

use crate::demo::{self, Options};
use crate::telemetry;
use std::process::ExitCode;

/// Runs the demo.
pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    telemetry::init("warn")?;
    demo::run(options)?;
    Ok(ExitCode::SUCCESS)
}
