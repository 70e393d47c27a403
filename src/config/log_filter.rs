//! Whether a log filter lets through what nobody may miss: errors of every part of the program, and the audit log.
//!
//! `EnvFilter` takes a word that is no level for the name of a part, of which it then logs everything, and of all others nothing.
//! So `verbose`, or `info;debug`, silences the whole program without a complaint.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, ParseError};

/// What the targets of this program begin with.
const OWN: &str = "origin_shim";
/// The target of who did what.
const AUDIT: &str = "audit";
/// The target of requests, which `log.access` switches.
const ACCESS: &str = "access";

/// The parts of the program that log.
const PARTS: [&str; 11] =
    ["admin", "app", "cdn", "cli", "config", "delivery", "demo", "listen", "proxy", "store", "upstream"];

/// Why a filter is refused.
#[derive(Debug, thiserror::Error)]
pub enum LogFilterError {
    /// There is nothing in it.
    #[error("is empty; the level `error` logs least")]
    Empty,
    /// It cannot be read.
    #[error("is not a log filter")]
    Syntax(#[source] ParseError),
    /// A word that would be taken for a part of the program.
    #[error(
        "`{0}` is no level (error, warn, info, debug or trace); a part has its own behind `=`, as in `warn,origin_shim::delivery=debug`"
    )]
    NoLevel(String),
    /// Errors of this part would not be logged.
    #[error("`{0}` would silence errors; the level `error` logs least")]
    Silences(String),
    /// Only these parts would be logged.
    #[error(
        "nothing but these parts would be logged, no other errors either: begin with a level, as in `warn,{0}`"
    )]
    OnlyParts(String),
    /// Who did what would not be logged.
    #[error("`{0}` would silence the audit log, which logs at the level `info`")]
    Audit(String),
}

/// One part of a filter: `target[span{field=value}]=level`, of which target and level may be left out.
struct Directive<'f> {
    text: &'f str,
    /// Empty: all.
    target: &'f str,
    /// Concerns only what happens within some spans.
    within_spans: bool,
    /// None: there is none, which stands for `trace`.
    level: Option<LevelFilter>,
}

impl<'f> Directive<'f> {
    fn of(text: &'f str) -> Self {
        if let Ok(level) = text.parse() {
            return Self { text, target: "", within_spans: false, level: Some(level) };
        }
        // A field's value may have a `=` of its own.
        let (name, level) = match text.rsplit_once('=') {
            Some((name, level)) if !level.contains(['}', ']']) => (name, level.trim().parse().ok()),
            _ => (text, None),
        };
        let target = name.split('[').next().unwrap_or_default().trim();
        Self { text, target, within_spans: name.contains('['), level }
    }

    fn level(&self) -> LevelFilter {
        self.level.unwrap_or(LevelFilter::TRACE)
    }

    /// Whether it concerns what is logged under `target`, as `EnvFilter` compares them.
    fn concerns(&self, target: &str) -> bool {
        target.starts_with(self.target)
    }

    /// Whether it concerns something of ours.
    fn is_ours(&self) -> bool {
        let names_ours = [OWN, AUDIT].iter().any(|own| self.target.starts_with(own));
        names_ours || self.concerns(OWN) || self.concerns(AUDIT)
    }
}

fn directives(filter: &str) -> impl Iterator<Item = Directive<'_>> {
    filter.split(',').map(str::trim).filter(|text| !text.is_empty()).map(Directive::of)
}

/// Refuses a filter with which somebody would wait in vain for an error.
///
/// # Errors
///
/// What is wrong with it.
pub fn check(filter: &str) -> Result<(), LogFilterError> {
    let all: Vec<_> = directives(filter).collect();
    if all.is_empty() {
        return Err(LogFilterError::Empty);
    }
    EnvFilter::try_new(filter.trim()).map_err(LogFilterError::Syntax)?;
    for directive in &all {
        let is_known = [OWN, AUDIT, ACCESS].iter().any(|own| directive.target.starts_with(own));
        if directive.level.is_none() && !directive.within_spans && !is_known {
            return Err(LogFilterError::NoLevel(directive.text.to_owned()));
        }
        // Who did what has its switch of its own, which only its own name moves.
        if directive.target == AUDIT && !directive.within_spans && directive.level() < LevelFilter::INFO {
            return Err(LogFilterError::Audit(directive.text.to_owned()));
        }
        if directive.level() == LevelFilter::OFF && directive.is_ours() {
            return Err(LogFilterError::Silences(directive.text.to_owned()));
        }
    }
    let is_basis = |directive: &&Directive<'_>| directive.concerns(OWN) && !directive.within_spans;
    if all.iter().any(|directive| is_basis(&directive)) {
        return Ok(());
    }
    Err(LogFilterError::OnlyParts(filter.trim().to_owned()))
}

