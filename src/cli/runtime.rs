//! The runtime of the subcommands that wait for the network.

/// Runs a future that waits for the network.
pub fn block_on<F: Future>(future: F) -> std::io::Result<F::Output> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future))
}
