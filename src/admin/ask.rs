//! Calls of the store, with a time limit.

use super::problem::{Kind, Problem};
use crate::store::StoreError;
use std::error::Error;
use std::future::Future;
use std::time::Duration;
use tracing::Instrument;

/// The time limit for answers of the store. A stalled disk becomes a 503, not a hanging call.
pub(super) const STORE_TIMEOUT: Duration = Duration::from_secs(30);

/// Queries the store within the time limit. `doing` completes "The store cannot …".
pub(super) async fn ask<T, E>(doing: &str, question: impl Future<Output = Result<T, E>>) -> Result<T, Problem>
where
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let unavailable = || Problem::new(Kind::Unavailable, format!("The store cannot {doing}."));
    match tokio::time::timeout(STORE_TIMEOUT, question).await {
        Ok(answer) => answer.map_err(|error| unavailable().because(error)),
        Err(elapsed) => Err(unavailable().because(elapsed)),
    }
}

/// Changes the store in a task of its own. If a client hangs up, or the store commits too late for the answer, the
/// change must still get its consequences. `doing` completes "The store cannot …".
pub(super) async fn commit<T>(
    doing: &str,
    change: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, Problem>
where
    T: Send + 'static,
{
    let task = tokio::spawn(change.instrument(tracing::Span::current()));
    ask(doing, async { Ok::<_, Box<dyn Error + Send + Sync>>(task.await??) }).await
}
