//! Whose a host is, and whose a tag. Requests (`proxy/routing.rs`) and purges (`purge/check.rs`) ask the same table, so that nobody
//! can purge what another site serves.

use super::Site;
use crate::rewrite::tags::{self, OwnForm};
use std::collections::HashMap;
use std::sync::Arc;

/// What each site of a configuration claims. Sites are numbered by their place in the file.
#[derive(Debug, Default)]
pub struct Claims {
    exact: ByName<usize>,
    /// By what follows the `*.`.
    wildcard: ByName<usize>,
    default: Option<usize>,
    /// Hosts that CDNs name for visitors, where they are not those of the CDN's own site already.
    of_cdns: ByName<Vec<usize>>,
    names: ByName<usize>,
}

/// Only the configuration chooses what is in it, so the hash needs no secret.
type ByName<T> = HashMap<String, T, foldhash::fast::FixedState>;

impl Claims {
    /// Those of these sites.
    pub fn of(sites: &[Arc<Site>]) -> Self {
        let mut claims = Self::default();
        for (index, site) in sites.iter().enumerate() {
            claims.names.entry(site.name.clone()).or_insert(index);
            for host in &site.hosts {
                // Hosts are unique in a checked configuration; were one not, the first site would keep it.
                match host.strip_prefix("*.") {
                    Some(parent) => claims.wildcard.entry(parent.to_ascii_lowercase()).or_insert(index),
                    None => claims.exact.entry(host.to_ascii_lowercase()).or_insert(index),
                };
            }
            if site.default {
                claims.default.get_or_insert(index);
            }
        }
        for (index, site) in sites.iter().enumerate() {
            for host in site.cdns.iter().flat_map(|cdn| &cdn.hosts) {
                if claims.exact.get(host) != Some(&index) {
                    claims.of_cdns.entry(host.clone()).or_default().push(index);
                }
            }
        }
        claims
    }

    /// The site that names this very host.
    pub fn exact(&self, host: &str) -> Option<usize> {
        self.exact.get(host).copied()
    }

    /// The site that serves a (lower-case) host: exact, then the longest wildcard, then the default site.
    pub fn server(&self, host: &str) -> Option<usize> {
        let wildcard = || {
            let parents = host.match_indices('.').map(|(dot, _)| &host[dot + 1..]);
            parents.into_iter().find_map(|parent| self.wildcard.get(parent))
        };
        self.exact.get(host).or_else(wildcard).copied().or(self.default)
    }

    /// Whether the site may purge URLs of a host: it claims it most exactly. That is the site that names the very host; else
    /// those with a CDN that does; else the site that serves it.
    pub fn may_purge(&self, site: &str, host: &str) -> bool {
        let Some(site) = self.names.get(site) else { return false };
        match (self.exact.get(host), self.of_cdns.get(host)) {
            (Some(owner), _) => owner == site,
            (None, Some(of_cdns)) => of_cdns.contains(site),
            (None, None) => self.server(host) == Some(*site),
        }
    }

    /// Whether a purge of the site may name this tag; an error says why not, and what to write instead. What the shim makes
    /// for itself is kept apart from what origins make: everything but these names is the origin's.
    pub fn may_name(&self, site: &str, tag: &str) -> Result<(), String> {
        match tags::own_form(tag) {
            Some(OwnForm::Path) => {
                return Err(
                    "is a tag that the shim makes of a path: name the path itself, in `paths`".to_owned()
                );
            }
            Some(OwnForm::Section) => {
                return Err(
                    "is a tag that the shim makes of a prefix: name the prefix itself, in `prefixes`"
                        .to_owned(),
                );
            }
            None => {}
        }
        // Some CDNs do not tell case apart, and names of sites are in lower case.
        let lower = tag.to_ascii_lowercase();
        let other = |name: &str| name != site && self.names.contains_key(name);
        match tags::site_of(&lower).is_some_and(other) {
            true => {
                Err("is the tag of all of another site, which purges of this one must not name".to_owned())
            }
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
