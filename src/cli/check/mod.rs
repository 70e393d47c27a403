//! `origin-shim check`: is the configuration right, are its certificates valid, are the CDNs' credentials good, and does the whole chain work?

mod certificates;
mod credentials;
mod edge;
mod pending;
mod summary;

use super::ConfigPath;
use crate::config;
use crate::terminal;
use std::process::ExitCode;
use summary::Summary;

/// Check the configuration and say what it means; with --credentials or --edge, check more than that
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Ask every CDN what its credentials are good for, what they lack, and say what to do about it
    #[arg(long)]
    credentials: bool,

    /// With --credentials: also purge something that nobody has, which proves the permission
    #[arg(long, requires = "credentials")]
    probe: bool,

    #[command(flatten)]
    edge: edge::EdgeArgs,

    /// For machines
    #[arg(long)]
    json: bool,
}

/// Prints what was found: 0 if all of it is good. What is wrong with the configuration is an error of the caller.
pub fn run(args: &CheckArgs, config: &ConfigPath) -> anyhow::Result<ExitCode> {
    let mut good = true;
    let mut found = serde_json::Map::new();
    // The edge is checked through the admin API, and needs no configuration here.
    if args.credentials || args.edge.url.is_none() {
        let path = config.get()?;
        let loaded = config::load(path)?;
        let now_s = jiff::Timestamp::now().as_second();
        // Who connects refuses one that has ended. The shim starts all the same: it may have other listeners.
        good &= !loaded.expiries.iter().any(|expiry| expiry.is_over(now_s));
        if args.json {
            let files = certificates::files(&loaded.expiries, now_s);
            found.insert("certificates".to_owned(), serde_json::to_value(files)?);
        } else {
            let verdict = if good { "is right" } else { "is right, but for a certificate that has expired" };
            terminal::print(&format!("{} {verdict}\n\n", path.display()))?;
            terminal::print(&certificates::describe(&loaded.expiries, now_s))?;
        }
        if args.credentials {
            let checked = super::block_on(credentials::check(&loaded.config, args.probe, !args.json))??;
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
        let checked = super::block_on(edge::check(url, &args.edge))??;
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
