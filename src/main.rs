//! The program: an allocator, a TLS provider, and the command line.

use mimalloc::MiMalloc;
use std::process::ExitCode;

// musl's allocator, which static builds would get, serialises threads.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // Fails only where one is installed already, which is then as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    origin_shim::cli::run()
}
