//! Work that grows with what a caller sends or asks for. The admin API and the workers share one thread, on which nothing may take
//! more than some milliseconds.

use super::problem::{Kind, Problem};

/// Items that are worked on at once: a thread of its own would cost more.
const FEW: usize = 1_000;

/// Does what takes as long as there are items: where those are many, on another thread.
pub(super) async fn aside<T: Send + 'static>(
    items: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    if items <= FEW {
        return Ok(work());
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|panic| Problem::new(Kind::Internal, "This could not be worked on.").because(panic))
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
