//! Planning: the items of a purge by each CDN's capabilities. If a CDN lacks a kind, a broader one is used, never a
//! narrower one, and the plan states what was widened and why. A CDN that may have copies without the shim's tags is
//! planned both as one without tags and as one with tags, because it may have both kinds of copies.

use super::check::{Checked, ItemError, check, shown, takes};
use super::{JobPlan, PurgeMode, PurgeRequest, spellings};
use crate::base::milliseconds;
use crate::cdn::{Capabilities, Identity, Item, ItemKind};
use crate::config::{Cdn, Claims, Everything, Site};
use crate::rewrite::facts::PurgingFacts;
use crate::rewrite::path::normalise;
use crate::rewrite::tags;
use std::collections::HashSet;
use std::sync::Arc;
use url::Url;

/// The ways in which a CDN can be purged.
#[derive(Clone, Debug)]
pub struct Means {
    /// The capabilities of its adapter.
    pub can: Capabilities,
    /// Why the CDN may have copies without the shim's tags, in words, if it may.
    pub untagged: Option<String>,
}

/// The means for a CDN in which every copy has the shim's tags.
impl From<Capabilities> for Means {
    fn from(can: Capabilities) -> Self {
        Self { can, untagged: None }
    }
}

/// Plans `request` for each CDN of the site that it concerns, in file order: every requested item is covered on each
/// of them. A CDN gets no job if none of the URLs has one of its hosts. `claims` are those of all sites.
///
/// # Errors
///
/// Returns each item that is invalid, that belongs to another site, or that one of the CDNs cannot purge at all.
/// Nothing is planned then.
pub fn plan_among<M: Into<Means>>(
    claims: &Claims,
    site: &Site,
    means: &dyn Fn(&Cdn) -> M,
    request: &PurgeRequest,
) -> Result<Vec<JobPlan>, Vec<ItemError>> {
    let wanted = check(claims, site, request)?;
    let mut errors = Vec::new();
    let mut jobs = Vec::new();
    for cdn in &wanted.cdns {
        let mut planner = Planner::new(site, cdn, means(cdn), request.mode);
        match planner.cover(&wanted) {
            Ok(()) => jobs.push(planner.job()),
            Err(refused) => errors.extend(refused),
        }
    }
    jobs.retain(|job| !job.items.is_empty());
    if errors.is_empty() { Ok(jobs) } else { Err(errors) }
}

/// Plans as [`plan_among`] does, for a site that is the only one.
pub fn plan<M: Into<Means>>(
    site: &Site,
    means: &dyn Fn(&Cdn) -> M,
    request: &PurgeRequest,
) -> Result<Vec<JobPlan>, Vec<ItemError>> {
    plan_among(&Claims::of(&[Arc::new(site.clone())]), site, means, request)
}

/// Returns the item for the whole site at this CDN, for use when nothing narrower is possible: its site tag if every
/// copy has that, otherwise the CDN's purge-all, or `None` if the CDN has neither.
pub fn widest(site: &Site, cdn: &Cdn, means: impl Into<Means>, hard: bool) -> Option<Item> {
    let cdn = Cdn { everything: Everything::SiteTag, ..cdn.clone() };
    let mode = if hard { PurgeMode::Hard } else { PurgeMode::Soft };
    let mut planner = Planner::new(site, &cdn, means, Some(mode));
    planner.purge_everything().ok()?;
    planner.items.pop()
}

/// A plan for one CDN that is being made.
struct Planner<'a> {
    site: &'a Site,
    cdn: &'a Cdn,
    can: Capabilities,
    /// Facts about the CDN's type.
    facts: &'static PurgingFacts,
    /// Why copies without tags may exist, see [`Means`].
    untagged: Option<String>,
    /// Whether a hard purge was requested.
    hard: bool,
    items: Vec<Item>,
    seen: HashSet<Item>,
    everything: bool,
    fallback: Vec<String>,
}

impl<'a> Planner<'a> {
    fn new(site: &'a Site, cdn: &'a Cdn, means: impl Into<Means>, mode: Option<PurgeMode>) -> Self {
        let Means { can, untagged } = means.into();
        let hard = mode.map_or(cdn.hard, |mode| mode == PurgeMode::Hard);
        let (items, seen, fallback) = (Vec::new(), HashSet::new(), Vec::new());
        let facts = &cdn.dialect.cdn.facts().purging;
        Self { site, cdn, can, facts, untagged, hard, items, seen, everything: false, fallback }
    }

    fn job(self) -> JobPlan {
        let repeat = if self.everything { self.cdn.repeat_everything_after } else { self.cdn.repeat_after };
        JobPlan {
            cdn: self.cdn.name.clone(),
            identity: Identity::of(self.cdn),
            cdn_type: self.cdn.dialect.cdn,
            items: self.items,
            everything: self.everything,
            untagged: self.untagged.is_some(),
            fallback: self.fallback,
            repeat_after_ms: milliseconds(repeat),
        }
    }

