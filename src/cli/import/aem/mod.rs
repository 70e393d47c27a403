//! A site's CDN configuration as AEM stores it, converted into a configuration of the shim. Pure.
//!
//! `entries.rs` and `rows.rs` read each form of the file into keys and values. `cdn.rs` reads the properties of
//! a production CDN in AEM's schema (`cdn-prod-*` of <https://www.aem.live/docs/api.html>). `write.rs` writes
//! the file. No secret is copied; the file names environment variables instead.

mod cdn;
mod entries;
mod entry;
mod error;
mod imports;
mod origin;
mod output;
mod rows;
mod site;
mod write;

#[cfg(test)]
mod tests;

pub use error::ImportError;
pub use origin::{Origin, OriginError};
pub use output::{Imported, Variable};
pub use site::Options;

use imports::Imports;

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
