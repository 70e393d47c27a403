//! `[[sites.cdns]]`

use super::{check_name, host, url};
use crate::config::at::At;
use crate::config::file::File;
use crate::config::file::cdn::{self as file, PurgeMode, SurgicalPurge};
use crate::config::secret::{Secret, SecretRef};
use crate::config::{Cdn, CdnSettings, Everything, Rate, duration};
use crate::rewrite::{CdnType, Dialect};
use http::HeaderName;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

pub(super) fn resolve(file: &file::Cdn, site_hosts: &[String], accounts: &Accounts, at: &At<'_>) -> Cdn {
    let name = file.name.clone().unwrap_or_else(|| file.cdn_type.as_str().to_owned());
    check_name(&name, &at.key("name"));
    if let Some(account) = &file.account {
        check_name(account, &at.key("account"));
    }
    let everything_needs_codes = file.cdn_type == CdnType::Akamai && file.everything == Everything::Cdn;
    if everything_needs_codes && file.cp_codes.as_ref().is_none_or(Vec::is_empty) {
        at.key("cp_codes")
            .error("is required with everything = \"cdn\": Akamai purges everything by CP code");
    }
    let (repeat_after, repeat_everything_after) = repeat(file, &at.key("repeat_after"));
    Cdn {
        hosts: hosts(file, site_hosts, &at.key("hosts")),
        hard: file.mode == PurgeMode::Hard,
        everything: file.everything,
        repeat_after,
        repeat_everything_after,
        verify: file.verify,
        verify_url: file.verify_url.as_ref().map(|text| api_url(text, &at.key("verify_url"))),
        account: accounts.of_cdn(file),
        rate: rate(file, at),
        dialect: dialect(file, at),
        settings: settings(file, at),
        name,
    }
}

/// A wildcard names no page, so only the site's exact hosts can be in a URL purge.
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