    fn cover(&mut self, wanted: &Checked<'_>) -> Result<(), Vec<ItemError>> {
        self.everything |= wanted.everything;
        if !self.everything
            && let Some(why) = self.cdn.settings.always_everything()
        {
            self.widen(why);
        }
        let mut errors = Vec::new();
        if !self.everything {
            self.tags(wanted.tags, wanted.paths);
            self.paths(wanted.paths, &mut errors);
            self.urls(&wanted.urls, &mut errors);
            self.prefixes(wanted.prefixes, &mut errors);
        }
        if self.everything {
            // A purge of everything takes the place of all other items, of which none is harder. So their errors do
            // not matter, either.
            errors.clear();
            self.items.clear();
            self.seen.clear();
            self.purge_everything().map_err(|error| vec![error])?;
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    fn tags(&mut self, tags: &[String], paths: &[String]) {
        if tags.is_empty() {
            return;
        }
        if let Some(broad) = tags.iter().find(|tag| self.site.policy.tags.is_broad(tag.as_bytes())) {
            return self.widen(&format!(
                "tags: responses do not carry {} because `sites.tags.broad` names it, so everything is purged",
                shown(broad)
            ));
        }
        let why = match &self.untagged {
            _ if !self.can.tags => Some("tags: this CDN takes none here, so everything is purged".to_owned()),
            Some(why) => Some(format!("tags: {}, so everything is purged", without_tags(why))),
            None => None,
        };
        if let Some(why) = why {
            // A publish event names a page of AEM by its paths and by keys. If the paths cover all these keys, they
            // are enough.
            let within = self.site.policy.aem.as_ref().map(|aem| aem.keys_within(paths)).unwrap_or_default();
            if !tags.iter().all(|tag| within.contains(tag)) {
                return self.widen(&why);
            }
        }
        if self.can.tags {
            for tag in tags {
                self.push_tag(tag);
            }
        }
    }

    fn paths(&mut self, paths: &[String], errors: &mut Vec<ItemError>) {
        if paths.is_empty() {
            return;
        }
        let by_tag = self.can.tags && self.site.policy.tags.path;
        if by_tag {
            for path in paths {
                tags::path_tags(&self.site.name, path).iter().for_each(|tag| self.push_tag(tag));
            }
            let Some(why) = &self.untagged else { return };
            self.note(&format!("paths: purged by URL, too: {}", without_tags(why)));
        }
        if self.facts.paths {
            // CDNs whose purges name paths do not distinguish hosts, and a wildcard covers the queries.
            for (index, path) in paths.iter().enumerate() {
                for target in self.within_the_site(
                    ("paths", index),
                    spellings::targets(self.cdn.dialect.cdn, path),
                    errors,
                ) {
                    self.push_url(target.clone());
                    if !target.ends_with('*') {
                        self.push_url(format!("{target}?*"));
                    }
                }
            }
            return;
        }
        if self.cdn.hosts.is_empty() {
            self.widen("paths: without path tags or a host no URL can be named, so everything is purged");
            return;
        }
        // A purge of a page with every query costs the CDN more than a tag, so it is used only if copies may lack the
        // tag.
        let with_query = self.untagged.is_some() && self.can.any_query;
        if !by_tag {
            self.note("paths: without path tags purged by URL, which leaves copies with a query");
        } else if !with_query {
            self.note("paths: by URL, which leaves copies without tags that have a query");
        }
        for target in paths.iter().flat_map(|path| spellings::targets(self.cdn.dialect.cdn, path)) {
            for host in &self.cdn.hosts {
                for scheme in self.can.schemes {
                    self.push_url(format!("{scheme}://{host}{target}"));
                }
            }
        }
        for path in paths.iter().filter(|_| with_query) {
            for path in spellings::prefixes(self.cdn.dialect.cdn, path) {
                for host in &self.cdn.hosts {
                    let hard = self.hard || !self.can.soft_prefixes;
                    self.push(Item { kind: ItemKind::Prefix, value: format!("{host}{path}?"), hard });
                }
            }
        }
    }

    fn urls(&mut self, urls: &[Url], errors: &mut Vec<ItemError>) {
        for (index, url) in urls.iter().enumerate().filter(|(_, url)| takes(self.site, self.cdn, url)) {
            let mut names = spellings::urls(self.cdn.dialect.cdn, url);
            if self.facts.paths {
                names = self.within_the_site(("urls", index), names, errors);
            }
            names.into_iter().for_each(|name| self.push_url(name));
        }
    }

    fn prefixes(&mut self, prefixes: &[String], errors: &mut Vec<ItemError>) {
        for (index, prefix) in prefixes.iter().enumerate() {
            let paths = || spellings::prefixes(self.cdn.dialect.cdn, prefix);
            if self.can.prefixes && self.facts.paths {
                for path in self.within_the_site(("prefixes", index), paths(), errors) {
                    self.push_url(if path.ends_with('*') { path } else { path + "*" });
                }
            } else if self.can.prefixes && self.cdn.hosts.is_empty() {
                self.widen("prefixes: without a host none can be named, so everything is purged");
            } else if self.can.prefixes {
                paths().iter().for_each(|path| self.push_prefix(path));
            } else if let Some(why) = &self.untagged {
                let error = format!(
                    "it has no prefix purge, and {}, which no section tag reaches; purge paths, URLs or everything",
                    without_tags(why)
                );
                errors.push(self.refused("prefixes", index, &error));
            } else if self.can.tags && depth(prefix) <= usize::from(self.site.policy.tags.sections) {
                tags::section_tags(&self.site.name, prefix).iter().for_each(|tag| self.push_tag(tag));
            } else {
                let levels = self.site.policy.tags.sections;
                let error = format!(
                    "it has no prefix purge, and section tags ({levels} levels) do not reach this deep; \
                     purge paths, a tag or everything"
                );
                errors.push(self.refused("prefixes", index, &error));
            }
        }
    }

    /// Returns the names, unless one of them would purge the whole distribution: only callers who may purge everything
    /// may do that.
    fn within_the_site(
        &mut self,
        (list, index): (&str, usize),
        names: Vec<String>,
        errors: &mut Vec<ItemError>,
    ) -> Vec<String> {
        if names.iter().any(|name| name == "/*") {
            errors.push(self.refused(
                list,
                index,
                &format!("{} has no escape for its `*`: purge everything instead", self.title()),
            ));
            return Vec::new();
        }
        if names.iter().any(|name| name.ends_with('*')) {
            self.note(&format!(
                "{} has no escape for a `*`: everything that begins like such a path is purged",
                self.title()
            ));
        }
        names
    }

    fn purge_everything(&mut self) -> Result<(), ItemError> {
        if self.cdn.everything == Everything::SiteTag {
            let (why, whose) = match &self.untagged {
                _ if !self.can.tags => ("this CDN takes no tags here".to_owned(), "its"),
                _ if !self.site.policy.tags.site => {
                    ("the site has no tag of its own".to_owned(), "the CDN's")
                }
                Some(why) => (without_tags(why), "its"),
                None => {
                    self.push_tag(&tags::site_tag(&self.site.name));
                    return Ok(());
                }
            };
            self.note(&format!("everything: {why}, so {whose} purge-all is used"));
        }
        if let Some(lack) = self.cdn.settings.lacks_for_everything() {
            let mut message = format!("{}: {}, and {} is empty", self.cdn.name, lack.why, lack.key);
            if let Some(why) = &self.untagged {
                message.push_str(&format!("; {}: purge paths or URLs", without_tags(why)));
            }
            return Err(ItemError { item: "everything".into(), message });
        }
        let hard = self.hardness(self.can.soft_everything, "everything");
        self.push(Item { kind: ItemKind::Everything, value: "*".into(), hard });
        Ok(())
    }

    fn push_tag(&mut self, tag: &str) {
        let hard = self.hardness(self.can.soft, "tags");
        let value = self.cdn.dialect.encode(tag).into_owned();
        self.push(Item { kind: ItemKind::Tag, value, hard });
    }

    fn push_url(&mut self, value: String) {
        let hard = self.hardness(self.can.soft, "URLs");
        self.push(Item { kind: ItemKind::Url, value, hard });
    }

    /// Adds `host/path/` for each host.
    fn push_prefix(&mut self, path: &str) {
        let hard = self.hardness(self.can.soft_prefixes, "prefixes");
        for host in &self.cdn.hosts {
            self.push(Item { kind: ItemKind::Prefix, value: format!("{host}{path}"), hard });
        }
    }

    /// Adds an item, unless it is there already.
    fn push(&mut self, item: Item) {
        if self.seen.insert(item.clone()) {
            self.items.push(item);
        }
    }

    /// Whether to purge hard, because that was requested or because the CDN cannot purge softly. After both, visitors
    /// get equally fresh content, but after a hard purge the origin has more to serve.
    fn hardness(&mut self, can_soft: bool, what: &str) -> bool {
        if !self.hard && !can_soft {
            self.note(&format!("{what}: this CDN cannot mark them stale, so they are purged hard"));
        }
        self.hard || !can_soft
    }

    fn widen(&mut self, why: &str) {
        self.everything = true;
        self.note(why);
    }

    fn note(&mut self, why: &str) {
        if !self.fallback.iter().any(|note| note == why) {
            self.fallback.push(why.to_owned());
        }
    }

    fn title(&self) -> &'static str {
        self.cdn.dialect.cdn.facts().title
    }

    fn refused(&self, list: &str, index: usize, why: &str) -> ItemError {
        ItemError::new(list, index, format!("{}: {why}", self.cdn.name))
    }
}

/// States that copies without tags may exist, and why.
fn without_tags(why: &str) -> String {
    format!("copies without tags may be in this CDN ({why})")
}

/// Returns how many segments deep a prefix is; 0 for the root.
fn depth(prefix: &str) -> usize {
    normalise(prefix).matches('/').count().saturating_sub(1)
}

#[cfg(test)]
mod tests;
