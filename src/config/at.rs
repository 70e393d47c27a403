//! A place in the file while it is being resolved: complaints made here know their line, column and key.

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

/// What resolving needs besides the file's own content, and where complaints are gathered. Resolving never stops at
/// the first one, so an operator sees all of them at once.
pub struct Context<'c> {
    /// The file, as it was named.
    pub file: &'c Path,
    /// Where keys stand.
    pub locator: Locator<'c>,
    /// The environment.
    pub env: Env<'c>,
    /// What makes the configuration unusable.
    pub errors: RefCell<Vec<Problem>>,
    /// What deserves a second look.
    pub warnings: RefCell<Vec<Problem>>,
    /// When certificates end.
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

    /// Relative paths are relative to the file.
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
    /// A key of this table.
    pub fn key(&self, name: &str) -> Self {
        Self { context: self.context, path: self.path.key(name) }
    }

    /// An element of this list.
    pub fn index(&self, index: usize) -> Self {
        Self { context: self.context, path: self.path.index(index) }
    }

    /// Each element of this list with its place.
    pub fn each<'v, T>(&self, values: &'v [T]) -> impl Iterator<Item = (Self, &'v T)> + use<'c, 'v, '_, T> {
        values.iter().enumerate().map(|(index, value)| (self.index(index), value))
    }

    /// The path without indices, by which kinds of places are told apart.
    pub fn keys(&self) -> String {
        self.path.without_indices()
    }

    /// The configuration is unusable because of this value.
    pub fn error(&self, message: impl Into<String>) {
        let place = self.context.locator.position(&self.path);
        self.context.errors.borrow_mut().push(self.context.problem(&self.path, place, message.into()));
    }

    /// The configuration is unusable because this key is there.
    pub fn error_in_key(&self, message: impl Into<String>) {
        let place = self.context.locator.key_position(&self.path);
        self.context.errors.borrow_mut().push(self.context.problem(&self.path, place, message.into()));
    }

    /// This deserves a second look.
    pub fn warn(&self, message: impl Into<String>) {
        let place = self.context.locator.position(&self.path);
        self.context.warnings.borrow_mut().push(self.context.problem(&self.path, place, message.into()));
    }

    /// The file `path`, which this value names, holds these certificates.
    pub fn certificates(&self, path: &Path, certificates: &[CertificateDer<'_>]) {
        match expiry::first_end(certificates) {
            Some(ends_s) => {
                let place = self.context.locator.position(&self.path);
                let named = self.context.problem(&self.path, place, String::new());
                self.context.expiries.borrow_mut().push(Expiry { named, path: path.to_owned(), ends_s });
            }
            None => self.warn("it cannot be told when this certificate expires"),
        }
    }

    /// The value, or a complaint and nothing.
    pub fn ok<T>(&self, result: Result<T, impl ToString>) -> Option<T> {
        result.map_err(|error| self.error(error.to_string())).ok()
    }

    /// A duration; zero where it is wrong, which ends with the complaint.
    pub fn duration(&self, text: &DurationText) -> Duration {
        self.ok(duration::parse(text.as_str())).unwrap_or_default()
    }

    /// A duration of more than nothing.
    pub fn positive_duration(&self, text: &DurationText) -> Duration {
        let duration = duration::parse(text.as_str());
        if duration.is_ok_and(|duration| duration.is_zero()) {
            self.error("must be more than zero");
        }
        self.ok(duration).unwrap_or_default()
    }

    /// A secret; empty where it is wrong, which ends with the complaint.
    pub fn secret(&self, reference: &SecretRef) -> Secret {
        if reference.is_literal() {
            self.warn("the secret stands in the file; env:NAME or file:PATH keeps it out of backups and version control");
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

    /// A path, relative to the file.
    pub fn path(&self, text: &str) -> PathBuf {
        self.context.directory().join(text)
    }
}
