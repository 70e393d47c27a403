//! What a client asks for, and the purge that it becomes.

use super::host::host_of;
use crate::inbound::refused::Refused;
use crate::purge::{PurgeMode, PurgeRequest};

/// What a client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The hosts by which the client names the site, in lower case and without the port, if it names any. Many clients
    /// send the name of the cache's machine instead.
    pub hosts: Vec<String>,
    /// Tags to purge.
    pub tags: Vec<String>,
    /// Paths of pages to purge with every query.
    pub pages: Vec<String>,
    /// Paths below which everything is purged.
    pub prefixes: Vec<String>,
    /// URLs to purge exactly.
    pub urls: Vec<Named>,
    /// Whether to purge the whole site.
    pub everything: bool,
    /// The mode of the purge; `None`: as configured for each CDN.
    pub mode: Option<PurgeMode>,
    /// The pattern in whose place everything is purged.
    pub widened: Option<String>,
    /// Whether the client speaks Souin's API, which answers without a body.
    pub(super) is_souin: bool,
}

/// A URL without its scheme, which no client of Varnish knows for certain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The host, with a port that is no default one.
    pub authority: String,
    /// The path.
    pub path: String,
    /// The query, with its question mark.
    pub query: String,
}

/// Why a request does not become a purge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// A pattern that is not in the list of those that are understood: the pattern, and what to write instead.
    Pattern(String, &'static str),
    /// The request is refused.
    Refused(Refused),
}

impl From<Refused> for Unread {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl Asked {
    /// Returns the purge of everything instead of this one, of which `what` cannot be purged.
    pub fn widened(&self, what: String) -> Self {
        let (hosts, mode, is_souin) = (self.hosts.clone(), self.mode, self.is_souin);
        Self { hosts, mode, is_souin, everything: true, widened: Some(what), ..Self::default() }
    }

    /// Returns the purge of a site. `is_own` says whether a host is one of the site's: a URL of another one is the
    /// page on every host, since clients inside a network name the site by the machine of its cache.
    pub fn request(&self, is_own: impl Fn(&str) -> bool) -> PurgeRequest {
        let mut paths = self.pages.clone();
        let mut urls = Vec::new();
        for url in &self.urls {
            // A star in a query would be taken for a wildcard.
            if is_own(&host_of(&url.authority)) && !url.query.contains('*') {
                let Named { authority, path, query } = url;
                urls.extend(["http", "https"].map(|scheme| format!("{scheme}://{authority}{path}{query}")));
            } else {
                paths.push(url.path.clone());
            }
        }
        let reason = match &self.widened {
            None => "asked for in the dialect of Varnish".to_owned(),
            Some(pattern) => {
                let pattern: String = pattern.chars().take(200).collect();
                format!("everything, since this is not understood or cannot be purged alone: {pattern}")
            }
        };
        PurgeRequest {
            tags: self.tags.clone(),
            paths,
            urls,
            prefixes: self.prefixes.clone(),
            everything: self.everything,
            mode: self.mode,
            reason: Some(reason),
            ..PurgeRequest::default()
        }
    }
}

/// The purge of a whole site.
pub(super) fn everything() -> Asked {
    Asked { everything: true, ..Asked::default() }
}
