//! The only place where the demo starts the shim itself, in this process.

use super::error::DemoError;
use crate::app::App;
use crate::config;
use std::path::Path;

/// A started shim.
#[derive(Debug)]
pub struct Running(App);

/// Starts the shim with this configuration.
pub fn start(text: &str) -> Result<Running, DemoError> {
    let loaded = config::parse(text, Path::new("demo.toml"), &|_| None)
        .map_err(|error| DemoError::Start(error.into()))?;
    App::start(loaded.config).map(Running).map_err(|error| DemoError::Start(error.into()))
}

impl Running {
    /// Stops the shim after the requests in flight.
    pub async fn stop(self) -> Result<(), DemoError> {
        let stopped = tokio::task::spawn_blocking(move || self.0.stop()).await;
        stopped
            .map_err(|error| DemoError::Start(error.into()))?
            .map_err(|error| DemoError::Start(error.into()))
    }
}
