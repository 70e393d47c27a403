//! The `[[sites.cdns]]` tables, resolved.

use super::cdns::CdnSettings;
use super::file::cdn::Everything;
use crate::rewrite::Dialect;
use std::time::Duration;

/// One of the `[[sites.cdns]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Cdn {
    /// The CDN's name within the site; by default its type.
    pub name: String,
    /// The hosts that visitors use, for URL purges.
    pub hosts: Vec<String>,
    /// Whether purges are hard by default.
    pub hard: bool,
    /// The extent of `everything` here.
    pub everything: Everything,
    /// The time after which the same items are purged a second time; zero: never.
    pub repeat_after: Duration,
    /// The time after which everything is purged a second time; zero: never.
    pub repeat_everything_after: Duration,
    /// Whether purges are verified by requests for purged pages, as visitors make them.
    pub verify: bool,
    /// The base URL at which pages are requested for verification, without a slash at the end; `None` for the page's
    /// own host.
    pub verify_url: Option<String>,
    /// The account, whose rate its CDNs share.
    pub account: String,
    /// The account's rate, if it is not the published one.
    pub rate: Rate,
    /// The CDN's headers.
    pub dialect: Dialect,
    /// The CDN's credentials and endpoints.
    pub settings: CdnSettings,
}

/// `sites.cdns.calls_per_second` and related keys. An absent one means the published rate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    /// Calls per second.
    pub calls_per_second: Option<f64>,
    /// Calls at once after a pause.
    pub call_burst: Option<u32>,
    /// Items per second.
    pub items_per_second: Option<f64>,
    /// Items at once after a pause, and so in one call.
    pub item_burst: Option<u32>,
}
