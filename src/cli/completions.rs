//! `origin-shim completions`: prints a script for the user's shell.

use clap::Command;
use clap_complete::Shell;
use std::process::ExitCode;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell to complete for
    shell: Shell,
}

/// Prints the script for `program`.
pub fn run(args: &CompletionsArgs, program: &mut Command) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, program, "origin-shim", &mut script);
    crate::terminal::print_own(&String::from_utf8(script)?)?;
    Ok(ExitCode::SUCCESS)
}
