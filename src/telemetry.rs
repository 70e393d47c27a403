//! The log: text or JSON lines on stderr.
//!
//! `ORIGIN_SHIM_LOG` is a filter (`info` by default, or `warn,origin_shim::proxy=debug`),
//! `ORIGIN_SHIM_LOG_FORMAT` is `text` or `json`.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::util::TryInitError;

/// The environment variable of the filter.
pub const FILTER_VARIABLE: &str = "ORIGIN_SHIM_LOG";
/// The environment variable of the format.
pub const FORMAT_VARIABLE: &str = "ORIGIN_SHIM_LOG_FORMAT";

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// For people; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The format variable holds something else.
    #[error("{FORMAT_VARIABLE} is {0:?}; it must be `text` or `json`")]
    Format(String),
    /// The filter variable cannot be read.
    #[error("{FILTER_VARIABLE} is not a log filter")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// A logger was set up before.
    #[error("logging cannot be set up")]
    Init(#[source] TryInitError),
}

/// Starts logging, as the environment asks; `default` is the filter where it does not. Once per process.
pub fn init(default: &str) -> Result<(), TelemetryError> {
    let format = format(std::env::var(FORMAT_VARIABLE).ok().as_deref())?;
    let filter = filter(std::env::var(FILTER_VARIABLE).ok().as_deref(), default)?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        Format::Text => lines.finish().try_init(),
        Format::Json => lines.json().flatten_event(true).finish().try_init(),
    }
    .map_err(TelemetryError::Init)
}

fn format(variable: Option<&str>) -> Result<Format, TelemetryError> {
    match variable.map(str::trim) {
        None | Some("" | "text") => Ok(Format::Text),
        Some("json") => Ok(Format::Json),
        Some(other) => Err(TelemetryError::Format(other.to_owned())),
    }
}

fn filter(variable: Option<&str>, default: &str) -> Result<EnvFilter, TelemetryError> {
    match variable.map(str::trim) {
        None | Some("") => Ok(EnvFilter::new(default)),
        Some(directives) => EnvFilter::try_new(directives).map_err(TelemetryError::Filter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        assert_eq!(format(None).unwrap(), Format::Text);
        assert_eq!(format(Some("")).unwrap(), Format::Text);
        assert_eq!(format(Some("text")).unwrap(), Format::Text);
        assert_eq!(format(Some("json")).unwrap(), Format::Json);
        let refused = format(Some("xml")).unwrap_err();
        assert_eq!(refused.to_string(), "ORIGIN_SHIM_LOG_FORMAT is \"xml\"; it must be `text` or `json`");
    }

    #[test]
    fn filters() {
        assert_eq!(filter(None, "info").unwrap().to_string(), "info");
        assert_eq!(
            filter(Some("origin_shim::proxy=debug"), "info").unwrap().to_string(),
            "origin_shim::proxy=debug"
        );
        assert!(filter(Some("origin_shim=loudly"), "info").is_err());
    }
}
