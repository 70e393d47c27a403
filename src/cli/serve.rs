//! `origin-shim serve`: runs until it is stopped.

use super::{probe, systemd};
use crate::app::{App, tell_warnings};
use crate::{config, telemetry};
use anyhow::Context;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Run the proxy and the admin API until SIGTERM or Ctrl-C (the default); SIGHUP reloads the configuration
#[derive(Debug, Default, clap::Args)]
pub struct ServeArgs {
    /// Only check whether the shim that runs with this configuration is alive (for health checks of containers)
    #[arg(long)]
    probe: bool,

    /// Start beside the shim that runs with this configuration, and take its place when it ends (for upgrades)
    #[arg(long, conflicts_with = "probe")]
    take_over: bool,
}

/// Serves, then drains. A second signal ends the process at once.
pub fn run(args: &ServeArgs, path: &Path) -> anyhow::Result<ExitCode> {
    let loaded = config::load(path)?;
    if args.probe {
        probe::probe(loaded.config.admin.listen).context("not alive")?;
        return Ok(ExitCode::SUCCESS);
    }
    let log = &loaded.config.log;
    telemetry::init(log.format, &log.filter)?;
    tell_warnings(&loaded.warnings);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Signals are handled before anything listens, so that one during the start is not lost.
    let (mut terminate, mut interrupt, mut hangup) = runtime.block_on(async {
        let on = |kind| signal(kind);
        Ok::<_, std::io::Error>((
            on(SignalKind::terminate())?,
            on(SignalKind::interrupt())?,
            on(SignalKind::hangup())?,
        ))
    })?;

    let start = if args.take_over { App::start_to_take_over } else { App::start_with };
    let mut app = start(loaded, path)?;
    let mut has_admin = app.has_admin();
    let addresses = app.addresses();
    tracing::info!(
        listen = ?addresses.plain,
        tls_listen = ?addresses.tls,
        admin = %addresses.admin,
        inbound = ?addresses.inbound,
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );
    // Visitors are served with or without the admin API.
    let mut is_whole = *has_admin.borrow();
    let mut status = match is_whole {
        true => format!("serving, admin API on {}", addresses.admin),
        false => format!("serving beside another process, which has {}", addresses.admin),
    };
    systemd::ready(&status);
    let vitals = app.vitals();
    let told = runtime.block_on(async {
        let serving = async {
            loop {
                tokio::select! {
                    () = any(&mut terminate, &mut interrupt) => return true,
                    () = app.failed() => return false,
                    Ok(_) = has_admin.wait_for(|has| *has), if !is_whole => {
                        is_whole = true;
                        status = format!("serving, admin API on {}", addresses.admin);
                        systemd::ready(&status);
                    }
                    _ = hangup.recv() => {
                        let Ok(place) = telemetry::place_for_change().await else {
                            tracing::error!("nobody reads the log: no reload without its audit line");
                            continue;
                        };
                        place.write(|| tracing::info!(target: "audit", "SIGHUP received, reloading"));
                        systemd::reloading();
                        // The reload itself logs its result.
                        let refused = app.reload().await.is_err();
                        let outcome = if refused { "; the last configuration was refused" } else { "" };
                        systemd::ready(&format!("{status}{outcome}"));
                    }
                }
            }
        };
        tokio::select! {
            told = serving => told,
            // The watchdog runs beside this, because a reload may take as long as calls to CDNs do.
            never = systemd::watchdog(|| vitals.quiet_for(Instant::now())) => match never {},
        }
    });
    systemd::stopping();
    if told {
        tracing::info!("draining; a second signal ends at once");
    } else {
        tracing::error!("the control plane has ended; draining");
    }

    let draining = runtime.spawn_blocking(move || app.stop());
    runtime.block_on(async {
        tokio::select! {
            stopped = draining => stopped.context("draining")?.map_err(anyhow::Error::from),
            () = any(&mut terminate, &mut interrupt) => {
                telemetry::flush();
                std::process::exit(1)
            }
        }
    })?;
    tracing::info!("stopped");
    Ok(if told { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn any(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
