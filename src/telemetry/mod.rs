//! The log: text or JSON lines on stderr, as configured in `[log]`. The environment has precedence:
//! `ORIGIN_SHIM_LOG` is a filter, `ORIGIN_SHIM_LOG_FORMAT` is `text` or `json`.

mod places;
mod queue;
mod sparse;

pub use places::{NoPlace, Place};
pub use queue::Standing;
pub use sparse::Sparse;

use crate::config::LogFormat;
use crate::config::log_filter::{self, LogFilterError};
use places::Places;
use queue::Queue;
use std::io::IsTerminal;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;
use tracing::Subscriber;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// The environment variable of the filter.
pub const FILTER_VARIABLE: &str = "ORIGIN_SHIM_LOG";
/// The environment variable of the format.
pub const FORMAT_VARIABLE: &str = "ORIGIN_SHIM_LOG_FORMAT";

/// Targets that stay on unless a filter names them.
const OWN_SWITCH: [&str; 2] = ["access", "audit"];

/// The number of audit lines of changes that may wait to be written.
const CHANGES: usize = 256;
/// The number of audit lines of refused calls that may wait, separate so that they take no place from changes.
const REFUSALS: usize = 64;

/// The log of this process.
static LOG: OnceLock<Log> = OnceLock::new();

struct Log {
    filter: Handle<EnvFilter, Registry>,
    /// The filter as it was last set.
    directives: Mutex<String>,
    queue: Queue,
    changes: Places,
    refusals: Places,
}

