//! The program: an allocator, a TLS provider, and the command line.

use mimalloc::MiMalloc;
use std::process::ExitCode;

// The allocator for static builds would otherwise be musl's, which serialises threads.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // This fails only if a provider is installed already, which is then sufficient.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    origin_shim::cli::run()
}
