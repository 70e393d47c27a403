//! A site's CDNs as the request path sees them: per type a dialect, and whether all of that type can be purged.

use crate::config::Cdn;
use crate::rewrite::{CdnType, Dialect, Edge, Reason};
use crate::view::{PurgeHealth, PurgeHealthView};
use http::HeaderName;
use std::sync::Arc;

/// A site's CDNs by type.
#[derive(Debug, Default)]
pub struct Edges {
    by_type: Vec<OfType>,
}

/// The CDNs of one type. A request tells the type, not which of them asked: so all must be healthy.
#[derive(Debug)]
struct OfType {
    dialect: Dialect,
    health: Vec<Arc<PurgeHealth>>,
    /// They differ in their headers, so it is not known which headers the one that asked reads.
    ambiguous: bool,
    /// Purges of one of them are verified.
    stamped: bool,
}

impl Edges {
    /// Resolves the health of each of the site's CDNs once, so that a request only loads it.
    pub fn compile(site: &str, cdns: &[Arc<Cdn>], health: &PurgeHealthView) -> Self {
        let mut by_type: Vec<OfType> = Vec::new();
        for cdn in cdns {
            let health = health.cell(site, &cdn.name);
            match by_type.iter_mut().find(|known| known.dialect.cdn == cdn.dialect.cdn) {
                Some(known) => {
                    known.ambiguous |= known.dialect != cdn.dialect;
                    known.stamped |= cdn.verify;
                    known.health.push(health);
                }
                None => by_type.push(OfType {
                    dialect: cdn.dialect.clone(),
                    health: vec![health],
                    ambiguous: false,
                    stamped: cdn.verify,
                }),
            }
        }
        Self { by_type }
    }

    /// The type of all the site's CDNs, where that is one.
    pub fn only(&self) -> Option<CdnType> {
        match self.by_type.as_slice() {
            [only] => Some(only.dialect.cdn),
            _ => None,
        }
    }

    /// Whether the site has no CDN.
    pub fn are_none(&self) -> bool {
        self.by_type.is_empty()
    }

    /// Whether one of the site's CDNs reads its lifetimes in the field of this name.
    pub fn read_lifetimes_in(&self, name: &HeaderName) -> bool {
        self.by_type.iter().any(|known| known.dialect.ttl_header == *name)
    }

    /// Whether the site has a CDN of this type.
    pub fn has(&self, cdn: CdnType) -> bool {
        self.of(cdn).is_some()
    }

    /// What the rewriting needs to know of the CDN that asked; none where the site has none of this type.
    pub fn edge(&self, cdn: CdnType, disputed: bool) -> Option<Edge<'_>> {
        let known = self.of(cdn)?;
        let fallback = if disputed || known.ambiguous {
            Some(Reason::CdnInDispute)
        } else if known.health.iter().all(|health| health.is_healthy()) {
            None
        } else {
            Some(Reason::PurgingUnhealthy)
        };
        Some(Edge { dialect: &known.dialect, fallback, guard: None })
    }

    /// Whether responses for CDNs of this type carry the stamp.
    pub fn is_stamped(&self, cdn: CdnType) -> bool {
        self.of(cdn).is_some_and(|known| known.stamped)
    }

    fn of(&self, cdn: CdnType) -> Option<&OfType> {
        self.by_type.iter().find(|known| known.dialect.cdn == cdn)
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
        let fallback = || edges.edge(CdnType::Fastly, false).unwrap().fallback;

        assert_eq!(fallback(), Some(Reason::PurgingUnhealthy));
        health.cell("www", "a").set(true);
        assert_eq!(fallback(), Some(Reason::PurgingUnhealthy));
        health.cell("www", "b").set(true);
        assert_eq!(fallback(), None);
        health.cell("other-site", "a").set(false);
        assert_eq!(fallback(), None);
        assert_eq!(edges.edge(CdnType::Fastly, true).unwrap().fallback, Some(Reason::CdnInDispute));
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
        assert_eq!(edges.edge(CdnType::Cloudfront, false).unwrap().fallback, Some(Reason::CdnInDispute));
    }

    #[test]
    fn a_type_that_the_site_lacks_has_no_edge() {
        let cdns = [fixture::cdn("a", CdnType::Fastly), fixture::cdn("v", CdnType::Varnish)];
        let edges = Edges::compile("www", &cdns, &PurgeHealthView::default());
        assert!(edges.edge(CdnType::Akamai, false).is_none());
        assert_eq!(edges.only(), None);
    }
}