/// The reason why logging could not be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The format variable has an unknown value.
    #[error("{FORMAT_VARIABLE} is {0:?}; it must be `text` or `json`")]
    Format(String),
    /// The filter variable is invalid.
    #[error("{FILTER_VARIABLE} cannot be used")]
    FilterVariable(#[source] LogFilterError),
    /// The filter is invalid, or silences too much.
    #[error("the log filter cannot be used")]
    Filter(#[source] LogFilterError),
    /// A logger was set up before.
    #[error("logging cannot be set up")]
    Init(#[source] TryInitError),
    /// The system provides no thread.
    #[error("the thread of the log cannot be started")]
    Thread(#[source] std::io::Error),
    /// No logger was set up, or it has ended.
    #[error("there is no log")]
    NoLog,
}

/// Starts logging in this format and with this filter, unless the environment overrides them. A process may call
/// this only one time. The filter of a configuration was checked with the configuration; that of the demo silences
/// more than a configured one may.
pub fn init(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let format = format_of(std::env::var(FORMAT_VARIABLE).ok().as_deref())?.unwrap_or(format);
    let (directives, filter) = match filter_variable() {
        Some(directives) => {
            let filter = checked(&directives).map_err(TelemetryError::FilterVariable)?;
            (directives, filter)
        }
        None => (
            filter.to_owned(),
            parse(filter).map_err(LogFilterError::Syntax).map_err(TelemetryError::Filter)?,
        ),
    };
    let complaint = match format {
        LogFormat::Text => |lost| format!("WARN {lost} log lines were dropped\n"),
        LogFormat::Json => {
            |lost| format!("{{\"level\":\"WARN\",\"message\":\"{lost} log lines were dropped\"}}\n")
        }
    };
    let queue = Queue::start(std::io::stderr(), complaint).map_err(TelemetryError::Thread)?;
    let (subscriber, filter) = subscriber(format, filter, queue.clone(), std::io::stderr().is_terminal());
    subscriber.try_init().map_err(TelemetryError::Init)?;
    // A process that could set up the logger is the first to reach this line.
    let (changes, refusals) = (Places::new(CHANGES), Places::new(REFUSALS));
    let _ = LOG.set(Log { filter, directives: Mutex::new(directives), queue, changes, refusals });
    Ok(())
}

/// Replaces the filter: a level, or levels by part, such as `warn,origin_shim::delivery=debug`.
pub fn set_filter(directives: &str) -> Result<(), TelemetryError> {
    let filter = checked(directives).map_err(TelemetryError::Filter)?;
    let log = LOG.get().ok_or(TelemetryError::NoLog)?;
    log.filter.reload(filter).map_err(|_| TelemetryError::NoLog)?;
    *log.directives.lock().unwrap_or_else(PoisonError::into_inner) = directives.trim().to_owned();
    Ok(())
}

/// Returns the current filter as it was set, or `None` if there is no log.
pub fn filter() -> Option<String> {
    LOG.get().map(|log| log.directives.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

/// Replaces the filter by the configuration's, unless the environment has one.
pub fn configured_filter(directives: &str) -> Result<(), TelemetryError> {
    if filter_variable().is_some() { Ok(()) } else { set_filter(directives) }
}

/// Waits until everything that was logged has been written, at the end of the program.
pub fn flush() {
    if let Some(log) = LOG.get() {
        log.queue.flush();
    }
}

/// Returns a place for the audit line of a change that is about to be made. Waits while the log is not read, but
/// not forever.
pub async fn place_for_change() -> Result<Place, NoPlace> {
    match LOG.get() {
        Some(log) => log.changes.soon().await,
        None => Ok(Place::of_no_log()),
    }
}

/// Returns a place for the audit line of a refusal, if there is one now. Refused callers do not wait.
pub fn place_for_refusal() -> Result<Place, NoPlace> {
    LOG.get().map_or_else(|| Ok(Place::of_no_log()), |log| log.refusals.now().ok_or(NoPlace))
}

/// Returns the state of the log, which is free of problems if there is no log.
pub fn standing() -> Standing {
    LOG.get().map(|log| log.queue.standing(Instant::now())).unwrap_or_default()
}

/// Returns a request's target for the log, without its query, which may hold secrets such as tokens and names.
pub fn without_query(uri: &http::Uri) -> String {
    match uri.query() {
        Some(_) => format!("{}?…", uri.path()),
        None => uri.path().to_owned(),
    }
}

fn subscriber<W>(
    format: LogFormat,
    filter: EnvFilter,
    writer: W,
    ansi: bool,
) -> (impl Subscriber + Send + Sync, Handle<EnvFilter, Registry>)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(ansi);
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    (tracing_subscriber::registry().with(filter).with(lines), handle)
}

fn format_of(variable: Option<&str>) -> Result<Option<LogFormat>, TelemetryError> {
    match variable.map(str::trim) {
        None | Some("") => Ok(None),
        Some("text") => Ok(Some(LogFormat::Text)),
        Some("json") => Ok(Some(LogFormat::Json)),
        Some(other) => Err(TelemetryError::Format(other.to_owned())),
    }
}

fn filter_variable() -> Option<String> {
    std::env::var(FILTER_VARIABLE).ok().filter(|directives| !directives.trim().is_empty())
}

/// Parses a filter from a user.
fn checked(directives: &str) -> Result<EnvFilter, LogFilterError> {
    log_filter::check(directives)?;
    parse(directives).map_err(LogFilterError::Syntax)
}

fn parse(directives: &str) -> Result<EnvFilter, ParseError> {
    let mut filter = EnvFilter::try_new(directives.trim())?;
    let named = |target: &str| {
        let names = directives.split(',').filter_map(|directive| directive.split('=').next());
        names.map(str::trim).any(|name| name == target)
    };
    for target in OWN_SWITCH.into_iter().filter(|target| !named(target)) {
        filter = filter.add_directive(format!("{target}=info").parse()?);
    }
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::Arc;

    #[test]
    fn formats() {
        assert_eq!(format_of(None).unwrap(), None);
        assert_eq!(format_of(Some("")).unwrap(), None);
        assert_eq!(format_of(Some("text")).unwrap(), Some(LogFormat::Text));
        assert_eq!(format_of(Some("json")).unwrap(), Some(LogFormat::Json));
        let refused = format_of(Some("xml")).unwrap_err();
        assert_eq!(refused.to_string(), "ORIGIN_SHIM_LOG_FORMAT is \"xml\"; it must be `text` or `json`");
    }

    #[test]
    fn targets() {
        let check = |uri: &'static str, expected: &str| {
            assert_eq!(without_query(&http::Uri::from_static(uri)), expected);
        };
        check("/a", "/a");
        check("/a?token=secret&b=c", "/a?…");
        check("/a?", "/a?…");
        check("https://user@www.example.com/a?secret", "/a?…");
        check("*", "*");
    }

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Page {
        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
        }
    }

    /// Returns which of an info, a debug, an access and an audit line are written.
    fn said(page: &Page) -> Vec<&'static str> {
        tracing::info!("an info");
        tracing::debug!("a debug");
        tracing::info!(target: "access", "an access");
        tracing::info!(target: "audit", "an audit");
        let text = page.take();
        let lines = ["an info", "a debug", "an access", "an audit"];
        lines.into_iter().filter(|line| text.contains(line)).collect()
    }

    #[test]
    fn filters_can_change_and_leave_what_has_its_own_switch() {
        let page = Page::default();
        let writer = page.clone();
        let (subscriber, filter) =
            subscriber(LogFormat::Text, parse("info").unwrap(), move || writer.clone(), false);
        tracing::subscriber::with_default(subscriber, || {
            let check = |directives: &str, expected: &[&str]| {
                filter.reload(parse(directives).unwrap()).unwrap();
                assert_eq!(said(&page), expected, "{directives}");
            };
            check("info", &["an info", "an access", "an audit"]);
            check("warn", &["an access", "an audit"]);
            check("debug,audit=off", &["an info", "a debug", "an access"]);
            check("warn,access=warn,audit=off", &[]);
            check("off", &["an access", "an audit"]);
            check("warn,origin_shim::telemetry=debug", &["an info", "a debug", "an access", "an audit"]);
        });
        assert!(parse("origin_shim=loudly").is_err());
    }

    #[test]
    fn json_lines_are_json() {
        let page = Page::default();
        let writer = page.clone();
        let (subscriber, _filter) =
            subscriber(LogFormat::Json, parse("info").unwrap(), move || writer.clone(), false);
        tracing::subscriber::with_default(subscriber, || tracing::info!(site = "www", "a \"line\"\n"));
        let line: serde_json::Value = serde_json::from_str(&page.take()).unwrap();
        assert_eq!(
            (&line["message"], &line["site"], &line["level"]),
            (&"a \"line\"\n".into(), &"www".into(), &"INFO".into())
        );
    }

    #[test]
    fn without_a_log_there_is_no_filter_to_set() {
        assert!(matches!(set_filter("a=b=c"), Err(TelemetryError::Filter(_))));
        assert!(matches!(set_filter("verbose"), Err(TelemetryError::Filter(LogFilterError::NoLevel(_)))));
        flush();
    }
}
