//! What waits in the store, and would move or be left with this configuration.

use crate::base::with_causes;
use crate::cdn::Identity;
use crate::config::Config;
use crate::store::{CdnKey, SqliteStore};

/// In sentences. The store may be that of a running instance; it is only read. Whoever checks a configuration may lack the
/// rights to do that, which is no fault of the configuration.
pub fn moves(config: &Config) -> Vec<String> {
    let Some(path) = &config.store.path else { return Vec::new() };
    let cdns = config.sites.iter().flat_map(|site| site.cdns.iter().map(move |cdn| (site, cdn)));
    let key = |site: &str, cdn: &str| CdnKey { site: site.to_owned(), cdn: cdn.to_owned() };
    let names: Vec<_> = cdns.map(|(site, cdn)| (key(&site.name, &cdn.name), Identity::of(cdn))).collect();
    match SqliteStore::would_move(path, &names) {
        Ok(moved) => moved.iter().map(ToString::to_string).collect(),
        Err(error) => vec![format!("not known: {}", with_causes(&error))],
    }
}
