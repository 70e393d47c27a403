//! The one place where the demo starts the shim itself, in this process.

use super::DemoError;

/// A started shim.
#[derive(Debug)]
pub struct Running;

/// Starts the shim with this configuration.
pub fn start(_config: &str) -> Result<Running, DemoError> {
    Err(DemoError::Start("this build has no shim yet".into()))
}

impl Running {
    /// Ends it, after the requests in flight.
    pub async fn stop(self) {}
}
