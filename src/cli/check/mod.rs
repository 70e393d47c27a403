//! `origin-shim check`: checks that the configuration and its certificates are valid, and on request that the
//! CDNs' credentials are valid and that the whole chain works.

mod certificates;
mod credentials;
mod edge;
mod pending;
mod summary;

use crate::cli::config_path::ConfigPath;
use crate::cli::runtime::block_on;
use crate::config;
use crate::terminal;
use std::process::ExitCode;
use summary::Summary;

/// Check the configuration and print a summary of it; with --credentials or --edge, check more than that
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Check each CDN's credentials: owner, rights, expiry, and what is missing
    #[arg(long)]
    credentials: bool,

    /// With --credentials: also purge something that does not exist, which proves the right to purge
    #[arg(long, requires = "credentials")]
    probe: bool,

    #[command(flatten)]
    edge: edge::EdgeArgs,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the results; the exit code is 0 if all checks succeed. An invalid configuration is returned as an
/// error.
pub fn run(args: &CheckArgs, config: &ConfigPath) -> anyhow::Result<ExitCode> {
    let mut good = true;
    let mut found = serde_json::Map::new();
    // The edge is checked through the admin API, for which no configuration is needed here.
    if args.credentials || args.edge.url.is_none() {
        let path = config.get()?;
        let loaded = config::load(path)?;
        let now_s = jiff::Timestamp::now().as_second();
        // Clients reject an expired certificate. The shim starts all the same, because it may have other
        // listeners.
        good &= !loaded.expiries.iter().any(|expiry| expiry.is_over(now_s));
        if args.json {
            let files = certificates::files(&loaded.expiries, now_s);
            found.insert("certificates".to_owned(), serde_json::to_value(files)?);
        } else {
            let verdict = if good { "is valid" } else { "is valid, except for an expired certificate" };
            terminal::print(&format!("{} {verdict}\n\n", path.display()))?;
            terminal::print(&certificates::describe(&loaded.expiries, now_s))?;
        }
        if args.credentials {
            let checked = block_on(credentials::check(&loaded.config, args.probe, !args.json))??;
            good &= checked.usable;
            found.insert("credentials".to_owned(), serde_json::to_value(checked)?);
        } else if args.json {
            let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
            found.insert("warnings".to_owned(), warnings.into());
            found.insert("pending".to_owned(), pending::moves(&loaded.config).into());
        } else {
            terminal::print(&Summary(&loaded).to_string())?;
            pending::moves(&loaded.config)
                .iter()
                .try_for_each(|moved| terminal::print(&format!("\npending   {moved}\n")))?;
        }
    }
    if let Some(url) = &args.edge.url {
        let checked = block_on(edge::check(url, &args.edge))??;
        if !args.json {
            terminal::print(&checked.to_string())?;
        }
        good &= checked.proved;
        found.insert("edge".to_owned(), serde_json::to_value(checked)?);
    }
    if args.json {
        terminal::print_json(&format!("{}\n", serde_json::to_string_pretty(&found)?))?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
