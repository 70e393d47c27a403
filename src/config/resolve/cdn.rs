//! The `[[sites.cdns]]` tables.

use super::{host, name};
use crate::config::at::At;
use crate::config::cdns::{Account, Keys, account, base_url};
use crate::config::file::File;
use crate::config::file::cdn::{self as file, PurgeMode};
use crate::config::{Cdn, CdnSettings, Everything, Rate, duration};
use crate::rewrite::{CdnType, Dialect};
use http::HeaderName;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

pub(super) fn resolve(file: &file::Cdn, site_hosts: &[String], accounts: &Accounts, at: &At<'_>) -> Cdn {
    let name = file.name.clone().unwrap_or_else(|| file.cdn_type.as_str().to_owned());
    name::check(&name, &at.key("name"));
    if let Some(account) = &file.account {
        name::check(account, &at.key("account"));
    }
    let settings = CdnSettings::resolve(Keys { file, at });
    if file.everything == Everything::Cdn
        && let Some(lack) = settings.lacks_for_everything()
    {
        at.key(lack.key).error(format!("is required with everything = \"cdn\": {}", lack.why));
    }
    let (repeat_after, repeat_everything_after) = repeat(file, &at.key("repeat_after"));
    Cdn {
        hosts: hosts(file, site_hosts, &at.key("hosts")),
        hard: file.mode == PurgeMode::Hard,
        everything: file.everything,
        repeat_after,
        repeat_everything_after,
        verify: file.verify,
        verify_url: file.verify_url.as_ref().map(|text| base_url(text, &at.key("verify_url"))),
        account: accounts.of_cdn(file),
        rate: rate(file, at),
        dialect: dialect(file, at),
        settings,
        name,
    }
}

/// Returns the hosts of URL purges. A wildcard names no page, so only the site's exact hosts are among them.
fn hosts(file: &file::Cdn, site_hosts: &[String], at: &At<'_>) -> Vec<String> {
    let Some(given) = &file.hosts else {
        return site_hosts.iter().filter(|host| !host.starts_with("*.")).cloned().collect();
    };
    let (mut hosts, mut taken) = (Vec::new(), HashSet::new());
    for (at, text) in at.each(given) {
        let Some(host) = at.ok(host::exact(text)) else { continue };
        if !taken.insert(host.clone()) {
            at.error("is in the list already");
        }
        hosts.push(host);
    }
    hosts
}

/// Returns the times after which items, and everything, are purged a second time.
fn repeat(file: &file::Cdn, at: &At<'_>) -> (Duration, Duration) {
    match &file.repeat_after {
        None => file.cdn_type.facts().purging.repeat_after.into(),
        Some(text) => {
            let after = at.duration(text);
            if after > Duration::from_secs(300) {
                at.error(format!("must be at most {}", duration::print(Duration::from_secs(300))));
            }
            (after, after)
        }
    }
}

fn rate(file: &file::Cdn, at: &At<'_>) -> Rate {
    let per_second = |name: &str, value: Option<f64>, most: f64| {
        if value.is_some_and(|value| !(value > 0.0 && value <= most)) {
            at.key(name).error(format!("must be more than 0 and at most {most}"));
        }
        value
    };
    let burst = |name: &str, value: Option<u32>, rate: &str, has_rate: bool| {
        if value == Some(0) {
            at.key(name).error("must be at least 1");
        }
        if value.is_some() && !has_rate {
            at.key(name).error(format!("has no effect without {rate}"));
        }
        value
    };
    Rate {
        calls_per_second: per_second("calls_per_second", file.calls_per_second, 10_000.0),
        call_burst: burst("call_burst", file.call_burst, "calls_per_second", file.calls_per_second.is_some()),
        items_per_second: per_second("items_per_second", file.items_per_second, 1_000_000.0),
        item_burst: burst("item_burst", file.item_burst, "items_per_second", file.items_per_second.is_some()),
    }
}

/// Headers with another meaning. A TTL or tags in them would break every response.
const TAKEN: [&str; 30] = [
    "accept-ranges",
    "age",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expires",
    "host",
    "keep-alive",
    "last-modified",
    "link",
    "location",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "retry-after",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "via",
    "www-authenticate",
];

/// Whether a response header of this name already means something else.
pub(super) fn has_another_meaning(name: &HeaderName) -> bool {
    TAKEN.contains(&name.as_str())
}

fn dialect(file: &file::Cdn, at: &At<'_>) -> Dialect {
    let header = |name: &str, text: &Option<String>| {
        let at = at.key(name);
        let header =
            at.ok(text.as_ref()?.parse::<HeaderName>().map_err(|_| "must be the name of a header"))?;
        if has_another_meaning(&header) {
            at.error("has another meaning in every response");
        }
        Some(header)
    };
    let ttl_header = header("ttl_header", &file.ttl_header);
    let dialect = Dialect::new(file.cdn_type, ttl_header, header("tag_header", &file.tag_header));
    let dialect = Dialect { tag_form: file.tag_form, ..dialect };
    let carries_lifetimes =
        |name: &HeaderName| *name == dialect.ttl_header || Dialect::carries_lifetimes(name.as_str());
    if dialect.tag_header.as_ref().is_some_and(carries_lifetimes) {
        at.key("tag_header").error("must not be a header that carries lifetimes");
    }
    if Dialect::carries_tags(dialect.ttl_header.as_str()) {
        at.key("ttl_header").error("must not be a header that carries tags");
    }
    dialect
}

/// The CDNs that share a rate. A default name is that of the first CDN in the file with the same identity, never a
/// credential, because account names appear in metrics and in the store.
pub(super) struct Accounts {
    /// The default account name of each identity.
    known: HashMap<(CdnType, Account), String>,
}

impl Accounts {
    /// Collects the accounts of a file.
    pub(super) fn of(file: &File) -> Self {
        let mut known = HashMap::new();
        for site in &file.sites {
            for cdn in &site.cdns {
                known.entry((cdn.cdn_type, account(cdn))).or_insert_with(|| {
                    let name = cdn.name.as_deref().unwrap_or(cdn.cdn_type.as_str());
                    format!("{}/{name}", site.name)
                });
            }
        }
        Self { known }
    }

    /// Returns the account of a CDN as `type:name`. Configured names have no slash, so they never equal a default
    /// name.
    fn of_cdn(&self, cdn: &file::Cdn) -> String {
        let default = self.known.get(&(cdn.cdn_type, account(cdn))).map(String::as_str);
        let name = cdn.account.as_deref().or(default).unwrap_or_default();
        format!("{}:{name}", cdn.cdn_type.as_str())
    }
}
