//! The admin API's view of the delivery tasks (`delivery/`), and of the planner whose jobs they send.

use super::problem::BadItem;
use crate::config::{Config, Site};
use crate::purge::{JobPlan, PurgeRequest};
use std::sync::Arc;
use tokio::sync::watch;

/// Plans a purge for each CDN concerned, or names every item that cannot be purged.
pub type Planner =
    dyn Fn(&Arc<Config>, &Site, &PurgeRequest) -> Result<Vec<JobPlan>, Vec<BadItem>> + Send + Sync;

/// The admin API's view of the delivery tasks.
pub trait Control: Send + Sync {
    /// Wakes the delivery tasks of a site, because there is something new to send to its CDNs.
    fn wake(&self, site: &str);

    /// Sends jobs at once that wait for another attempt at this CDN.
    fn hurry(&self, site: &str, cdn: &str);

    /// Reports that a CDN of this site received `calls` calls about its credentials, which count towards its
    /// account's rate. With `probe`, one of them was the purge of a tag.
    fn called(&self, site: &str, cdn: &str, calls: u64, probe: bool);

    /// Returns the purge health of each CDN of the site. An absent CDN has not been checked yet.
    fn health(&self, site: &str) -> Vec<CdnHealth>;

    /// Returns the problems that are not those of a CDN: of the store, and of jobs that wait for CDNs that are
    /// gone. The texts are for people and contain no secret.
    fn complaints(&self) -> Vec<String>;

    /// Returns a counter that changes whenever a purge may have moved on, so that waiting calls check again.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// The purge health of one CDN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CdnHealth {
    /// The CDN's name within its site.
    pub name: String,
    /// Whether a response with a long TTL could be purged from the CDN.
    pub healthy: bool,
    /// Reasons why the CDN is not healthy, in words and without secrets.
    pub reasons: Vec<String>,
}
