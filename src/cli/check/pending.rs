//! Pending purges in the store that would move or be left behind with this configuration.

use crate::base::with_causes;
use crate::config::Config;
use crate::delivery::queue_names;
use crate::store::SqliteStore;

/// Describes the purges in sentences. The store may be that of a running instance; it is only read. A user who
/// checks a configuration may lack the rights to read it, which is no fault of the configuration.
pub fn moves(config: &Config) -> Vec<String> {
    let Some(path) = &config.store.path else { return Vec::new() };
    match SqliteStore::would_move(path, &queue_names(config)) {
        Ok(moved) => moved.iter().map(ToString::to_string).collect(),
        Err(error) => vec![format!("not known: {}", with_causes(&error))],
    }
}
