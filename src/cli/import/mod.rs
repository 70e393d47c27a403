//! `origin-shim import`: converts the configuration of another system.

pub mod aem;

use crate::terminal;
use aem::{Imported, Origin};
use anyhow::Context;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Convert another system's configuration
#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    #[command(subcommand)]
    source: Source,
}

#[derive(Debug, clap::Subcommand)]
enum Source {
    Aem(AemArgs),
}

/// Convert the CDN configuration of an AEM site
///
/// FILE is JSON (`cdn.json`, the whole site configuration, or a sheet) or the rows of `.helix/config` (CSV, TSV
/// or `key: value`). The configuration is written to stdout, and instructions to stderr. Secrets are not
/// copied: the configuration names environment variables for them.
#[derive(Debug, clap::Args)]
struct AemArgs {
    /// The file; `-` for stdin
    file: PathBuf,

    /// The address at which AEM serves the site: https://<ref>--<site>--<org>.aem.live
    #[arg(long, value_name = "URL")]
    origin: Option<Origin>,

    /// The site's name in the new configuration [default: AEM's, or the first part of the host]
    #[arg(long, value_name = "NAME")]
    site: Option<String>,

    /// Write to this file, which must not exist, instead of stdout
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Writes the configuration and the instructions.
pub fn run(args: ImportArgs) -> anyhow::Result<ExitCode> {
    let Source::Aem(args) = args.source;
    let (text, name) = read(&args.file)?;
    let imported = aem::import(&text, &name, &aem::Options { origin: args.origin, site: args.site })?;
    match &args.output {
        Some(path) => write_new(path, &imported.toml)?,
        None => terminal::print(&imported.toml)?,
    }
    terminal::print_aside(&advice(&imported));
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> anyhow::Result<(String, String)> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read stdin")?;
        return Ok((text, "stdin".to_owned()));
    }
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    Ok((text, name))
}

/// Writes a new file only, because an earlier import's file may have been edited.
fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    let written = File::create_new(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Lists variables and notes, without the values of secrets.
fn advice(imported: &Imported) -> String {
    let mut text = String::from("Set these environment variables:\n");
    for variable in &imported.variables {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {:<22} {}", variable.name, variable.holds);
    }
    text.push_str("\nCheck:\n");
    for note in &imported.notes {
        let _ = writeln!(text, "  - {note}");
    }
    text
}
