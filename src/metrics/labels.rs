//! The labels of metrics.

use prometheus_client::encoding::EncodeLabelSet;

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
