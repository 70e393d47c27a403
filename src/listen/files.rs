//! File descriptors. Most systems start a process with 1024, for the sake of programs that use `select`; a proxy takes one
//! for each connection on either side. Some are kept for what must go on in a crowd: the admin listener, the store, and calls
//! to CDNs. What connections may take is what is left, as HAProxy derives its `maxconn` from `ulimit -n`.

use super::worker::turned_away;
use crate::config::Server;
use crate::upstream::Descriptors;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is open besides connections: the store, the log, admin calls, and calls to CDNs.
const OTHERS: u64 = 200;
/// An event queue with what wakes it.
const PER_THREAD: u64 = 4;

/// Raises the number of files that the process may open to what it may ask for, shares it out, and warns where the limits
/// promise more.
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

/// How many connections of each side there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shares {
    clients: u64,
    origins: u64,
}

impl Shares {
    /// Each client may need an origin, and those who are turned away need a descriptor to be told. At least half of all is
    /// for connections: a limit that small is no reason to serve nobody.
    fn of(files: u64, others: u64) -> Self {
        let left = files - others.min(files / 2);
        // Of each 33, 16 are for clients, 1 for one that is turned away, and 16 for origins; `turned_away` has a minimum.
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
            // Each client can have an origin.
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
        // Nothing sensible can be had, and something is served all the same.
        check(20, 210, 1, 1);
    }
}
