//! `origin-shim schema`: prints the schema that editors need to complete and check the configuration.

use crate::config;
use std::process::ExitCode;

/// Print the JSON Schema of the configuration
#[derive(Debug, clap::Args)]
pub struct SchemaArgs {}

/// Prints the schema.
pub fn run(_: &SchemaArgs) -> anyhow::Result<ExitCode> {
    let schema = serde_json::to_string_pretty(&config::schema())?;
    crate::terminal::print_own(&(schema + "\n"))?;
    Ok(ExitCode::SUCCESS)
}
