//! The owners of queues. A queue's name is what the configuration calls its CDN today, and its identity decides
//! where its purges go.

use super::{CdnKey, Moved};
use crate::cdn::{Identity, successor};
use crate::rewrite::CdnType;
use std::collections::{BTreeMap, HashMap};

/// A queue under its last name.
pub(super) struct Queue {
    pub(super) id: i64,
    pub(super) key: CdnKey,
    pub(super) identity: Identity,
    /// The number of its jobs under way.
    pub(super) jobs: i64,
    /// The type of CDN for which these were planned.
    pub(super) waits_for: Option<CdnType>,
}

/// A name, and the queues that are to have it. Several queues may turn out to be the same.
pub(super) struct Named {
    pub(super) name: CdnKey,
    pub(super) identity: Identity,
    /// The queues. The first keeps its row, and the others are merged into it.
    pub(super) queues: Vec<Queue>,
    orphaned: bool,
}

/// Returns the name of every queue, whether or not it has that name already.
pub(super) fn named(queues: Vec<Queue>, cdns: &[(CdnKey, Identity)]) -> Vec<Named> {
    let mut of_site: HashMap<&str, Vec<(&str, &Identity)>> = HashMap::new();
    for (key, identity) in cdns {
        of_site.entry(key.site.as_str()).or_default().push((key.cdn.as_str(), identity));
    }
    let identities: HashMap<&CdnKey, &Identity> =
        cdns.iter().map(|(key, identity)| (key, identity)).collect();
    let mut by_name: BTreeMap<CdnKey, (bool, Vec<Queue>)> = BTreeMap::new();
    for queue in queues {
        let of_site = of_site.get(queue.key.site.as_str()).map(Vec::as_slice).unwrap_or_default();
        let waits_for = queue.waits_for.map(CdnType::as_str);
        let heir = successor((&queue.key.cdn, &queue.identity), waits_for, of_site);
        let cdn = heir.map_or_else(|| orphan(&queue, of_site), str::to_owned);
        let name = CdnKey { site: queue.key.site.clone(), cdn };
        by_name.entry(name).or_insert_with(|| (heir.is_none(), Vec::new())).1.push(queue);
    }
    let named = |(name, (orphaned, mut queues)): (CdnKey, (bool, Vec<Queue>))| {
        // The queue that has the name already keeps its row.
        queues.sort_by_key(|queue| (queue.key != name, queue.id));
        let known = identities.get(&name).map(|identity| (*identity).clone());
        let identity =
            known.or_else(|| queues.first().map(|queue| queue.identity.clone())).unwrap_or_default();
        Named { name, identity, queues, orphaned }
    };
    by_name.into_iter().map(named).collect()
}

impl Named {
    /// Returns the queues whose name changes and that have jobs under way.
    pub(super) fn moved(&self) -> impl Iterator<Item = Moved> + '_ {
        let mut moved: Vec<&Queue> =
            self.queues.iter().filter(|queue| queue.key != self.name && queue.jobs > 0).collect();
        moved.sort_by_key(|queue| queue.id);
        moved.into_iter().map(|queue| Moved {
            from: queue.key.clone(),
            to: self.name.clone(),
            orphaned: self.orphaned,
            jobs: u64::try_from(queue.jobs).unwrap_or_default(),
        })
    }

    /// Returns the queues that do not have the name yet.
    pub(super) fn renamed(&self) -> impl Iterator<Item = &Queue> {
        self.queues.iter().filter(|queue| queue.key != self.name)
    }
}

/// Returns the name of an orphan: its identity, which no configured CDN has as its name. An orphan of unknown
/// identity keeps its name unless a configured CDN has it.
fn orphan(queue: &Queue, of_site: &[(&str, &Identity)]) -> String {
    let name = &queue.key.cdn;
    match queue.identity.is_unknown() {
        true if of_site.iter().any(|(known, _)| known == name) => format!("former:{name}"),
        true => name.clone(),
        false => queue.identity.to_string(),
    }
}
