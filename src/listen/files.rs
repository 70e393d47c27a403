//! File descriptors. Most systems start a process with 1024, for programs that use `select`; a proxy needs one for
//! each connection on either side. Some are reserved for what must continue under load: the admin listener, the
//! store, and calls to CDNs. Connections may use the rest, as HAProxy derives its `maxconn` from `ulimit -n`.

use super::worker::turned_away;
use crate::config::Server;
use crate::http::h1::pipe;
use crate::upstream::Descriptors;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for everything except connections: the store, the log, admin calls, and calls to CDNs.
const OTHERS: u64 = 200;
/// Descriptors of an event queue and its wakers, and of the pipes for large bodies.
const PER_THREAD: u64 = 4 + 2 * pipe::MOST as u64;

/// Raises the limit on open files to the maximum that the process may request, and divides it. Warns if the
/// configured limits exceed the result.
pub(super) fn share_out(server: &Server, descriptors: &Descriptors) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(error = &error as &dyn std::error::Error, "the limit on open files cannot be raised");
    }
    let Some(files) = getrlimit(Resource::Nofile).current else { return };
    let listeners = (server.listen.len() + server.tls_listen.len()) as u64;
    let shares = Shares::of(files, OTHERS + server.workers as u64 * (PER_THREAD + listeners));
    descriptors.limit(shares.clients, shares.origins);
    let wanted = server.limits.connections;
    if shares.clients < wanted as u64 {
        tracing::warn!(
            files,
            connections = wanted,
            served = shares.clients,
            "the process may have too few open files (ulimit -n, LimitNOFILE=) for server.limits.connections: no more \
             connections of clients than `served` are served at a time"
        );
    }
}

/// The maximum number of connections on each side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shares {
    clients: u64,
    origins: u64,
}

impl Shares {
    /// Divides the descriptors. Each client may need an origin, and rejected clients need a descriptor for their
    /// response. At least half of all descriptors are for connections, because a low limit is no reason to serve
    /// no clients.
    fn of(files: u64, others: u64) -> Self {
        let left = files - others.min(files / 2);
        // Of every 33, 16 are for clients, 1 for a client that is turned away, and 16 for origins; `turned_away`
        // has a minimum.
        let clients = (left.saturating_mul(16) / 33).min(left.saturating_sub(turned_away(0)) / 2).max(1);
        let origins = left.saturating_sub(clients + turned_away(clients)).max(1);
        Self { clients, origins }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nobody_takes_what_is_kept(files in 80..2_000_000_u64, others in 0..10_000_u64) {
            let Shares { clients, origins } = Shares::of(files, others);
            let kept = others.min(files / 2);
            prop_assert!(clients + turned_away(clients) + origins + kept <= files);
            // Each client can have an origin connection.
            prop_assert!(origins >= clients);
        }
    }

    #[test]
    fn shares() {
        let check = |files, others, clients, origins| {
            assert_eq!(Shares::of(files, others), Shares { clients, origins }, "{files}");
        };
        check(256, 210, 56, 56);
        check(1024, 210, 394, 396);
        check(262_144, 210, 126_998, 133_912);
        // No sensible division is possible, but something is still served.
        check(20, 210, 1, 1);
    }
}
