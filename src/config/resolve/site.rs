//! The `[[sites]]` tables.

use super::admin::long_secret;
use super::cdn::{self, Accounts};
use super::{events, host, limits, name, origin, purge_headers, server, tags, url};
use crate::config::at::At;
use crate::config::file::site as file;
use crate::config::keys::nearest;
use crate::config::text::{BrowserTtlText, DurationText, OneOrMany};
use crate::config::{MAX_ORIGINS, OriginHost, OriginUrl, Site, Trust};
use crate::rewrite::nameable;
use crate::rewrite::pattern::PathPattern;
use crate::rewrite::{BrowserTtl, OriginName, Policy, Rule, Ttls};
use http::HeaderName;
use std::sync::Arc;
use std::time::Duration;

const YEAR: Duration = Duration::from_secs(365 * 86_400);
/// The browser lifetime that AEM's own pipeline sends.
const AEM_BROWSER_TTL: Duration = Duration::from_secs(2 * 3_600);

pub(super) fn resolve(file: &file::Site, accounts: &Accounts, at: &At<'_>) -> Site {
    name::check(&file.name, &at.key("name"));
    if file.hosts.is_empty() && !file.default {
        at.key("hosts").error("at least one host is needed, or `default = true`");
    }
    let hosts: Vec<_> = at
        .key("hosts")
        .each(&file.hosts)
        .map(|(at, text)| at.ok(host::pattern(text)).unwrap_or_default())
        .collect();
    let settle = at.key("origin_settle").duration(&file.origin_settle);
    if settle > Duration::from_secs(3_600) {
        at.key("origin_settle").error("must be at most 1h: purges wait that long");
    }
    let margin = at.key("cache").key("follow_up_margin").duration(&file.cache.follow_up_margin);
    if margin > Duration::from_secs(60) {
        at.key("cache").key("follow_up_margin").error("must be at most 60s: purges last that much longer");
    }
    let origins = origins(&file.origin, &at.key("origin"));
    let origin_host = origin_host(&file.origin_host, &at.key("origin_host"));
    Site {
        name: file.name.clone(),
        default: file.default,
        mode: file.mode,
        origins: origins.clone(),
        origin_host: origin_host.clone(),
        origin_settle: settle,
        follow_up_margin: margin,
        origin: origin::resolve(file, at),
        limits: limits::of_site(file, at),
        rule_limits: at.key("rules").each(&file.rules).map(|(at, file)| limits::of_rule(file, &at)).collect(),
        upgrades: at
            .key("upgrades")
            .each(&file.upgrades)
            .map(|(at, name)| at.ok(upgrade(name)).unwrap_or_default())
            .collect(),
        trust: trust(&file.opt_in, &at.key("opt_in")),
        policy: policy(file, &origins, &origin_host, at),
        events: events::resolve(file, at),
        purge_headers: purge_headers::resolve(file, at),
        max_purge_lag: at.key("cache").key("max_purge_lag").positive_duration(&file.cache.max_purge_lag),
        cdns: at
            .key("cdns")
            .each(&file.cdns)
            .map(|(at, cdn)| Arc::new(cdn::resolve(cdn, &hosts, accounts, &at)))
            .collect(),
        hosts,
    }
}

fn origins(file: &OneOrMany, at: &At<'_>) -> Vec<OriginUrl> {
    let mut origins = Vec::new();
    if file.as_slice().is_empty() {
        at.error("at least one origin is needed");
    }
    if file.as_slice().len() > MAX_ORIGINS {
        at.error(format!("at most {MAX_ORIGINS} origins"));
    }
    for (index, text) in file.as_slice().iter().enumerate() {
        let at = if matches!(file, OneOrMany::One(_)) { at.clone() } else { at.index(index) };
        let Some(origin) = at.ok(url::origin(text)) else { continue };
        if origins.contains(&origin) {
            at.error("is in the list already");
        }
        origins.push(origin);
    }
    origins
}

fn origin_host(text: &str, at: &At<'_>) -> OriginHost {
    match text {
        "origin" => OriginHost::Origin,
        "preserve" => OriginHost::Preserve,
        // A misspelt keyword would become a host name that no origin has.
        name => match nearest(name, ["origin", "preserve"].into_iter()) {
            Some(word) => {
                at.error(format!("must be origin, preserve or a host name; did you mean `{word}`?"));
                OriginHost::Origin
            }
            None => {
                let name = url::authority(name)
                    .map_err(|error| format!("is neither origin nor preserve, and {error}"));
                at.ok(name).map_or(OriginHost::Origin, OriginHost::Literal)
            }
        },
    }
}

/// Returns the name of a protocol in lower case. HTTP and TLS themselves are refused, because the listeners handle
/// them.
fn upgrade(name: &str) -> Result<String, &'static str> {
    let name = name.to_ascii_lowercase();
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(&byte);
    let own = ["h2c", "h2", "http", "tls"].iter().any(|own| {
        name.strip_prefix(own).is_some_and(|version| version.is_empty() || version.starts_with('/'))
    });
    if name.is_empty() || !name.bytes().all(legal) || own {
        return Err("must be the name of a protocol, such as websocket; not HTTP or TLS themselves");
    }
    Ok(name)
}

