//! What waits in the store, and would move or be left with this configuration.

use crate::cdn::Identity;
use crate::config::Config;
use crate::store::{CdnKey, OpenError, SqliteStore};

/// In sentences. The store may be that of a running instance; it is only read.
pub fn moves(config: &Config) -> Result<Vec<String>, OpenError> {
    let Some(path) = &config.store.path else { return Ok(Vec::new()) };
    let cdns = config.sites.iter().flat_map(|site| site.cdns.iter().map(move |cdn| (site, cdn)));
    let key = |site: &str, cdn: &str| CdnKey { site: site.to_owned(), cdn: cdn.to_owned() };
    let names: Vec<_> = cdns.map(|(site, cdn)| (key(&site.name, &cdn.name), Identity::of(cdn))).collect();
    let moved = SqliteStore::would_move(path, &names)?;
    Ok(moved.iter().map(ToString::to_string).collect())
}
