//! Loads a [`Config`] from a file: read, parse, check keys, resolve, validate.

use super::at::Context;
use super::error::{ConfigError, Problem};
use super::expiry::Expiry;
use super::file::File;
use super::fingerprint::Fingerprint;
use super::keys::{self, nearest};
use super::locate::{Lines, Locator, kind};
use super::places::Places;
use super::secret::Env;
use super::{Config, resolve, syntax, validate};
use serde::Deserialize;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, Deserializer};

/// A usable configuration, and what deserves a second look.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Warnings, in file order.
    pub warnings: Vec<Problem>,
    /// What is good to know and needs no action, in file order.
    pub notes: Vec<Problem>,
    /// The place of every key.
    pub places: Places,
    /// The files that hold secrets, with the place that names each.
    pub secret_files: Vec<(Problem, PathBuf)>,
    /// The fingerprint, with which a later configuration is compared.
    pub fingerprint: Fingerprint,
    /// When the certificates expire that the configuration names, in file order.
    pub expiries: Vec<Expiry>,
}

impl Config {
    /// Reads the file at `path`. [`load`] also returns the warnings.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        load(path).map(|loaded| loaded.config)
    }

    /// Reads a text. Problems name `path`, and relative paths are relative to its directory. [`parse`] also returns
    /// the warnings.
    pub fn parse(text: &str, path: &Path, env: Env<'_>) -> Result<Self, ConfigError> {
        parse(text, path, env).map(|loaded| loaded.config)
    }
}

/// Reads the file at `path` and the process's environment. Adds a warning for each certificate that has expired or
/// soon will.
pub fn load(path: &Path) -> Result<Loaded, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let mut loaded = parse(&text, path, &|name| std::env::var(name).ok())?;
    let now_s = jiff::Timestamp::now().as_second();
    loaded.warnings.extend(loaded.expiries.iter().filter_map(|expiry| expiry.warning(now_s)));
    loaded.warnings.sort_by_key(place);
    Ok(loaded)
}

/// Reads a configuration from a text. Problems name `path`, and relative paths are relative to its directory.
pub fn parse(text: &str, path: &Path, env: Env<'_>) -> Result<Loaded, ConfigError> {
    let (root, syntax_errors) = DeTable::parse_recoverable(text);
    let syntax_errors = syntax_errors.iter().map(|error| syntax_error(error, text, path));
    // Later syntax errors mostly follow from the first.
    if let Some(first) = syntax_errors.min_by_key(place) {
        return Err(ConfigError::Wrong(vec![first]));
    }
    let context = Context {
        file: path,
        locator: Locator::new(text, &root),
        env,
        errors: RefCell::default(),
        warnings: RefCell::default(),
        notes: RefCell::default(),
        secret_files: RefCell::default(),
        expiries: RefCell::default(),
    };
    let at = context.root();
    let mut known = root.clone();
    let complete = keys::check(known.get_mut(), &at);
    let config = if complete { read(known, &context) } else { None };
    let in_order = |problems: RefCell<Vec<Problem>>| {
        let mut problems = problems.into_inner();
        problems.sort_by_key(place);
        problems
    };
    match (in_order(context.errors), config) {
        (errors, Some(config)) if errors.is_empty() => {
            let fingerprint = Fingerprint::of(text, path, env);
            let mut expiries = context.expiries.into_inner();
            expiries.sort_by_key(|expiry| place(&expiry.named));
            Ok(Loaded {
                config,
                warnings: in_order(context.warnings),
                notes: in_order(context.notes),
                places: Places::of(path, &context.locator),
                secret_files: context.secret_files.into_inner(),
                fingerprint,
                expiries,
            })
        }
        (errors, _) => Err(ConfigError::Wrong(errors)),
    }
}

fn place(problem: &Problem) -> (usize, usize) {
    (problem.line, problem.column)
}

fn read(known: toml::Spanned<DeTable<'_>>, context: &Context<'_>) -> Option<Config> {
    let file = match File::deserialize(Deserializer::from(known)) {
        Ok(file) => file,
        Err(error) => {
            complain_type(&error, context);
            return None;
        }
    };
    let at = context.root();
    let config = resolve::resolve(&file, &at);
    validate::validate(&config, &at);
    Some(config)
}

// Keeps only the message: toml's own rendering quotes the line, which may hold a secret.
fn syntax_error(error: &toml::de::Error, text: &str, path: &Path) -> Problem {
    let (line, column) = Lines::of(text).line_and_column(error.span().map_or(0, |span| span.start));
    let message = syntax::explain(error.message(), text, error.span(), line);
    Problem { file: path.to_owned(), line, column, key: String::new(), message }
}

/// Reports a value of the wrong type. Serde's message quotes the value, which may be a misplaced secret, so only the
/// expected type is taken from it.
fn complain_type(error: &toml::de::Error, context: &Context<'_>) {
    let offset = error.span().map_or(0, |span| span.start);
    let Some(found) = context.locator.value_at(offset) else {
        return context.root().error("has a wrong type somewhere");
    };
    let (at, kind) = (context.at(found.path), kind(found.value));
    let (complaint, expected) = error.message().rsplit_once("expected ").unwrap_or((error.message(), ""));
    if complaint.starts_with("unknown variant") {
        let allowed: Vec<_> = expected.split('`').skip(1).step_by(2).collect();
        let hint = found
            .value
            .as_str()
            .and_then(|text| nearest(text, allowed.iter().copied()))
            .map(|near| format!("; did you mean `{near}`?"))
            .unwrap_or_default();
        return at.error(format!("must be one of {}{hint}", allowed.join(", ")));
    }
    let expected = match expected {
        "a boolean" => "true or false".to_owned(),
        "f64" => "a number".to_owned(),
        "u8" => "a whole number from 0 to 255".to_owned(),
        "u32" => "a whole number from 0 to 4294967295".to_owned(),
        "u64" => "a whole number from 0 up".to_owned(),
        "a sequence" if kind == "a table" => format!("a list of tables: write [[{}]]", at.keys()),
        "a sequence" => "a list".to_owned(),
        // Toml's message is "wanted string or table" where a word is expected.
        "" => "a string".to_owned(),
        expected if expected.starts_with("struct ") => "a table".to_owned(),
        expected => expected.to_owned(),
    };
    let found = if expected.starts_with(kind) { String::new() } else { format!(", not {kind}") };
    at.error(format!("must be {expected}{found}"));
}
