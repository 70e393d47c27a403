//! The rate at which each CDN lets an account purge: as vendors publish it, and as the configuration overrides
//! it.

use super::{Counted, ItemKind};
use crate::config::Rate;
use std::time::Duration;

/// The rates of an account.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rates {
    /// Token buckets; a call takes tokens from each bucket that counts it.
    pub limits: Vec<Limit>,
    /// Limits on what may be in progress at the same time.
    pub ceilings: Vec<Ceiling>,
}

/// One token bucket of an account, which starts full.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// The name under which the store keeps the bucket.
    pub name: &'static str,
    /// Whether a call takes one token or one for each item.
    pub counted: Counted,
    /// The kinds of items whose calls are counted.
    pub kinds: &'static [ItemKind],
    /// Tokens that return each second.
    pub per_second: f64,
    /// Tokens that the bucket holds.
    pub burst: f64,
    /// Whether the vendor counts in windows: an empty bucket is refilled completely at the end of its window.
    pub windowed: bool,
}

/// The number of items that may be in progress at the same time, from the acceptance of a call until the CDN
/// reports it complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceiling {
    /// The kinds of items that are counted; the scheduling kind of a wildcard is `Prefix`.
    pub kinds: &'static [ItemKind],
    /// The maximum number of such items.
    pub most: u64,
    /// The usual time that an item is in progress.
    pub usually: Duration,
}

pub(super) const ALL: &[ItemKind] = &[ItemKind::Url, ItemKind::Tag, ItemKind::Prefix, ItemKind::Everything];
pub(super) const URLS: &[ItemKind] = &[ItemKind::Url];
pub(super) const TAGS: &[ItemKind] = &[ItemKind::Tag];
pub(super) const URLS_AND_TAGS: &[ItemKind] = &[ItemKind::Url, ItemKind::Tag];
pub(super) const ALL_BUT_URLS: &[ItemKind] = &[ItemKind::Tag, ItemKind::Prefix, ItemKind::Everything];
pub(super) const EVERYTHING: &[ItemKind] = &[ItemKind::Everything];
pub(super) const WILDCARDS: &[ItemKind] = &[ItemKind::Prefix, ItemKind::Everything];

/// Replaces every published rate of this sort by the configured one. If none is published, the configured rate
/// counts all kinds.
fn adjust(limits: &mut Vec<Limit>, counted: Counted, per_second: Option<f64>, burst: Option<u32>) {
    let Some(per_second) = per_second else { return };
    // A purge-all with a limit of its own keeps it.
    let is_meant = |limit: &Limit| limit.counted == counted && limit.kinds != EVERYTHING;
    if !limits.iter().any(is_meant) {
        let name = if counted == Counted::Calls { "calls" } else { "items" };
        limits.push(Limit { counted, ..calls(name, ALL, per_second, per_second.max(1.0)) });
    }
    for limit in limits.iter_mut().filter(|limit| is_meant(limit)) {
        limit.per_second = per_second;
        limit.burst = burst.map_or(limit.burst, f64::from);
    }
}

pub(super) fn calls(name: &'static str, kinds: &'static [ItemKind], per_second: f64, burst: f64) -> Limit {
    Limit { name, counted: Counted::Calls, kinds, per_second, burst, windowed: false }
}

pub(super) fn items(name: &'static str, kinds: &'static [ItemKind], per_second: f64, burst: f64) -> Limit {
    Limit { counted: Counted::Items, ..calls(name, kinds, per_second, burst) }
}

impl Limit {
    /// Returns the number of tokens that `calls` calls take which carry these numbers of items of each kind, in
    /// the order of declaration.
    pub fn tokens(&self, calls: u64, items: &[u64; 4]) -> f64 {
        let of_kinds: u64 = self.kinds.iter().map(|kind| items[*kind as usize]).sum();
        match self.counted {
            _ if of_kinds == 0 => 0.0,
            Counted::Calls => calls as f64,
            Counted::Items => of_kinds as f64,
        }
    }
}

impl Rates {
    /// Returns these published rates with those that are configured, all a little below: the CDN's clock and the
    /// network's delays are not ours, and a call that arrives a millisecond too early is refused.
    pub(super) fn adjusted(mut self, rate: &Rate) -> Self {
        const MARGIN: f64 = 0.95;
        adjust(&mut self.limits, Counted::Calls, rate.calls_per_second, rate.call_burst);
        adjust(&mut self.limits, Counted::Items, rate.items_per_second, rate.item_burst);
        for limit in &mut self.limits {
            limit.per_second *= MARGIN;
            limit.burst = (limit.burst * MARGIN).max(1.0);
        }
        self
    }

