//! The CDNs of the current configuration.

use super::target::Target;
use crate::store::CdnKey;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Every CDN, in the order of the configuration.
#[derive(Default)]
pub(super) struct Targets {
    pub(super) all: Vec<Arc<Target>>,
    /// The range of each site's CDNs in `all`, where they are adjacent.
    of_site: HashMap<String, Range<usize>>,
}

impl Targets {
    pub(super) fn of(all: Vec<Arc<Target>>) -> Self {
        let mut of_site: HashMap<String, Range<usize>> = HashMap::new();
        for (index, target) in all.iter().enumerate() {
            of_site.entry(target.key.site.clone()).or_insert(index..index).end = index + 1;
        }
        Self { all, of_site }
    }

    pub(super) fn of_site(&self, site: &str) -> &[Arc<Target>] {
        self.of_site.get(site).and_then(|range| self.all.get(range.clone())).unwrap_or_default()
    }

    pub(super) fn has(&self, key: &CdnKey) -> bool {
        self.of_site(&key.site).iter().any(|target| target.key == *key)
    }
}
