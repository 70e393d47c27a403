//! The host and the URL of a request.

use super::asked::{Asked, Named, Unread};
use super::host::{authority_of, host_of};
use crate::inbound::refused::Refused;
use bytes::Bytes;
use http::{Request, header};

/// The host and the URL of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Target {
    authority: String,
    pub(super) path: String,
    /// With its question mark.
    pub(super) query: String,
}

impl Target {
    /// Reads the target of a request in origin or absolute form (RFC 9112 §3.2), which wins over `Host`.
    pub(super) fn of(request: &Request<Bytes>) -> Result<Self, Refused> {
        let uri = request.uri();
        let host = match uri.authority() {
            Some(authority) => authority.as_str(),
            None => match request.headers().get(header::HOST) {
                Some(host) => host.to_str().map_err(|_| Refused::bad("`Host` is not a host"))?,
                None => "",
            },
        };
        let path = if uri.path().is_empty() { "/" } else { uri.path() };
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let target = Self { authority: authority_of(host), path: path.to_owned(), query };
        Ok(target.without_virtual_host().unwrap_or(target))
    }

    /// Undoes the way in which Plone is told its public URL:
    /// `/VirtualHostBase/https/host:443/Plone/VirtualHostRoot/_vh_news/page` is `/news/page` at this host.
    fn without_virtual_host(&self) -> Option<Self> {
        let mut parts = self.path.strip_prefix("/VirtualHostBase/")?.splitn(3, '/');
        let (_scheme, host, rest) = (parts.next()?, parts.next()?, parts.next()?);
        let rest = format!("/{rest}");
        let mut path = rest.split_once("/VirtualHostRoot")?.1;
        let mut public = String::new();
        while let Some(segment) = path.strip_prefix("/_vh_") {
            let end = segment.find('/').unwrap_or(segment.len());
            public = public + "/" + &segment[..end];
            path = &segment[end..];
        }
        public += if path.is_empty() && public.is_empty() { "/" } else { path };
        public.starts_with('/').then(|| Self {
            authority: authority_of(host),
            path: public,
            query: self.query.clone(),
        })
    }

    /// The host without its port, if there is one.
    pub(super) fn host(&self) -> Option<String> {
        (!self.authority.is_empty()).then(|| host_of(&self.authority))
    }

    /// The path and the query.
    pub(super) fn text(&self) -> String {
        format!("{}{}", self.path, self.query)
    }

    /// Whether clients that write such a URL mean a pattern.
    pub(super) fn is_pattern(&self) -> bool {
        self.path.contains(".*") || self.query.contains(".*")
    }

    /// Returns the purge of exactly this URL.
    pub(super) fn url(&self) -> Result<Asked, Unread> {
        let Self { authority, path, query } = self.plain()?.clone();
        Ok(Asked { urls: vec![Named { authority, path, query }], ..Asked::default() })
    }

    /// Returns the purge of the page with every query.
    pub(super) fn page(&self) -> Result<Asked, Unread> {
        Ok(Asked { pages: vec![self.plain()?.path.clone()], ..Asked::default() })
    }

    /// Returns the target if it has no star, which is a wildcard for some caches.
    fn plain(&self) -> Result<&Self, Unread> {
        match self.path.contains('*') {
            true => Err(Unread::Pattern(
                self.text(),
                "`/blog/.*` is everything below a path; a star in the name of a page is written `%2A`",
            )),
            false => Ok(self),
        }
    }
}