    /// Returns the rates of CDNs that share an account: the strictest of their limits.
    pub fn strictest(mut self, other: Self) -> Self {
        for limit in other.limits {
            match self.limits.iter_mut().find(|known| known.name == limit.name) {
                Some(known) => {
                    known.per_second = known.per_second.min(limit.per_second);
                    known.burst = known.burst.min(limit.burst);
                }
                None => self.limits.push(limit),
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cdn::{configured, rates};
    use crate::config::secret::Secret;
    use crate::config::{Cdn, CdnSettings, CloudflarePlan, Everything};
    use crate::rewrite::{CdnType, Dialect};

    fn published(settings: &CdnSettings) -> Rates {
        configured(settings).published()
    }

    fn cdn(settings: CdnSettings, rate: Rate) -> Cdn {
        Cdn {
            name: "cdn".into(),
            hosts: vec![],
            hard: true,
            everything: Everything::SiteTag,
            repeat_after: Duration::ZERO,
            repeat_everything_after: Duration::ZERO,
            verify: false,
            verify_url: None,
            account: "main".into(),
            rate,
            dialect: Dialect::new(CdnType::Fastly, None, None),
            settings,
        }
    }

    fn settings(cdn_type: CdnType) -> CdnSettings {
        let mut settings = crate::purge::testing::cdn(cdn_type).settings;
        if let CdnSettings::Akamai(akamai) = &mut settings {
            akamai.cp_codes = vec![1, 2, 3];
        }
        settings
    }

    fn cloudflare(plan: CloudflarePlan) -> CdnSettings {
        let api_url = String::from("https://api.example.com");
        CdnSettings::Cloudflare(crate::config::cdns::Cloudflare {
            zone_id: "z".into(),
            api_token: Secret::new("secret"),
            plan,
            enterprise_only: false,
            api_url,
        })
    }

    /// Formats limits as `name: tokens a minute, burst`, before the margin.
    fn shown(limits: &[Limit]) -> Vec<String> {
        let show =
            |limit: &Limit| format!("{}: {:.1}/min, {:.0}", limit.name, limit.per_second * 60.0, limit.burst);
        limits.iter().map(show).collect()
    }

    #[test]
    fn what_vendors_publish() {
        let check = |settings, expected: &[&str]| assert_eq!(shown(&published(&settings).limits), expected);
        check(settings(CdnType::Fastly), &["keys: 1666.7/min, 100000", "purge-all: 16.7/min, 1000"]);
        check(
            settings(CdnType::Akamai),
            &[
                "calls: 3000.0/min, 100",
                "urls: 12000.0/min, 10000",
                "tags: 500.0/min, 5000",
                "cp-codes: 10.0/min, 100",
            ],
        );
        check(cloudflare(CloudflarePlan::Free), &["calls: 5.0/min, 25", "urls: 48000.0/min, 800"]);
        check(cloudflare(CloudflarePlan::Pro), &["calls: 300.0/min, 25", "urls: 90000.0/min, 1500"]);
        check(cloudflare(CloudflarePlan::Business), &["calls: 600.0/min, 50", "urls: 90000.0/min, 1500"]);
        check(
            cloudflare(CloudflarePlan::Enterprise),
            &["calls: 3000.0/min, 500", "urls: 180000.0/min, 3000"],
        );
        check(settings(CdnType::Cloudfront), &["calls: 60.0/min, 5"]);
        check(settings(CdnType::Varnish), &[]);
        let ceilings: Vec<_> = published(&settings(CdnType::Cloudfront)).ceilings;
        assert_eq!(ceilings.iter().map(|ceiling| ceiling.most).collect::<Vec<_>>(), [3_000, 15]);
    }

    #[test]
    fn what_is_configured_replaces_it() {
        let check = |cdn_type,
                     calls: (Option<f64>, Option<u32>),
                     items: (Option<f64>, Option<u32>),
                     expected: &[&str]| {
            let rate = Rate {
                calls_per_second: calls.0,
                call_burst: calls.1,
                items_per_second: items.0,
                item_burst: items.1,
            };
            let mut limits = rates(&cdn(settings(cdn_type), rate)).limits;
            for limit in &mut limits {
                limit.per_second /= 0.95;
                limit.burst = (limit.burst / 0.95).round();
            }
            assert_eq!(shown(&limits), expected, "{cdn_type:?}");
        };
        let none = (None, None);
        check(
            CdnType::Cloudflare,
            (Some(1.0), None),
            none,
            &["calls: 60.0/min, 25", "urls: 48000.0/min, 800"],
        );
        check(
            CdnType::Cloudflare,
            (Some(1.0), Some(2)),
            (Some(10.0), Some(100)),
            &["calls: 60.0/min, 2", "urls: 600.0/min, 100"],
        );
        // Fastly's purge-all has a limit of its own.
        check(
            CdnType::Fastly,
            (Some(10.0), None),
            (Some(100.0), None),
            &["keys: 6000.0/min, 100000", "purge-all: 16.7/min, 1000", "calls: 600.0/min, 10"],
        );
        check(
            CdnType::Varnish,
            (Some(2.0), None),
            (Some(50.0), Some(500)),
            &["calls: 120.0/min, 2", "items: 3000.0/min, 500"],
        );
    }

    #[test]
    fn who_is_counted() {
        let [keys, all] = published(&settings(CdnType::Fastly)).limits[..] else { panic!("two limits") };
        // The numbers are those of URLs, tags, prefixes and everything.
        assert_eq!([keys.tokens(1, &[2, 3, 0, 0]), all.tokens(1, &[2, 3, 0, 0])], [5.0, 0.0]);
        assert_eq!([keys.tokens(1, &[0, 0, 0, 1]), all.tokens(1, &[0, 0, 0, 1])], [0.0, 1.0]);
    }

    #[test]
    fn accounts_keep_to_the_strictest_of_their_cdns() {
        let of = |plan| published(&cloudflare(plan));
        let both = of(CloudflarePlan::Free).strictest(of(CloudflarePlan::Enterprise));
        assert_eq!(both, of(CloudflarePlan::Free));
    }
}
