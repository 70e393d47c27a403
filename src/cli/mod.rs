//! The command line: one file per subcommand, named in [`Command`] and run in [`Command::run`].
//!
//! Exit codes: 0 success; 1 failure; 2 wrong usage; 78 (`EX_CONFIG` of sysexits.h) invalid configuration.

mod check;
mod client;
mod completions;
mod config_path;
mod demo;
mod explain;
pub mod import;
mod items;
mod man;
mod pause;
mod plan;
mod probe;
mod purge;
mod purges;
mod reload;
mod runtime;
mod schema;
mod serve;
mod status;
pub mod systemd;
mod top;

use crate::config::ConfigError;
use crate::terminal;
use clap::{CommandFactory, Parser, Subcommand};
use config_path::{ConfigPath, EX_CONFIG, NoConfig};
use runtime::block_on;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;

/// The version, with the commit if `build.rs` knew it.
static VERSION: LazyLock<String> = LazyLock::new(|| match option_env!("ORIGIN_SHIM_COMMIT") {
    Some(commit) if !commit.is_empty() => format!("{} ({commit})", env!("CARGO_PKG_VERSION")),
    _ => env!("CARGO_PKG_VERSION").to_owned(),
});

/// The reverse proxy between a CDN and an origin that makes long cache lifetimes safe
#[derive(Debug, Parser)]
#[command(name = "origin-shim", version = VERSION.as_str())]
struct Cli {
    /// The configuration file [default: origin-shim.toml in the current directory]
    #[arg(long, global = true, env = "ORIGIN_SHIM_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(after_help = "Example:\n  origin-shim serve --config /etc/origin-shim/origin-shim.toml")]
    Serve(serve::ServeArgs),
    #[command(
        after_help = "Examples:\n  origin-shim check\n  origin-shim check --credentials --probe\n  origin-shim check --edge https://www.example.com/"
    )]
    Check(check::CheckArgs),
    #[command(after_help = "Example:\n  origin-shim explain https://www.example.com/page --fetch")]
    Explain(explain::ExplainArgs),
    #[command(
        after_help = "Examples:\n  origin-shim purge /blog/first --wait\n  origin-shim purge --tag product-42 --site www\n  origin-shim purge --everything --dry-run"
    )]
    Purge(purge::PurgeArgs),
    #[command(after_help = "Examples:\n  origin-shim purges --state failed\n  origin-shim purges ID")]
    Purges(purges::PurgesArgs),
    #[command(after_help = "Example:\n  origin-shim pause edge --site www --reason incident")]
    Pause(pause::PauseArgs),
    #[command(after_help = "Example:\n  origin-shim resume edge --site www --now")]
    Resume(pause::ResumeArgs),
    #[command(after_help = "Example:\n  origin-shim retry ID")]
    Retry(purges::RetryArgs),
    #[command(after_help = "Examples:\n  origin-shim reload --dry-run\n  origin-shim reload")]
    Reload(reload::ReloadArgs),
    #[command(after_help = "Example:\n  origin-shim status || echo \"something fails\"")]
    Status(status::StatusArgs),
    #[command(after_help = "Example:\n  origin-shim top")]
    Top(top::TopArgs),
    #[command(after_help = "Example:\n  origin-shim demo")]
    Demo(crate::demo::Options),
    #[command(after_help = "Example:\n  origin-shim import aem cdn.json --origin https://origin.example.com")]
    Import(import::ImportArgs),
    #[command(after_help = "Example:\n  origin-shim schema > schema.json")]
    Schema(schema::SchemaArgs),
    #[command(after_help = "Example:\n  origin-shim completions bash > /etc/bash_completion.d/origin-shim")]
    Completions(completions::CompletionsArgs),
    #[command(hide = true)]
    Man(man::ManArgs),
}

impl Command {
    /// Whether the output is JSON, and so its errors, too.
    fn is_json(&self) -> bool {
        match self {
            Self::Check(args) => args.json,
            Self::Purge(args) => args.json,
            Self::Purges(args) => args.json,
            Self::Retry(args) => args.json,
            Self::Reload(args) => args.json,
            Self::Status(args) => args.json,
            _ => false,
        }
    }

    fn run(self, config: &ConfigPath) -> anyhow::Result<ExitCode> {
        match self {
            Self::Serve(args) => serve::run(&args, config.get()?),
            Self::Check(args) => check::run(&args, config),
            Self::Explain(args) => explain::run(&args, config.get()?),
            Self::Purge(args) => block_on(purge::run(args))?,
            Self::Purges(args) => block_on(purges::run(args))?,
            Self::Pause(args) => block_on(pause::pause(args))?,
            Self::Resume(args) => block_on(pause::resume(args))?,
            Self::Retry(args) => block_on(purges::retry(args))?,
            Self::Reload(args) => block_on(reload::run(args))?,
            Self::Status(args) => block_on(status::run(args))?,
            Self::Top(args) => block_on(top::run(args))?,
            Self::Demo(options) => demo::run(options),
            Self::Import(args) => import::run(args),
            Self::Schema(args) => schema::run(&args),
            Self::Completions(args) => completions::run(&args, &mut Cli::command()),
            Self::Man(args) => man::run(&args, Cli::command()),
        }
    }
}

/// Runs the command of the arguments and returns the exit code.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let command = cli.command.unwrap_or_else(|| Command::Serve(serve::ServeArgs::default()));
    let is_json = command.is_json();
    let ended = command.run(&ConfigPath(cli.config));
    crate::telemetry::flush();
    ended.unwrap_or_else(|error| {
        if is_json {
            // There is no better place to report that stdout is closed.
            let _ = terminal::print_json(&format!("{}\n", as_json(&error)));
        } else {
            terminal::print_aside(&describe(&error));
        }
        ExitCode::from(exit_code(&error))
    })
}

/// Describes the error and each of its causes.
fn describe(error: &anyhow::Error) -> String {
    let causes = error.chain().skip(1).map(|cause| format!("  caused by: {cause}\n"));
    format!("error: {error}\n{}", causes.collect::<String>())
}

/// Returns the admin API's own answer if it refused the call, else the error and its causes.
fn as_json(error: &anyhow::Error) -> serde_json::Value {
    let refused = error.chain().find_map(|cause| cause.downcast_ref::<client::Refused>()?.json());
    let causes = || error.chain().skip(1).map(ToString::to_string).collect::<Vec<_>>();
    refused.unwrap_or_else(|| serde_json::json!({ "title": error.to_string(), "causes": causes() }))
}

fn exit_code(error: &anyhow::Error) -> u8 {
    let is_config = error.chain().any(|cause| cause.is::<ConfigError>() || cause.is::<NoConfig>());
    if is_config { EX_CONFIG } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;
    use std::path::Path;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_error_shows_its_causes_once_and_decides_the_exit_code() {
        let error =
            Err::<(), _>(std::io::Error::other("the disk is gone")).context("cannot write").unwrap_err();
        assert_eq!(describe(&error), "error: cannot write\n  caused by: the disk is gone\n");
        assert_eq!(exit_code(&error), 1);

        let path = Path::new("/nowhere/shim.toml");
        let error = anyhow::Error::from(crate::config::load(path).unwrap_err()).context("reload");
        assert_eq!(
            describe(&error),
            "error: reload\n  caused by: cannot read the configuration /nowhere/shim.toml\n  caused by: No such file or directory (os error 2)\n"
        );
        assert_eq!(exit_code(&error), 78);
        assert_eq!(exit_code(&NoConfig.into()), 78);
    }
}
