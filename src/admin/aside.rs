//! Work that grows with what a caller sends or requests. The admin API and the delivery tasks share one thread, the
//! control plane's, which no single task may occupy for more than a few milliseconds.

use super::problem::{Kind, Problem};

/// The largest number of items that is processed on the calling thread: moving them to another one would cost
/// more.
const FEW: usize = 1_000;

/// Runs work whose duration grows with the number of items, on another thread if there are many.
pub(super) async fn aside<T: Send + 'static>(
    items: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    if items <= FEW {
        return Ok(work());
    }
    on_another_thread("The request could not be processed.", work).await
}

/// Runs work on another thread. `failure` is the detail of the problem if it panics.
pub(super) async fn on_another_thread<T: Send + 'static>(
    failure: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|panic| Problem::new(Kind::Internal, failure).because(panic))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::current;

    #[tokio::test]
    async fn much_is_done_on_another_thread() {
        let here = current().id();
        assert_eq!(aside(FEW, || current().id()).await.unwrap(), here);
        assert_ne!(aside(FEW + 1, || current().id()).await.unwrap(), here);
        let panicked = aside(FEW + 1, || panic!("on purpose")).await;
        assert!(panicked.is_err());
    }
}
