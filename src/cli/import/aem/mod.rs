//! A site's CDN configuration as AEM stores it, converted into a configuration of the shim. Pure.
//!
//! `entries.rs` and `rows.rs` read each form of the file into keys and values. `cdn.rs` reads the properties of
//! a production CDN in AEM's schema (`cdn-prod-*` of <https://www.aem.live/docs/api.html>). `write.rs` writes
//! the file. No secret is copied; the file names environment variables instead.

mod cdn;
mod entries;
mod error;
mod origin;
mod rows;
mod site;
mod write;

#[cfg(test)]
mod tests;

pub use error::ImportError;
pub use origin::{Origin, OriginError};

use cdn::Imports;

/// Settings that AEM's file does not contain.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The origin, `https://<ref>--<site>--<org>.aem.live`.
    pub origin: Option<Origin>,
    /// The name of the site in the new configuration.
    pub site: Option<String>,
}

/// A configuration, and instructions for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The text of the configuration file.
    pub toml: String,
    /// The environment variables that the file names, each with a description of its value, but without the
    /// value itself.
    pub variables: Vec<Variable>,
    /// Notes on settings without an equivalent, and on settings to check.
    pub notes: Vec<String>,
}

/// An environment variable that holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The variable's name.
    pub name: &'static str,
    /// The value that the variable must hold: a key of AEM's file, or a description.
    pub holds: String,
}

/// Imports `text`, the content of the file `file`.
///
/// # Errors
///
/// Returns every problem in the file, each with its line or key.
pub fn import(text: &str, file: &str, options: &Options) -> Result<Imported, ImportError> {
    let wrong = |problems| ImportError { file: file.to_owned(), problems };
    let entries = entries::read(text).map_err(|problem| wrong(vec![problem]))?;
    let mut imports = Imports::new(entries);
    let cdn = cdn::read(&mut imports);
    let site = site::read(&mut imports, options);
    imports.mention_the_rest();
    let Imports { problems, notes, variables, .. } = imports;
    match cdn {
        Some(cdn) if problems.is_empty() => Ok(write::write(&cdn, &site, variables, notes)),
        _ => Err(wrong(problems)),
    }
}
