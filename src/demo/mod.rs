//! `origin-shim demo`: the whole chain on this machine, without credentials. A small site is the origin, the shim is
//! in front of it, and a small edge cache in front of the shim is purged like Varnish.
//!
//! Everything listens on the loopback interface only, and all data, including the shim's store, is in memory.

mod cache;
pub mod edge;
mod error;
mod freshness;
mod http1;
mod ports;
mod protocol;
mod script;
mod settings;
mod shim;
mod site;
mod story;

pub use error::DemoError;
pub use ports::PortChoice;

use ports::{Ports, within_runtime};
use script::Script;
use story::{introduction, invitation, say};

/// Options of `origin-shim demo`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Options {
    /// Ports to listen on: the usual ones (a free one for each that is taken), or only free ones
    #[arg(long, value_enum, default_value_t)]
    pub ports: PortChoice,

    /// Show the sequence and exit: with 0 if the fresh page arrived, otherwise with 1
    #[arg(long)]
    pub once: bool,
}

/// Starts the chain, shows a publish, its purge and the fresh page, and serves until Ctrl-C.
pub fn run(options: Options) -> Result<(), DemoError> {
    let io = |action| move |source| DemoError::Io { action, source };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(io("start a runtime"))?;
    let Ports { addresses, edge, origin, reserved } =
        Ports::choose(options.ports).map_err(io("listen on the loopback"))?;
    // No other process on this machine can guess this token.
    let token = uuid::Uuid::new_v4().simple().to_string();

    runtime.block_on(async {
        let origin = within_runtime(origin).map_err(io("listen as the origin"))?;
        let edge = within_runtime(edge).map_err(io("listen as the edge"))?;
        tokio::spawn(site::Site::default().serve(origin));
        tokio::spawn(edge::Edge::new(addresses.shim).serve(edge));
        drop(reserved);
        let shim = shim::start(&settings::toml(addresses, &token))?;

        let script = Script { addresses, token: &token };
        script.wait_until_ready().await?;
        say(&introduction(addresses))?;
        script.run().await?;
        if !options.once {
            say(&invitation(addresses, &token))?;
            tokio::signal::ctrl_c().await.map_err(io("wait for Ctrl-C"))?;
        }
        shim.stop().await
    })
}
