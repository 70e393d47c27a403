//! `origin-shim pause` and `origin-shim resume`: stop and restart sending purges to a CDN.

use super::client::{AdminArgs, Client};
use super::purge::only_site;
use crate::terminal::{self, line};
use serde::Deserialize;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Stop sending purges to a CDN: they wait, and its responses get short lifetimes
#[derive(Debug, Clone, clap::Args)]
pub struct PauseArgs {
    #[command(flatten)]
    which: Which,

    /// The reason, shown to others
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Send purges to a CDN again
#[derive(Debug, Clone, clap::Args)]
pub struct ResumeArgs {
    #[command(flatten)]
    which: Which,

    /// Also retry at once the calls that wait for another attempt
    #[arg(long)]
    now: bool,
}

/// The CDN to pause or resume (the token needs the scope `operate`).
#[derive(Debug, Clone, clap::Args)]
struct Which {
    #[command(flatten)]
    admin: AdminArgs,

    /// The CDN's name
    cdn: String,

    /// The CDN's site; not needed if the token sees only one
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
}

/// The state of the CDN afterwards.
#[derive(Debug, Deserialize)]
struct Cdn {
    healthy: bool,
    reasons: Vec<String>,
    pending: u64,
    paused: bool,
}

/// Runs `pause`.
pub async fn pause(args: PauseArgs) -> anyhow::Result<ExitCode> {
    act(&args.which, "pause", &json!({ "reason": args.reason })).await
}

/// Runs `resume`.
pub async fn resume(args: ResumeArgs) -> anyhow::Result<ExitCode> {
    act(&args.which, "resume", &json!({ "now": args.now })).await
}

async fn act(which: &Which, what: &str, body: &Value) -> anyhow::Result<ExitCode> {
    let client = Client::from_env(&which.admin)?;
    let site = match &which.site {
        Some(site) => site.clone(),
        None => only_site(&client).await?,
    };
    let path = ["v1", "sites", &site, "cdns", &which.cdn, what];
    let cdn: Cdn = client.post(&path, body.to_string(), None).await?.json()?;
    let sent = if cdn.paused { "nothing is sent" } else { "purges are sent" };
    let health = if cdn.healthy { "healthy".to_owned() } else { line(&cdn.reasons.join("; ")) };
    let (site, name, pending) = (line(&site), line(&which.cdn), cdn.pending);
    terminal::print(&format!("{site}/{name}: {sent}; pending: {pending}; health: {health}\n"))?;
    Ok(ExitCode::SUCCESS)
}
