//! Where the configuration is: the path that was named, or the default one.

use std::path::{Path, PathBuf};

/// The exit code of an invalid configuration (sysexits.h).
pub const EX_CONFIG: u8 = 78;

const DEFAULT_CONFIG: &str = "origin-shim.toml";

/// The path of the configuration, for the subcommands that need one: the named one, if one was named.
pub struct ConfigPath(pub Option<PathBuf>);

impl ConfigPath {
    /// Returns the path that was named, or the default one if that file exists.
    pub fn get(&self) -> Result<&Path, NoConfig> {
        match &self.0 {
            Some(path) => Ok(path),
            None if Path::new(DEFAULT_CONFIG).exists() => Ok(Path::new(DEFAULT_CONFIG)),
            None => Err(NoConfig),
        }
    }
}

/// The error that no file was named and that the default one does not exist.
#[derive(Debug, thiserror::Error)]
#[error(
    "there is no {DEFAULT_CONFIG} in this directory: name a file with --config or ORIGIN_SHIM_CONFIG, or try `origin-shim demo`"
)]
pub struct NoConfig;
