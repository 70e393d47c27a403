//! The state of the origins, which the proxy writes and the control plane shows.

use arc_swap::ArcSwap;
use std::net::SocketAddr;
use std::sync::Arc;

/// An origin of a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginStatus {
    /// The site's name.
    pub site: String,
    /// Scheme, host and port.
    pub url: String,
    /// The addresses of the origin, each with the reason why it is avoided, if it is. Empty if the origin's name
    /// has not been resolved.
    pub addresses: Vec<(SocketAddr, Option<&'static str>)>,
}

/// The state of every origin, in the order of the configuration.
#[derive(Debug, Default)]
pub struct OriginsView(ArcSwap<Vec<OriginStatus>>);

impl OriginsView {
    /// Returns the current state.
    pub fn get(&self) -> Arc<Vec<OriginStatus>> {
        self.0.load_full()
    }

    /// Replaces the state. Only the proxy calls this.
    pub fn set(&self, origins: Vec<OriginStatus>) {
        self.0.store(Arc::new(origins));
    }
}

impl OriginStatus {
    /// Returns how many addresses are used, and how many are avoided.
    pub fn counts(&self) -> (usize, usize) {
        let avoided = self.addresses.iter().filter(|(_, reason)| reason.is_some()).count();
        (self.addresses.len() - avoided, avoided)
    }

    /// Returns what is wrong with the origin, in words and without its addresses, or `None` if all addresses are
    /// healthy.
    pub fn complaint(&self) -> Option<String> {
        let Self { site, url, addresses } = self;
        let Some(reason) = addresses.iter().find_map(|(_, reason)| *reason) else {
            return addresses.is_empty().then(|| format!("{site}: the name of {url} does not resolve"));
        };
        let (used, avoided) = self.counts();
        let all = used + avoided;
        Some(format!("{site}: {avoided} of {all} addresses of {url} avoided: {reason}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints() {
        let check = |reasons: &[Option<&'static str>], expected: Option<&str>| {
            let address = SocketAddr::from(([10, 0, 0, 1], 80));
            let addresses = reasons.iter().map(|reason| (address, *reason)).collect();
            let status = OriginStatus { site: "www".to_owned(), url: "http://a".to_owned(), addresses };
            assert_eq!(status.complaint().as_deref(), expected);
        };
        check(&[], Some("www: the name of http://a does not resolve"));
        check(&[None, None], None);
        check(
            &[None, Some("its checks fail")],
            Some("www: 1 of 2 addresses of http://a avoided: its checks fail"),
        );
    }
}