fn trust(file: &file::OptIn, at: &At<'_>) -> Trust {
    let secret = file.secret.as_ref().map(|secret| long_secret(secret, &at.key("secret")));
    let trust = at.key("trust");
    let wants_secret = matches!(&file.trust, OneOrMany::One(word) if word == "secret");
    match (&secret, wants_secret) {
        (None, true) => at.key("secret").error("is required with trust = \"secret\""),
        (Some(_), false) => at.key("secret").error("has no effect without trust = \"secret\""),
        _ => {}
    }
    match &file.trust {
        OneOrMany::Many(networks) if networks.is_empty() => {
            trust.error("at least one network is needed");
            Trust::Addresses(Vec::new())
        }
        OneOrMany::Many(networks) => Trust::Addresses(server::networks(networks, &trust)),
        OneOrMany::One(word) => match (word.as_str(), secret) {
            ("any", _) => Trust::Any,
            ("secret", Some(secret)) => Trust::Secret(secret),
            ("secret", None) => Trust::Addresses(Vec::new()),
            ("client-cert", _) => Trust::ClientCertificate,
            _ => {
                trust.error("must be \"any\", \"secret\", \"client-cert\" or a list of networks");
                Trust::Addresses(Vec::new())
            }
        },
    }
}

fn policy(file: &file::Site, origins: &[OriginUrl], origin_host: &OriginHost, at: &At<'_>) -> Policy {
    let cache = at.key("cache");
    let ttl = |name: &str, text: &DurationText| lifetime(text, &cache.key(name));
    let browser = file.cache.browser_ttl.as_ref().map(|text| browser_ttl(text, &cache.key("browser_ttl")));
    Policy {
        site: file.name.clone(),
        profile: file.profile.into(),
        ttls: Ttls {
            edge: ttl("edge_ttl", &file.cache.edge_ttl),
            browser: browser.unwrap_or(match file.profile {
                file::Profile::Generic => BrowserTtl::Origin,
                file::Profile::Aem => BrowserTtl::Fixed(AEM_BROWSER_TTL),
            }),
            fallback: ttl("fallback_ttl", &file.cache.fallback_ttl),
            not_found: ttl("not_found_ttl", &file.cache.not_found_ttl),
            guard: ttl("guard_ttl", &file.cache.guard_ttl),
            stale_while_revalidate: ttl("stale_while_revalidate", &file.cache.stale_while_revalidate),
            stale_if_error: ttl("stale_if_error", &file.cache.stale_if_error),
        },
        vary: cache.key("vary").each(&file.cache.vary).filter_map(|(at, name)| vary(name, &at)).collect(),
        rules: at.key("rules").each(&file.rules).filter_map(|(at, file)| rule(file, &at)).collect(),
        tags: tags::resolve(&file.tags, &at.key("tags")),
        aem: events::project(file, at),
        conditional: file.cache.conditional,
        origins: origin_names(origins, origin_host),
        rewrite_location: file.rewrite_location,
    }
}

/// Returns each host and port that the origin may use for itself in a `Location`.
fn origin_names(origins: &[OriginUrl], origin_host: &OriginHost) -> Vec<OriginName> {
    let literal = match origin_host {
        OriginHost::Literal(name) => Some(name.rsplit_once(':').map_or(&**name, |(host, _)| host).to_owned()),
        OriginHost::Origin | OriginHost::Preserve => None,
    };
    let of = |origin: &OriginUrl| {
        let hosts = [Some(origin.host.clone()), literal.clone()];
        hosts.into_iter().flatten().map(|host| OriginName { host, port: origin.port }).collect::<Vec<_>>()
    };
    origins.iter().flat_map(of).collect()
}

fn browser_ttl(text: &BrowserTtlText, at: &At<'_>) -> BrowserTtl {
    text.duration().map_or(BrowserTtl::Origin, |text| BrowserTtl::Fixed(lifetime(text, at)))
}

/// Parses a lifetime that can be sent in a header.
fn lifetime(text: &DurationText, at: &At<'_>) -> Duration {
    let duration = at.duration(text);
    if duration.subsec_nanos() != 0 {
        at.error("must be whole seconds, since it goes into a header");
    }
    if duration > YEAR {
        at.error("must be at most 365d");
    }
    duration
}

fn vary(name: &str, at: &At<'_>) -> Option<String> {
    if name == "*" {
        at.error("`Vary: *` means that a response cannot be reused at all");
        return None;
    }
    let name = at.ok(name.parse::<HeaderName>().map_err(|_| "must be the name of a header"))?;
    Some(name.as_str().to_owned())
}

/// Checks that a purge can name the tag, because a tag has no other use.
fn check_tag(tag: &str, at: &At<'_>) {
    at.ok(nameable::tag(tag));
}

fn rule(file: &file::Rule, at: &At<'_>) -> Option<Rule> {
    at.key("tags").each(&file.tags).for_each(|(at, tag)| check_tag(tag, &at));
    let edge_ttl = file.edge_ttl.as_ref().map(|text| lifetime(text, &at.key("edge_ttl")));
    let browser_ttl = file.browser_ttl.as_ref().map(|text| browser_ttl(text, &at.key("browser_ttl")));
    Some(Rule {
        path: at.key("path").ok(PathPattern::new(&file.path))?,
        edge_ttl,
        browser_ttl,
        allow_override: file.allow_override,
        tags: file.tags.clone(),
    })
}