/// When items, and everything, are purged a second time. Fastly: a shield may refill an edge with what it still had, and
/// its advice is 2 s for keys and 30 s for all.
fn repeat(file: &file::Cdn, at: &At<'_>) -> (Duration, Duration) {
    match (&file.repeat_after, file.cdn_type) {
        (None, CdnType::Fastly) => (Duration::from_secs(2), Duration::from_secs(30)),
        (None, _) => (Duration::ZERO, Duration::ZERO),
        (Some(text), _) => {
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

/// Headers that carry something else; a TTL or tags there would break every response.
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

fn dialect(file: &file::Cdn, at: &At<'_>) -> Dialect {
    let header = |name: &str, text: &Option<String>| {
        let at = at.key(name);
        let header =
            at.ok(text.as_ref()?.parse::<HeaderName>().map_err(|_| "must be the name of a header"))?;
        if TAKEN.contains(&header.as_str()) {
            at.error("has another meaning in every response");
        }
        Some(header)
    };
    let ttl_header = header("ttl_header", &file.ttl_header);
    let dialect = Dialect::new(file.cdn_type, ttl_header, header("tag_header", &file.tag_header));
    let carries_lifetimes =
        |name: &HeaderName| *name == dialect.ttl_header || Dialect::carries_lifetimes(name);
    if dialect.tag_header.as_ref().is_some_and(carries_lifetimes) {
        at.key("tag_header").error("must not be a header that carries lifetimes");
    }
    if Dialect::carries_tags(&dialect.ttl_header) {
        at.key("ttl_header").error("must not be a header that carries tags");
    }
    dialect
}

/// What a missing required key would be; it was complained about with the other keys.
fn settings(file: &file::Cdn, at: &At<'_>) -> CdnSettings {
    let secret = |name: &str, reference: &Option<SecretRef>| {
        reference.as_ref().map(|reference| at.key(name).secret(reference))
    };
    let required = |name: &str, reference: &Option<SecretRef>| {
        secret(name, reference).unwrap_or_else(|| Secret::new(""))
    };
    let id = |name: &str, text: &Option<String>| identifier(text.as_deref(), &at.key(name));
    let api_url = |default: &str| match &file.api_url {
        Some(text) => api_url(text, &at.key("api_url")),
        None => default.to_owned(),
    };
    match file.cdn_type {
        CdnType::Fastly => CdnSettings::Fastly {
            service_id: id("service_id", &file.service_id),
            auth_token: required("auth_token", &file.auth_token),
            api_url: api_url("https://api.fastly.com"),
        },
        CdnType::Akamai => CdnSettings::Akamai {
            client_token: required("client_token", &file.client_token),
            client_secret: required("client_secret", &file.client_secret),
            access_token: required("access_token", &file.access_token),
            network: file.network.unwrap_or_default(),
            cp_codes: cp_codes(file, &at.key("cp_codes")),
            api_url: api_url(&akamai_url(file, &at.key("endpoint"))),
        },
        CdnType::Cloudflare => CdnSettings::Cloudflare {
            zone_id: id("zone_id", &file.zone_id),
            api_token: required("api_token", &file.api_token),
            plan: file.plan.unwrap_or_default(),
            enterprise_only: file.surgical_purge == Some(SurgicalPurge::EnterpriseOnly),
            api_url: api_url("https://api.cloudflare.com/client/v4"),
        },
        CdnType::Cloudfront => CdnSettings::Cloudfront {
            distribution_id: id("distribution_id", &file.distribution_id),
            access_key_id: id("access_key_id", &file.access_key_id),
            secret_access_key: required("secret_access_key", &file.secret_access_key),
            session_token: secret("session_token", &file.session_token),
            api_url: api_url("https://cloudfront.amazonaws.com"),
        },
        CdnType::Varnish => CdnSettings::Varnish { api_urls: varnish_nodes(file, &at.key("api_urls")) },
    }
}

/// Identifiers stand in paths and headers of API calls.
fn identifier(text: Option<&str>, at: &At<'_>) -> String {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if text.is_some_and(|text| text.is_empty() || text.len() > 128 || !text.bytes().all(legal)) {
        at.error("must be 1 to 128 letters, digits, `-` and `_`");
    }
    text.unwrap_or_default().to_owned()
}

fn api_url(text: &str, at: &At<'_>) -> String {
    let url = at.ok(url::api(text)).unwrap_or_default();
    if url::is_in_the_clear(&url) {
        at.warn("plain HTTP to another machine: what is sent can be read and changed on the way");
    }
    url
}

fn akamai_url(file: &file::Cdn, at: &At<'_>) -> String {
    let Some(endpoint) = &file.endpoint else {
        if file.api_url.is_none() {
            at.error("is required for type = \"akamai\" where `api_url` is absent");
        }
        return String::new();
    };
    format!("https://{}", at.ok(host::exact(endpoint)).unwrap_or_default())
}

fn cp_codes(file: &file::Cdn, at: &At<'_>) -> Vec<u64> {
    let codes = file.cp_codes.clone().unwrap_or_default();
    for (at, _) in at.each(&codes).filter(|(_, code)| **code == 0) {
        at.error("must be a CP code, which is more than 0");
    }
    codes
}

fn varnish_nodes(file: &file::Cdn, at: &At<'_>) -> Vec<String> {
    let given = file.api_urls.as_deref().unwrap_or_default();
    if file.api_urls.as_ref().is_some_and(Vec::is_empty) {
        at.error("at least one node is needed");
    }
    let mut nodes = Vec::new();
    for (at, text) in at.each(given) {
        let node = api_url(text, &at);
        if nodes.contains(&node) && !node.is_empty() {
            at.error("is in the list already");
        }
        nodes.push(node);
    }
    nodes
}

/// Which CDNs share a rate. A default name comes from the first CDN in the file with the same identity, never from a
/// credential: account names stand in metrics and in the store.
pub(super) struct Accounts {
    /// The default account's name of each identity.
    known: HashMap<Identity, String>,
}

impl Accounts {
    /// The accounts of a file.
    pub(super) fn of(file: &File) -> Self {
        let mut known = HashMap::new();
        for site in &file.sites {
            for cdn in &site.cdns {
                known.entry(Identity::of(cdn)).or_insert_with(|| {
                    let name = cdn.name.as_deref().unwrap_or(cdn.cdn_type.as_str());
                    format!("{}/{name}", site.name)
                });
            }
        }
        Self { known }
    }

    /// `type:name`. Given names have no slash, so they never meet a default one.
    fn of_cdn(&self, cdn: &file::Cdn) -> String {
        let default = self.known.get(&Identity::of(cdn)).map(String::as_str);
        let name = cdn.account.as_deref().or(default).unwrap_or_default();
        format!("{}:{name}", cdn.cdn_type.as_str())
    }
}

/// To whom a CDN grants its rate, as the file writes it.
#[derive(PartialEq, Eq, Hash)]
enum Identity {
    /// Fastly, Akamai and Cloudflare count per customer, whom the credential names.
    Credential(CdnType, Option<SecretRef>),
    /// CloudFront counts per distribution.
    Distribution(Option<String>),
    /// Varnish does not count, but the nodes are one machine's.
    Nodes(Option<Vec<String>>),
}

impl Identity {
    fn of(cdn: &file::Cdn) -> Self {
        match cdn.cdn_type {
            CdnType::Fastly => Self::Credential(cdn.cdn_type, cdn.auth_token.clone()),
            CdnType::Akamai => Self::Credential(cdn.cdn_type, cdn.client_token.clone()),
            CdnType::Cloudflare => Self::Credential(cdn.cdn_type, cdn.api_token.clone()),
            CdnType::Cloudfront => Self::Distribution(cdn.distribution_id.clone()),
            CdnType::Varnish => Self::Nodes(cdn.api_urls.clone()),
        }
    }
}
