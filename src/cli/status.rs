//! `origin-shim status`: whether the running shim works, and what fails.

use super::client::{AdminArgs, Client};
use super::purges::table;
use crate::terminal::{self, line};
use serde::Deserialize;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Show whether the running shim works: its state, what fails, and the health of each CDN
#[derive(Debug, Clone, clap::Args)]
pub struct StatusArgs {
    #[command(flatten)]
    admin: AdminArgs,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Deserialize)]
struct Ready {
    status: String,
    degraded: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Site {
    name: String,
    mode: String,
    cdns: Vec<Cdn>,
}

#[derive(Debug, Deserialize)]
struct Cdn {
    name: String,
    healthy: bool,
    pending: Option<u64>,
    oldest_pending_seconds: Option<i64>,
    paused: Option<bool>,
}

/// Runs the command. The exit code is 1 if anything fails.
pub async fn run(args: StatusArgs) -> anyhow::Result<ExitCode> {
    let client = Client::from_env(&args.admin)?;
    let answer = client.get(&["readyz"], &[]).await?;
    let ready: Ready = answer.json()?;
    if args.json {
        let found = json!({ "ready": answer.json::<Value>()?, "sites": client.sites::<Value>().await? });
        terminal::print_json(&format!("{found}\n"))?;
    } else {
        terminal::print(&describe(&ready, &client.sites::<Site>().await?))?;
    }
    let good = ready.degraded.is_empty();
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn describe(ready: &Ready, sites: &[Site]) -> String {
    let mut text = format!("shim: {}\n", line(&ready.status));
    text.extend(ready.degraded.iter().map(|what| format!("fails: {}\n", line(what))));
    let rows = sites.iter().flat_map(|site| {
        site.cdns.iter().map(move |cdn| {
            let number = |number: Option<String>| number.unwrap_or_else(|| "?".to_owned());
            let state = match (cdn.paused, cdn.healthy) {
                (Some(true), _) => "paused",
                (_, true) => "healthy",
                (_, false) => "unhealthy",
            };
            vec![
                format!("{}/{}", site.name, cdn.name),
                site.mode.clone(),
                state.to_owned(),
                number(cdn.pending.map(|pending| pending.to_string())),
                cdn.oldest_pending_seconds.map_or_else(|| "-".to_owned(), |age| format!("{age} s")),
            ]
        })
    });
    text.push_str(&table(&["CDN", "MODE", "STATE", "PENDING", "OLDEST"], rows));
    text
}
