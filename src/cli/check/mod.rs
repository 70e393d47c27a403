//! `origin-shim check`: checks that the configuration is valid, that this machine has what it needs, and on request
//! that the CDNs' credentials are valid and that the whole chain works.
//!
//! What is looked at has one file each. Each gathers facts, and judges them without further input.

mod certificates;
mod chains;
mod credentials;
mod edge;
mod finding;
mod holder;
mod loops;
mod pending;
mod ports;
mod rights;
mod store;
mod summary;

use crate::cli::config_path::{ConfigPath, EX_CONFIG};
use crate::cli::runtime::block_on;
use crate::config::{self, ConfigError, Loaded};
use crate::terminal;
use finding::{Finding, Level};
use std::path::Path;
use std::process::ExitCode;
use summary::Summary;

/// Check the configuration and this machine, and print a summary; with --credentials or --edge, check more than that
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

    /// Check the file only, and nothing of this machine: no ports, no store, no rights of files. For machines that the
    /// configuration is not made for
    #[arg(long)]
    file_only: bool,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Prints the results; the exit code is 0 if nothing was found that will not work, and 78 if the configuration is
/// invalid.
pub fn run(args: &CheckArgs, config: &ConfigPath) -> anyhow::Result<ExitCode> {
    let mut good = true;
    let mut found = serde_json::Map::new();
    // The edge is checked through the admin API, for which no configuration is needed here.
    if args.credentials || args.edge.url.is_none() {
        let path = config.get()?;
        let loaded = match config::load(path) {
            Err(ConfigError::Wrong(problems)) if args.json => {
                let errors = problems.into_iter().map(|problem| Finding::new(Level::Error, problem, None));
                found.insert("findings".to_owned(), serde_json::to_value(errors.collect::<Vec<_>>())?);
                print_json(&found)?;
                return Ok(ExitCode::from(EX_CONFIG));
            }
            loaded => loaded?,
        };
        good &= file(args, path, &loaded, &mut found)?;
        if args.credentials {
            let checked = block_on(credentials::check(&loaded.config, args.probe, !args.json))??;
            good &= checked.usable;
            found.insert("credentials".to_owned(), serde_json::to_value(checked)?);
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
        print_json(&found)?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_json(found: &serde_json::Map<String, serde_json::Value>) -> anyhow::Result<()> {
    Ok(terminal::print_json(&format!("{}\n", serde_json::to_string_pretty(found)?))?)
}

/// Prints what the configuration means and what was found, or adds it to `found` for JSON. Returns whether nothing
/// was found that will not work.
fn file(
    args: &CheckArgs,
    path: &Path,
    loaded: &Loaded,
    found: &mut serde_json::Map<String, serde_json::Value>,
) -> anyhow::Result<bool> {
    let now_s = jiff::Timestamp::now().as_second();
    let findings = findings(args, loaded, now_s);
    let errors = findings.iter().filter(|finding| finding.level == Level::Error).count();
    let moves = pending::moves(&loaded.config);
    if args.json {
        let files = certificates::files(&loaded.expiries, now_s);
        found.insert("certificates".to_owned(), serde_json::to_value(files)?);
        found.insert("findings".to_owned(), serde_json::to_value(&findings)?);
        found.insert("pending".to_owned(), moves.into());
        return Ok(errors == 0);
    }
    let verdict = match errors {
        0 => "is valid".to_owned(),
        1 => "is valid, but 1 error was found".to_owned(),
        errors => format!("is valid, but {errors} errors were found"),
    };
    terminal::print(&format!("{} {verdict}\n\n", path.display()))?;
    terminal::print(&certificates::describe(&loaded.expiries, now_s))?;
    if !args.credentials {
        terminal::print(&Summary(&loaded.config).to_string())?;
        for moved in &moves {
            terminal::print(&format!("\npending   {moved}\n"))?;
        }
    }
    if !findings.is_empty() {
        let lines: String = findings.iter().map(ToString::to_string).collect();
        terminal::print(&format!("\n{lines}"))?;
    }
    Ok(errors == 0)
}

/// Returns everything that was found, the worst first.
fn findings(args: &CheckArgs, loaded: &Loaded, now_s: i64) -> Vec<Finding> {
    let (config, places) = (&loaded.config, &loaded.places);
    let expired: Vec<_> = loaded
        .expiries
        .iter()
        .filter(|expiry| expiry.is_over(now_s))
        .filter_map(|it| it.warning(now_s))
        .collect();
    let warning = |problem: &config::Problem| {
        // Clients reject an expired certificate. The shim starts all the same, because it may have other listeners.
        let level = if expired.contains(problem) { Level::Error } else { Level::Warning };
        Finding::new(level, problem.clone(), None)
    };
    let note = |problem: &config::Problem| Finding::new(Level::Note, problem.clone(), None);
    let mut findings: Vec<_> = loaded.warnings.iter().map(warning).collect();
    findings.extend(loaded.notes.iter().map(note));
    findings.extend(chains::check(config, places, now_s));
    findings.extend(loops::check(config, places));
    if !args.file_only {
        findings.extend(store::check(config, places));
        findings.extend(ports::check(config, places));
        findings.extend(rights::check(loaded));
    }
    Finding::sort(&mut findings);
    findings
}
