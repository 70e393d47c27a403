//! File descriptors. Most systems start a process with 1024, for the sake of programs that use `select`; a proxy takes one
//! for each connection on either side.

use crate::config::Limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is open besides connections: listeners, event queues, the store, the log, and calls to CDNs.
const OTHERS: u64 = 200;

/// Raises the number of files that the process may open to what it may ask for, and warns where `limits` promise more.
pub(super) fn raise_limit(limits: &Limits) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(error = &error as &dyn std::error::Error, "the limit on open files cannot be raised");
    }
    // Each connection may be one to an origin at the same time.
    let wanted = 2 * limits.connections as u64 + OTHERS;
    if let Some(current) = getrlimit(Resource::Nofile).current
        && current < wanted
    {
        tracing::warn!(
            files = current,
            connections = limits.connections,
            "server.limits.connections may take more open files than the process may have (ulimit -n, LimitNOFILE=)"
        );
    }
}
