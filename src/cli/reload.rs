//! `origin-shim reload`: makes the running shim read its configuration again.

use super::client::{AdminArgs, Client};
use crate::admin::reload::{ChangeKind, Reloaded};
use crate::terminal::{self, line};
use serde_json::json;
use std::process::ExitCode;

/// Reload the configuration of the running shim: all of it, or nothing if anything is invalid
#[derive(Debug, Clone, clap::Args)]
pub struct ReloadArgs {
    #[command(flatten)]
    admin: AdminArgs,

    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// Print the answer of the admin API unchanged
    #[arg(long)]
    pub json: bool,
}

/// Runs the command. The exit code is 1 if the configuration was refused.
pub async fn run(args: ReloadArgs) -> anyhow::Result<ExitCode> {
    let client = Client::from_env(&args.admin)?;
    let body = json!({ "dry_run": args.dry_run }).to_string();
    let answer = client.post(&["v1", "reload"], body, None).await?;
    if args.json {
        terminal::print_json(&format!("{}\n", answer.body))?;
    } else {
        terminal::print(&describe(&answer.json()?, args.dry_run))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(reloaded: &Reloaded, dry_run: bool) -> String {
    let head =
        if dry_run { "nothing was reloaded; this would change:\n" } else { "reloaded; this changed:\n" };
    let change = |change: &crate::admin::reload::Change| {
        let word = match change.change {
            ChangeKind::Added => "added",
            ChangeKind::Changed => "changed",
            ChangeKind::Removed => "removed",
        };
        format!("  {word:<8} {}\n", line(&change.key))
    };
    let mut text = head.to_owned();
    match reloaded.changes.as_slice() {
        [] => text.push_str("  nothing\n"),
        changes => text.extend(changes.iter().map(change)),
    }
    text.extend(reloaded.restart_needed.iter().map(|key| format!("note: {} needs a restart\n", line(key))));
    text.extend(reloaded.warnings.iter().map(|warning| format!("warning: {}\n", line(warning))));
    text
}
