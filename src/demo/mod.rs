//! `origin-shim demo`: the whole chain on this machine, without credentials. A small site is the origin, the shim is
//! in front of it, and a small edge cache in front of the shim is purged like Varnish.
//!
//! Everything listens on the loopback interface only, and all data, including the shim's store, is in memory.

mod cache;
pub mod edge;
mod freshness;
mod http1;
mod ports;
mod protocol;
mod script;
mod settings;
mod shim;
mod site;

pub use ports::PortChoice;

use crate::terminal;
use ports::{Addresses, Ports, within_runtime};
use script::Script;
use std::error::Error;
use std::io;

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

/// Why the demo ended.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The runtime, a port, the signal handler or the output failed.
    #[error("cannot {action}")]
    Io {
        /// The action that failed.
        action: &'static str,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The shim did not start.
    #[error("the shim did not start")]
    Start(#[source] Box<dyn Error + Send + Sync>),
    /// A part of the chain did not answer.
    #[error("{step}: no answer")]
    Silent {
        /// The step of the sequence.
        step: &'static str,
        /// The reason.
        #[source]
        source: http1::SendError,
    },
    /// A part of the chain gave an unexpected answer.
    #[error("{step}: expected {expected}, got {got}")]
    Unexpected {
        /// The step of the sequence.
        step: &'static str,
        /// The expected answer.
        expected: String,
        /// The actual answer.
        got: String,
    },
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

/// Prints a step of the story. Parts of it may come from servers, so the terminal module cleans it.
fn say(text: &str) -> Result<(), DemoError> {
    terminal::print(&format!("{text}\n")).map_err(|source| DemoError::Io { action: "print", source })
}

fn introduction(Addresses { edge, shim, origin, admin }: Addresses) -> String {
    format!(
        "
Origin Shim demo

  visitor -> edge            -> shim            -> origin
             {edge}    {shim}    {origin}
               ^                |
               '---- purges ----'  <- admin {admin}
"
    )
}

fn invitation(Addresses { edge, shim, origin, admin }: Addresses, token: &str) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "origin-shim".to_owned());
    let editor = site::EDITOR;
    format!(
        "
Now try it yourself.

Open
  the site, as visitors see it     http://{edge}/
  the editor, at the origin        http://{origin}{editor}

Type
  export ORIGIN_SHIM_TOKEN={token}
  curl -i http://{edge}/products/42
  curl -X POST 'http://{origin}/publish?path=/products/42'
  {program} purge --admin http://{admin} --site demo --path /products/42 --wait
  {program} purge --admin http://{admin} --site demo --tag product-42 --wait
  {program} purge --admin http://{admin} --site demo --everything --wait
  {program} purges --admin http://{admin}

What the shim tells a CDN, and what it tells everybody else
  curl -sI -H 'X-Push-Invalidation: enabled' -H 'X-BYO-CDN-Type: varnish' http://{shim}/products/42
  curl -sI http://{shim}/products/42

What a CMS sends
  curl -X POST http://{admin}/v1/sites/demo/purges -H \"Authorization: Bearer $ORIGIN_SHIM_TOKEN\" \\
    -H 'Content-Type: application/json' -H 'Prefer: wait=10' -d '{{\"tags\": [\"product-42\"]}}'

Ctrl-C ends it."
    )
}