/// Targets that nothing of this program has: allowed, since its libraries log, too, but probably misspelt.
pub fn doubtful(filter: &str) -> Vec<&str> {
    let is_part = |target: &str| {
        let part = target.strip_prefix(OWN).map(|rest| rest.strip_prefix("::").unwrap_or(rest));
        part.is_some_and(|part| part.is_empty() || PARTS.contains(&part.split("::").next().unwrap_or(part)))
    };
    let is_own = |target: &str| target.is_empty() || [AUDIT, ACCESS].contains(&target) || is_part(target);
    directives(filter).map(|directive| directive.target).filter(|target| !is_own(target)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    #[test]
    fn what_silences_errors_or_the_audit_log_is_refused() {
        let check = |filter: &str, expected: &str| {
            let found = check(filter).map_err(|error| error.to_string()).err().unwrap_or_default();
            let matches = if expected.is_empty() { found.is_empty() } else { found.contains(expected) };
            assert!(matches, "{filter:?}: {found:?} instead of {expected:?}");
        };
        for good in [
            "info",
            "ERROR",
            " warn,origin_shim::delivery=debug ",
            "3",
            "info,hyper=off",
            "info,access=off",
            "warn,audit=info",
            "info,audit",
            "origin_shim=info",
            "origin_shim",
            "warn,origin_shim::admin[admin{path=\"/v1/sites\"}]=trace",
            "warn,origin_shim::proxy",
        ] {
            check(good, "");
        }
        check("", "is empty");
        check(" , ", "is empty");
        check("origin_shim=loudly", "is not a log filter");
        check("verbose", "`verbose` is no level");
        check("info;debug", "`info;debug` is no level");
        check("info,hyper", "`hyper` is no level");
        check("off", "`off` would silence errors");
        check("0", "`0` would silence errors");
        check("info,origin_shim=off", "`origin_shim=off` would silence errors");
        check("info,origin_shim::delivery=off", "`origin_shim::delivery=off` would silence errors");
        check("info,origin=off", "`origin=off` would silence errors");
        check("info,origin_shim::admin[admin]=off", "would silence errors");
        check("origin_shim::delivery=debug", "nothing but these parts");
        check("hyper=info", "nothing but these parts");
        check("audit=info,access=info", "nothing but these parts");
        check("origin_shim[admin]=info", "nothing but these parts");
        for level in ["off", "error", "warn", "2"] {
            check(&format!("info,audit={level}"), "would silence the audit log");
        }
    }

    #[test]
    fn what_is_probably_misspelt_is_named() {
        let check = |filter: &str, expected: &[&str]| assert_eq!(doubtful(filter), expected, "{filter}");
        check("info,origin_shim::workr=debug", &["origin_shim::workr"]);
        check("info,origin_shim::delivery::call=debug,audit=info,access=off,origin_shim=trace", &[]);
        check("info,hyper=warn,originshim=debug", &["hyper", "originshim"]);
    }

    /// A filter that names a part is warned of if the list lacks it.
    #[test]
    fn every_part_that_logs_is_known() {
        fn logs(path: &Path) -> bool {
            if path.is_dir() {
                return fs::read_dir(path).unwrap().any(|entry| logs(&entry.unwrap().path()));
            }
            fs::read_to_string(path).unwrap().contains("tracing::")
        }
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        for entry in fs::read_dir(src).unwrap() {
            let path = entry.unwrap().path();
            let part = path.file_stem().unwrap().to_str().unwrap();
            let is_silent = !logs(&path) || ["telemetry", "lib", "main"].contains(&part);
            assert!(is_silent || PARTS.contains(&part), "{part}");
        }
    }
}
