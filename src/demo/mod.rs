//! `origin-shim demo`: the whole chain on this machine, without credentials. A small site is the origin, the shim is
//! in front of it, and a small edge cache in front of the shim is purged like Varnish.
//!
//! Everything listens on the loopback interface only, and all data, including the shim's store, is in memory.

mod cache;
pub mod edge;
mod error;
mod figures;
mod freshness;
mod http1;
mod load;
mod pages;
mod ports;
mod protocol;
mod screen;
mod script;
mod settings;
mod shim;
mod site;
mod story;

pub use error::DemoError;
pub use ports::PortChoice;

use figures::{Figures, Side};
use load::Load;
use ports::{Ports, within_runtime};
use script::Script;
use std::sync::{Arc, Mutex, PoisonError};
use story::{introduction, invitation, places, say};

/// Show the whole chain on this machine: a shop, the shim, a small CDN, visitors and an editor
///
/// Needs no account and no configuration, listens on the loopback only, and keeps everything in memory.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Options {
    /// Ports to listen on: the usual ones (a free one for each that is taken), or only free ones
    #[arg(long, value_enum, default_value_t)]
    pub ports: PortChoice,

    /// Show one publish and its purge and exit: with 0 if the fresh page arrived, otherwise with 1
    #[arg(long)]
    pub once: bool,
}

/// Starts the chain, shows a publish, its purge and the fresh page, and lives on with visitors and an editor until
/// Ctrl-C.
pub fn run(options: Options) -> Result<(), DemoError> {
    let io = |action| move |source| DemoError::Io { action, source };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(io("start a runtime"))?;
    let Ports { addresses, edge, origin, bare_edge, bare_origin, reserved } =
        Ports::choose(options.ports).map_err(io("listen on the loopback"))?;
    // No other process on this machine can guess this token.
    let token = uuid::Uuid::new_v4().simple().to_string();
    let (site, figures) = (Arc::new(site::Site::default()), Figures::default());

    runtime.block_on(async {
        let bare_address = bare_origin.local_addr().map_err(io("listen as the origin"))?;
        for (listener, side) in [(origin, Side::With), (bare_origin, Side::Without)] {
            let listener = within_runtime(listener).map_err(io("listen as the origin"))?;
            tokio::spawn(site.clone().serve(listener, figures.requests(side)));
        }
        for (listener, behind) in [(edge, addresses.shim), (bare_edge, bare_address)] {
            let listener = within_runtime(listener).map_err(io("listen as the edge"))?;
            tokio::spawn(edge::Edge::new(behind).serve(listener));
        }
        drop(reserved);
        let shim = shim::start(&settings::toml(addresses, &token))?;

        let script = Script { addresses, token: &token };
        script.wait_until_ready().await?;
        say(&introduction(addresses))?;
        if !options.once {
            say(&places(addresses, &token))?;
        }
        script.run().await?;
        if !options.once {
            say(&invitation(addresses, &token))?;
            let figures = Arc::new(Mutex::new(figures));
            let load = Load { addresses, token: token.clone(), site, figures: figures.clone() };
            tokio::spawn(load.run());
            tokio::select! {
                ended = tokio::signal::ctrl_c() => ended.map_err(io("wait for Ctrl-C"))?,
                failed = screen::show(&figures) => { failed?; }
            }
            say(&format!("\n{}", figures.lock().unwrap_or_else(PoisonError::into_inner).lines().join("\n")))?;
        }
        shim.stop().await
    })
}
