//! Checks that a log filter does not silence what must be seen: errors of every part of the program, and the audit
//! log.
//!
//! `EnvFilter` interprets a word that is not a level as the name of a part. It then logs everything of this part and
//! nothing of all others. So `verbose`, or `info;debug`, silences the whole program without an error.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, ParseError};

/// The beginning of this program's targets.
const OWN: &str = "origin_shim";
/// The target of the audit log.
const AUDIT: &str = "audit";
/// The target of the access log, which `log.access` switches.
const ACCESS: &str = "access";

/// The parts of the program that log.
const PARTS: [&str; 11] =
    ["admin", "app", "cdn", "cli", "config", "delivery", "demo", "listen", "proxy", "store", "upstream"];

/// Why a filter is refused.
#[derive(Debug, thiserror::Error)]
pub enum LogFilterError {
    /// The filter is empty.
    #[error("is empty; the level `error` logs least")]
    Empty,
    /// The filter cannot be parsed.
    #[error("is not a log filter")]
    Syntax(#[source] ParseError),
    /// A word would be interpreted as a part of the program.
    #[error(
        "`{0}` is not a level (error, warn, info, debug or trace); the level of a part follows `=`, as in `warn,origin_shim::delivery=debug`"
    )]
    NoLevel(String),
    /// The filter would silence errors of this part.
    #[error("`{0}` would silence errors; the level `error` logs least")]
    Silences(String),
    /// The filter would log only these parts.
    #[error(
        "only these parts would be logged, and no errors of other parts: begin with a level, as in `warn,{0}`"
    )]
    OnlyParts(String),
    /// The filter would silence the audit log.
    #[error("`{0}` would silence the audit log, which logs at the level `info`")]
    Audit(String),
}

/// One directive of a filter: `target[span{field=value}]=level`, in which target and level are optional.
struct Directive<'f> {
    text: &'f str,
    /// The target; empty for all targets.
    target: &'f str,
    /// Whether the directive applies only within some spans.
    within_spans: bool,
    /// The level; `None` if it is absent, which means `trace`.
    level: Option<LevelFilter>,
}

impl<'f> Directive<'f> {
    fn of(text: &'f str) -> Self {
        if let Ok(level) = text.parse() {
            return Self { text, target: "", within_spans: false, level: Some(level) };
        }
        // The value of a field may contain a `=`.
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

    /// Whether the directive applies to what is logged under `target`, by the comparison that `EnvFilter` uses.
    fn concerns(&self, target: &str) -> bool {
        target.starts_with(self.target)
    }

    /// Whether the directive applies to a target of this program.
    fn is_ours(&self) -> bool {
        let names_ours = [OWN, AUDIT].iter().any(|own| self.target.starts_with(own));
        names_ours || self.concerns(OWN) || self.concerns(AUDIT)
    }
}

fn directives(filter: &str) -> impl Iterator<Item = Directive<'_>> {
    filter.split(',').map(str::trim).filter(|text| !text.is_empty()).map(Directive::of)
}

/// Refuses a filter that would silence errors or the audit log.
///
/// # Errors
///
/// Returns the reason for the refusal.
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
        // Only a directive that names the target `audit` changes the level of the audit log.
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

/// Returns the targets that no part of this program has. They are allowed, because libraries log too, but are probably
/// misspelt.
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
        check("verbose", "`verbose` is not a level");
        check("info;debug", "`info;debug` is not a level");
        check("info,hyper", "`hyper` is not a level");
        check("off", "`off` would silence errors");
        check("0", "`0` would silence errors");
        check("info,origin_shim=off", "`origin_shim=off` would silence errors");
        check("info,origin_shim::delivery=off", "`origin_shim::delivery=off` would silence errors");
        check("info,origin=off", "`origin=off` would silence errors");
        check("info,origin_shim::admin[admin]=off", "would silence errors");
        check("origin_shim::delivery=debug", "only these parts");
        check("hyper=info", "only these parts");
        check("audit=info,access=info", "only these parts");
        check("origin_shim[admin]=info", "only these parts");
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

    /// A filter that names a part would cause a warning if the list lacked the part.
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
