//! The labels of metrics.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct SiteState {
    pub(super) site: String,
    pub(super) state: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct SiteCdn {
    pub(super) site: String,
    pub(super) cdn: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct SiteCdnOutcome {
    pub(super) site: String,
    pub(super) cdn: String,
    pub(super) outcome: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct SiteCdnSeen {
    pub(super) site: String,
    pub(super) cdn: String,
    pub(super) seen: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OriginState {
    pub(super) site: String,
    pub(super) origin: String,
    pub(super) state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct File {
    pub(super) file: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ReloadResult {
    pub(super) result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Inbound {
    pub(super) protocol: &'static str,
    pub(super) client: &'static str,
    pub(super) outcome: &'static str,
}

pub(super) fn site_cdn(site: &str, cdn: &str) -> SiteCdn {
    SiteCdn { site: site.into(), cdn: cdn.into() }
}

pub(super) fn site_cdn_outcome(site: &str, cdn: &str, outcome: &str) -> SiteCdnOutcome {
    SiteCdnOutcome { site: site.into(), cdn: cdn.into(), outcome: outcome.into() }
}

/// Returns the counters of both results, starting at zero. For Prometheus, a new series is not an increase, so
/// otherwise the first refusal would raise no alert.
pub(super) fn reloads() -> Family<ReloadResult, Counter> {
    let family = Family::default();
    for result in ["accepted", "refused"] {
        drop(family.get_or_create(&ReloadResult { result }));
    }
    family
}
