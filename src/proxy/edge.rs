//! A site's CDNs as the request path sees them: the dialects of each type, and whether all CDNs of that type can
//! be purged.

use crate::config::Cdn;
use crate::rewrite::{CdnType, Dialect, Edge, Reason};
use crate::view::{PurgeHealth, PurgeHealthView};
use std::sync::Arc;

/// A site's CDNs by type.
#[derive(Debug, Default)]
pub struct Edges {
    by_type: Vec<OfType>,
    /// The different dialects of all the site's CDNs.
    all: Vec<Dialect>,
    /// Whether purges of at least one CDN are verified, so that responses need the stamp (`proxy/stamp.rs`).
    stamped: bool,
}

/// The CDNs of one type. A request reveals the type of the CDN but not which one sent it, so all of them must be
/// healthy.
#[derive(Debug)]
struct OfType {
    cdn: CdnType,
    /// The different dialects of these CDNs. If there is more than one, it is unknown which header fields the CDN
    /// that sent the request reads.
    dialects: Vec<Dialect>,
    health: Vec<Arc<PurgeHealth>>,
    /// Whether purges of at least one of these CDNs are verified.
    stamped: bool,
}

impl Edges {
    /// Resolves the health of each of the site's CDNs in advance, so that a request only loads it.
    pub fn compile(site: &str, cdns: &[Arc<Cdn>], health: &PurgeHealthView) -> Self {
        let (mut by_type, mut all): (Vec<OfType>, Vec<Dialect>) = (Vec::new(), Vec::new());
        for cdn in cdns {
            let (health, dialect) = (health.cell(site, &cdn.name), &cdn.dialect);
            if !all.contains(dialect) {
                all.push(dialect.clone());
            }
            match by_type.iter_mut().find(|known| known.cdn == dialect.cdn) {
                Some(known) => {
                    if !known.dialects.contains(dialect) {
                        known.dialects.push(dialect.clone());
                    }
                    known.stamped |= cdn.verify;
                    known.health.push(health);
                }
                None => by_type.push(OfType {
                    cdn: dialect.cdn,
                    dialects: vec![dialect.clone()],
                    health: vec![health],
                    stamped: cdn.verify,
                }),
            }
        }
        // An edge that shares `Cache-Control` with browsers comes last: if several dialects set the same field of
        // lifetimes, the last value remains.
        all.sort_by_key(|dialect| dialect.ttl_header == http::header::CACHE_CONTROL);
        let stamped = by_type.iter().any(|known| known.stamped);
        Self { by_type, all, stamped }
    }

    /// Returns the type of the site's CDNs if all have the same type.
    pub fn only(&self) -> Option<CdnType> {
        match self.by_type.as_slice() {
            [only] => Some(only.cdn),
            _ => None,
        }
    }

    /// Returns the types of the site's CDNs.
    pub fn types(&self) -> impl Iterator<Item = CdnType> {
        self.by_type.iter().map(|known| known.cdn)
    }

    /// Whether the site has no CDN.
    pub fn are_none(&self) -> bool {
        self.by_type.is_empty()
    }

    /// Whether one of the site's CDNs reads its lifetimes in the field of this name.
    pub fn read_lifetimes_in(&self, name: &str) -> bool {
        self.all.iter().any(|dialect| dialect.ttl_header == name)
    }

    /// Whether the site has a CDN of this type.
    pub fn has(&self, cdn: CdnType) -> bool {
        self.of(cdn).is_some()
    }

    /// Returns what the rewriting needs to know about the CDN that sent the request, or `None` if the site has
    /// none of this type.
    pub fn edge(&self, cdn: CdnType) -> Option<Edge<'_>> {
        let known = self.of(cdn)?;
        let fallback = if known.dialects.len() > 1 {
            Some(Reason::CdnInDispute)
        } else if known.health.iter().all(|health| health.is_healthy()) {
            None
        } else {
            Some(Reason::PurgingUnhealthy)
        };
        Some(Edge { dialects: &known.dialects, fallback, guard: None })
    }

    /// Returns the same for a request that any of the site's CDNs may have sent, or `None` if the site has no CDN.
    pub fn any(&self) -> Option<Edge<'_>> {
        let fallback = Some(Reason::CdnInDispute);
        (!self.all.is_empty()).then_some(Edge { dialects: &self.all, fallback, guard: None })
    }

    /// Whether at least one of the CDNs reads tags or lifetimes from a field of this name.
    pub fn reads(&self, name: &str) -> bool {
        self.all.iter().any(|dialect| {
            dialect.ttl_header == name || dialect.tag_header.as_ref().is_some_and(|tags| tags == name)
        })
    }

    /// Whether responses for one of these CDNs carry the stamp.
    pub fn are_stamped(&self, dialects: &[Dialect]) -> bool {
        self.stamped && dialects.iter().any(|dialect| self.of(dialect.cdn).is_some_and(|known| known.stamped))
    }

    fn of(&self, cdn: CdnType) -> Option<&OfType> {
        self.by_type.iter().find(|known| known.cdn == cdn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::fixture;

    #[test]
    fn several_cdns_of_one_type_must_all_be_healthy() {
        let health = PurgeHealthView::default();
        let cdns = [fixture::cdn("a", CdnType::Fastly), fixture::cdn("b", CdnType::Fastly)];
        let edges = Edges::compile("www", &cdns, &health);
        let fallback = || edges.edge(CdnType::Fastly).unwrap().fallback;

        assert_eq!(fallback(), Some(Reason::PurgingUnhealthy));
        health.cell("www", "a").set(true);
        assert_eq!(fallback(), Some(Reason::PurgingUnhealthy));
        health.cell("www", "b").set(true);
        assert_eq!(fallback(), None);
        health.cell("other-site", "a").set(false);
        assert_eq!(fallback(), None);
        assert_eq!(edges.any().unwrap().fallback, Some(Reason::CdnInDispute));
        assert_eq!(edges.only(), Some(CdnType::Fastly));
    }

    #[test]
    fn cdns_of_one_type_with_different_headers_get_fallback() {
        let health = PurgeHealthView::default();
        health.cell("www", "a").set(true);
        health.cell("www", "b").set(true);
        let mut other = (*fixture::cdn("b", CdnType::Cloudfront)).clone();
        other.dialect.tag_header = Some(http::HeaderName::from_static("x-tags"));
        let cdns = [fixture::cdn("a", CdnType::Cloudfront), Arc::new(other)];
        let edges = Edges::compile("www", &cdns, &health);
        let edge = edges.edge(CdnType::Cloudfront).unwrap();
        assert_eq!((edge.fallback, edge.dialects.len()), (Some(Reason::CdnInDispute), 2));
        assert!(edges.reads("x-tags"));
        assert!(!edges.reads("xkey"));
    }

    #[test]
    fn a_type_that_the_site_lacks_has_no_edge() {
        let cdns = [fixture::cdn("a", CdnType::Fastly), fixture::cdn("v", CdnType::Varnish)];
        let edges = Edges::compile("www", &cdns, &PurgeHealthView::default());
        assert!(edges.edge(CdnType::Akamai).is_none());
        assert_eq!(edges.only(), None);
        assert!(Edges::default().any().is_none());
    }
}
