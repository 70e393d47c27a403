//! A place in the file while the configuration is resolved: problems reported here carry their line, column and key.

use super::duration;
use super::error::Problem;
use super::expiry::{self, Expiry};
use super::locate::{KeyPath, Locator};
use super::secret::{Env, Secret, SecretError, SecretRef};
use super::text::DurationText;
use rustls_pki_types::CertificateDer;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The inputs of resolving other than the file's own content, and the problems that it collects. Resolving never
/// stops at the first problem, so an operator sees all of them at once.
pub struct Context<'c> {
    /// The path of the file, as the caller gave it.
    pub file: &'c Path,
    /// The positions of the keys.
    pub locator: Locator<'c>,
    /// The environment.
    pub env: Env<'c>,
    /// The problems that make the configuration unusable.
    pub errors: RefCell<Vec<Problem>>,
    /// The problems that deserve a second look.
    pub warnings: RefCell<Vec<Problem>>,
    /// What is good to know and needs no action.
    pub notes: RefCell<Vec<Problem>>,
    /// The files that hold secrets, with the place that names each.
    pub secret_files: RefCell<Vec<(Problem, PathBuf)>>,
    /// When the certificates expire that the file names.
    pub expiries: RefCell<Vec<Expiry>>,
}

impl Context<'_> {
    /// The place of the whole file.
    pub fn root(&self) -> At<'_> {
        self.at(KeyPath::default())
    }

    /// The place at `path`.
    pub fn at(&self, path: KeyPath) -> At<'_> {
        At { context: self, path }
    }

    fn problem(&self, path: &KeyPath, (line, column): (usize, usize), message: String) -> Problem {
        Problem { file: self.file.to_owned(), line, column, key: path.to_string(), message }
    }

    /// Returns the directory that relative paths are relative to: that of the file.
    fn directory(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }
}

/// One place in the file.
#[derive(Clone)]
pub struct At<'c> {
    context: &'c Context<'c>,
    path: KeyPath,
}

impl<'c> At<'c> {
    /// Returns the place of a key of this table.
    pub fn key(&self, name: &str) -> Self {
        Self { context: self.context, path: self.path.key(name) }
    }

    /// Returns the place of an element of this list.
    pub fn index(&self, index: usize) -> Self {
        Self { context: self.context, path: self.path.index(index) }
    }

    /// Returns each element of this list with its place.
    pub fn each<'v, T>(&self, values: &'v [T]) -> impl Iterator<Item = (Self, &'v T)> + use<'c, 'v, '_, T> {
        values.iter().enumerate().map(|(index, value)| (self.index(index), value))
    }

    /// Returns the path without indices, which identifies a kind of place.
    pub fn keys(&self) -> String {
        self.path.without_indices()
    }

    /// Returns the path, such as `sites[0].cdns[1]`.
    pub fn name(&self) -> String {
        self.path.to_string()
    }

    /// Returns the line of this value.
    pub fn line(&self) -> usize {
        self.context.locator.position(&self.path).0
    }

    /// Reports that this value makes the configuration unusable.
    pub fn error(&self, message: impl Into<String>) {
        let place = self.context.locator.position(&self.path);
        self.context.errors.borrow_mut().push(self.context.problem(&self.path, place, message.into()));
    }

    /// Reports that the presence of this key makes the configuration unusable.
    pub fn error_in_key(&self, message: impl Into<String>) {
        let place = self.context.locator.key_position(&self.path);
        self.context.errors.borrow_mut().push(self.context.problem(&self.path, place, message.into()));
    }

    /// Reports that this value deserves a second look.
    pub fn warn(&self, message: impl Into<String>) {
        let place = self.context.locator.position(&self.path);
        self.context.warnings.borrow_mut().push(self.context.problem(&self.path, place, message.into()));
    }

    /// Reports what is good to know about this value and needs no action.
    pub fn note(&self, message: impl Into<String>) {
        let place = self.context.locator.position(&self.path);
        self.context.notes.borrow_mut().push(self.context.problem(&self.path, place, message.into()));
    }

    /// Records when the first of these certificates expires. They are in the file `path`, which this value names.
    pub fn certificates(&self, path: &Path, certificates: &[CertificateDer<'_>]) {
        match expiry::first_end(certificates) {
            Some(ends_s) => {
                let place = self.context.locator.position(&self.path);
                let named = self.context.problem(&self.path, place, String::new());
                self.context.expiries.borrow_mut().push(Expiry { named, path: path.to_owned(), ends_s });
            }
            None => self.warn("the expiry date of this certificate cannot be read"),
        }
    }

    /// Returns the value of `result`, or reports its error and returns `None`.
    pub fn ok<T>(&self, result: Result<T, impl ToString>) -> Option<T> {
        result.map_err(|error| self.error(error.to_string())).ok()
    }

    /// Parses a duration. An invalid one is reported and becomes zero.
    pub fn duration(&self, text: &DurationText) -> Duration {
        self.ok(duration::parse(text.as_str())).unwrap_or_default()
    }

    /// Parses a duration that must be more than zero. An invalid one is reported and becomes zero.
    pub fn positive_duration(&self, text: &DurationText) -> Duration {
        let duration = duration::parse(text.as_str());
        if duration.is_ok_and(|duration| duration.is_zero()) {
            self.error("must be more than zero");
        }
        self.ok(duration).unwrap_or_default()
    }

    /// Resolves a secret. An invalid one is reported and becomes empty.
    pub fn secret(&self, reference: &SecretRef) -> Secret {
        if reference.is_literal() {
            self.warn("the secret is written in the file; env:NAME or file:PATH keeps it out of backups and version control");
        }
        if let Some(path) = reference.file(self.context.directory()) {
            let place = self.context.locator.position(&self.path);
            let named = self.context.problem(&self.path, place, String::new());
            self.context.secret_files.borrow_mut().push((named, path));
        }
        match reference.resolve(self.context.directory(), self.context.env) {
            Ok(secret) => secret,
            Err(error) => {
                match &error {
                    SecretError::Unreadable { source, .. } => self.error(format!("{error}: {source}")),
                    _ => self.error(error.to_string()),
                }
                Secret::new("")
            }
        }
    }

    /// Returns the content of an environment variable.
    pub fn variable(&self, name: &str) -> Option<String> {
        (self.context.env)(name)
    }

    /// Resolves a path relative to the directory of the file.
    pub fn path(&self, text: &str) -> PathBuf {
        self.context.directory().join(text)
    }
}
