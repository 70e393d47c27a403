//! `origin-shim man`: writes the manual pages, for packages.

use anyhow::Context;
use clap::Command;
use std::path::PathBuf;
use std::process::ExitCode;

/// Write the manual pages of all commands into a directory
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// The directory, which must exist
    dir: PathBuf,
}

/// Writes the pages of `program` and of each of its subcommands.
pub fn run(args: &ManArgs, program: Command) -> anyhow::Result<ExitCode> {
    clap_mangen::generate_to(program, &args.dir)
        .with_context(|| format!("cannot write to {}", args.dir.display()))?;
    Ok(ExitCode::SUCCESS)
}
