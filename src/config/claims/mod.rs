//! The owner of each host and tag. Requests (`proxy/routing.rs`) and purges (`purge/check.rs`) use the same table,
//! so that no site can purge what another one serves.

use super::Site;
use crate::rewrite::tags::{self, OwnForm};
use std::collections::HashMap;
use std::sync::Arc;

/// The hosts and names that each site of a configuration claims. A site's number is its position in the file.
#[derive(Debug, Default)]
pub struct Claims {
    exact: ByName<usize>,
    /// Wildcard hosts, by the part after `*.`.
    wildcard: ByName<usize>,
    default: Option<usize>,
    /// Hosts that CDNs list for visitors, except those that the CDN's own site names exactly.
    of_cdns: ByName<Vec<usize>>,
    names: ByName<usize>,
}

/// A map by name. Only the configuration chooses the names, so the hash needs no secret.
type ByName<T> = HashMap<String, T, foldhash::fast::FixedState>;

impl Claims {
    /// Builds the table for `sites`.
    pub fn of(sites: &[Arc<Site>]) -> Self {
        let mut claims = Self::default();
        for (index, site) in sites.iter().enumerate() {
            claims.names.entry(site.name.clone()).or_insert(index);
            for host in &site.hosts {
                // Hosts are unique in a checked configuration. If one were not, the first site would keep it.
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

    /// Returns the site that names exactly this host.
    pub fn exact(&self, host: &str) -> Option<usize> {
        self.exact.get(host).copied()
    }

    /// Returns the site that serves a lower-case host: by exact name, then by the longest wildcard, then the default
    /// site.
    pub fn server(&self, host: &str) -> Option<usize> {
        let wildcard = || {
            let parents = host.match_indices('.').map(|(dot, _)| &host[dot + 1..]);
            parents.into_iter().find_map(|parent| self.wildcard.get(parent))
        };
        self.exact.get(host).or_else(wildcard).copied().or(self.default)
    }

    /// Whether the site may purge URLs of a host, that is, has the most exact claim to it. The site that names the
    /// host exactly has it, otherwise every site with a CDN that lists the host, otherwise the site that serves the
    /// host.
    pub fn may_purge(&self, site: &str, host: &str) -> bool {
        let Some(site) = self.names.get(site) else { return false };
        match (self.exact.get(host), self.of_cdns.get(host)) {
            (Some(owner), _) => owner == site,
            (None, Some(of_cdns)) => of_cdns.contains(site),
            (None, None) => self.server(host) == Some(*site),
        }
    }

    /// Checks that a purge of the site may name this tag; the error states the reason and the alternative. Only the
    /// names that the shim makes for itself are reserved. All other tags belong to the origin.
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
        // Some CDNs ignore the case of tags, and site names are in lower case.
        let lower = tag.to_ascii_lowercase();
        let other = |name: &str| name != site && self.names.contains_key(name);
        match tags::site_of(&lower).is_some_and(other) {
            true => {
                Err("is the site tag of another site, which purges of this site must not name".to_owned())
            }
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
