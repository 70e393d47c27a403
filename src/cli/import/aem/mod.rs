//! A site's CDN configuration as AEM stores it, read into a configuration of the shim. Pure.
//!
//! `entries.rs` and `rows.rs` read whatever form it has into keys and values; `cdn.rs` reads what AEM's schema knows of a
//! production CDN (`cdn-prod-*` of <https://www.aem.live/docs/api.html>); `write.rs` writes the file. No secret is copied: the
//! file names environment variables.

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

/// What AEM's file does not say.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The origin, `https://<ref>--<site>--<org>.aem.live`.
    pub origin: Option<Origin>,
    /// The name of the site in the new configuration.
    pub site: Option<String>,
}

/// A configuration, and what to do with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The file.
    pub toml: String,
    /// Environment variables that it names, each with what it must hold; not the values.
    pub variables: Vec<Variable>,
    /// What has no equivalent, and what to check.
    pub notes: Vec<String>,
}

/// An environment variable that holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it must hold: a key of AEM's file, or words.
    pub holds: String,
}

/// Reads `text`, which `file` is the name of.
///
/// # Errors
///
/// Everything that is wrong with it, each with its line or key.
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
