//! Checks that involve several values: duplicate names, hosts that two sites claim, CDNs that disagree.

use super::at::At;
use super::{Cdn, Claims, Config, Everything, Server, Site, Trust, doubts};
use crate::rewrite::CdnType;
use ipnet::IpNet;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

/// Reports contradictions as errors, and doubtful values as warnings. `config` may hold placeholders of invalid
/// values.
pub fn validate(config: &Config, at: &At<'_>) {
    listeners(config, at);
    doubts::server(&config.server, &at.key("server"));
    tokens(config, &at.key("admin").key("tokens"));
    doubts::tokens(&config.admin.tokens, &at.key("admin").key("tokens"));
    inbound(config, &at.key("inbound"));
    let sites = at.key("sites");
    shared_services(&config.sites, &sites);
    let claims = Claims::of(&config.sites);
    unique(&sites, "name", config.sites.iter().map(|site| site.name.as_str()));
    hosts(&config.sites, &sites);
    for (at, site) in sites.each(&config.sites) {
        unique(&at.key("cdns"), "name", site.cdns.iter().map(|cdn| cdn.name.as_str()));
        dialects(site, &at.key("cdns"));
        client_certificates(site, &config.server, &at);
        event_rules(&claims, site, &at.key("events"));
        doubts::site(site, &at);
        for (at, cdn) in at.key("cdns").each(&site.cdns) {
            doubts::cdn(site, cdn, &at);
        }
    }
}

/// Checks that the elements of a list differ in `key`.
fn unique<'v>(list: &At<'_>, key: &str, values: impl Iterator<Item = &'v str>) {
    let mut taken = HashMap::new();
    for (index, value) in values.enumerate() {
        if let Some(first) = taken.get(value) {
            let first = list.index(*first);
            let line = first.key(key).line();
            list.index(index)
                .key(key)
                .error(format!("is already the `{key}` of {} (line {line}): choose another", first.name()));
        } else {
            taken.insert(value, index);
        }
    }
}

fn listeners(config: &Config, at: &At<'_>) {
    let Config { server, admin, .. } = config;
    let (plain, tls) = (at.key("server").key("listen"), at.key("server").key("tls_listen"));
    let plain = plain.each(&server.listen).map(|(at, address)| (at, *address));
    let tls = tls.each(&server.tls_listen).map(|(at, address)| (at, *address));
    let mut inbound = Vec::new();
    for (at, listener) in at.key("inbound").each(&config.inbound) {
        inbound.extend(at.key("listen").each(&listener.listen).map(|(at, address)| (at, *address)));
    }
    let mut taken: Vec<SocketAddr> = Vec::new();
    let admin = [(at.key("admin").key("listen"), admin.listen)];
    for (at, address) in plain.chain(tls).chain(admin).chain(inbound) {
        if let Some(other) = taken.iter().find(|other| overlap(**other, address)) {
            at.error(format!("is taken by the listener on {other}"));
        }
        taken.push(address);
    }
}

/// Whether two listeners would share connections. Port 0 is another port each time.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let same_family = a.is_ipv4() == b.is_ipv4();
    let any = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || (same_family && any))
}

fn tokens(config: &Config, at: &At<'_>) {
    let tokens = &config.admin.tokens;
    unique(at, "name", tokens.iter().map(|token| token.name.as_str()));
    let known: HashSet<&str> = config.sites.iter().map(|site| site.name.as_str()).collect();
    let mut owners: HashMap<&str, &str> = HashMap::new();
    for (index, token) in tokens.iter().enumerate() {
        let secret = token.token.expose();
        let owner = *owners.entry(secret).or_insert(&token.name);
        if owner != token.name && !secret.is_empty() {
            at.index(index).key("token").error(format!("is the token of `{owner}`"));
        }
        let sites = at.index(index).key("sites");
        for (at, name) in sites.each(token.sites.as_deref().unwrap_or_default()) {
            if !known.contains(name.as_str()) {
                at.error("is not the name of a site");
            }
        }
    }
}

/// Checks the sites of listeners for other systems' clients, and whether anyone can use them.
fn inbound(config: &Config, at: &At<'_>) {
    let is_known = |name: &str| config.sites.iter().any(|site| site.name == name);
    for (at, inbound) in at.each(&config.inbound) {
        if inbound.site.as_deref().is_some_and(|site| !is_known(site)) {
            at.key("site").error("is not the name of a site");
        }
        unique(&at.key("hooks"), "name", inbound.hooks.iter().map(|hook| hook.name.as_str()));
        for (at, hook) in at.key("hooks").each(&inbound.hooks) {
            // One that was inherited has been reported.
            if !hook.site.is_empty() && inbound.site.as_ref() != Some(&hook.site) && !is_known(&hook.site) {
                at.key("site").error("is not the name of a site");
            }
            if hook.proof.is_none() && !is_loopback(&inbound.allow) {
                at.warn("without `verify`, everyone in `allow` can purge by it");
            }
        }
        let needs_token = inbound.protocol.takes_tokens() || inbound.token_header.is_some();
        if needs_token && config.admin.tokens.is_empty() {
            at.key("protocol").warn("nobody can purge by it without one of [[admin.tokens]]");
        }
    }
}

fn is_loopback(networks: &[IpNet]) -> bool {
    networks.iter().all(|network| network.addr().is_loopback() && network.prefix_len() >= 8)
}

fn hosts(sites: &[Arc<Site>], at: &At<'_>) {
    let mut owners: HashMap<&str, &str> = HashMap::new();
    let mut default: Option<&str> = None;
    for (at, site) in at.each(sites) {
        for (at, host) in at.key("hosts").each(&site.hosts).filter(|(_, host)| !host.is_empty()) {
            match owners.get(host.as_str()) {
                Some(owner) => at.error(format!("is a host of site `{owner}` already")),
                None => drop(owners.insert(host, &site.name)),
            }
        }
        match default {
            Some(owner) if site.default => {
                at.key("default").error(format!("site `{owner}` is the default already"))
            }
            _ => default = default.or(site.default.then_some(&site.name)),
        }
    }
}

/// Warns if several sites share a service, because the purge-all of a service does not distinguish sites.
fn shared_services(sites: &[Arc<Site>], at: &At<'_>) {
    // For each service, the first site and the first other site that use it.
    let mut users: HashMap<(CdnType, String), (&str, Option<&str>)> = HashMap::new();
    for (site, cdn) in sites.iter().flat_map(|site| site.cdns.iter().map(move |cdn| (site, cdn))) {
        for service in cdn.settings.services() {
            let (first, other) = users.entry((cdn.dialect.cdn, service)).or_insert((&site.name, None));
            if *first != site.name {
                other.get_or_insert(&site.name);
            }
        }
    }
    for (at, site) in at.each(sites) {
        for (at, cdn) in at.key("cdns").each(&site.cdns).filter(|(_, cdn)| cdn.everything == Everything::Cdn)
        {
            let of_service = |service| match users.get(&(cdn.dialect.cdn, service))? {
                (first, other) if *first == site.name => *other,
                (first, _) => Some(*first),
            };
            if let Some(other) = cdn.settings.services().into_iter().find_map(of_service) {
                at.key("everything").warn(format!(
                    "a purge of everything empties the cache for site `{other}`, too: it uses the same service"
                ));
            }
        }
    }
}

/// Checks that CDNs of one type agree, because a response for one type of CDN has one set of headers.
fn dialects(site: &Site, at: &At<'_>) {
    for (index, cdn) in site.cdns.iter().enumerate() {
        let Some(first) = site.cdns[..index].iter().find(|other| other.dialect.cdn == cdn.dialect.cdn) else {
            continue;
        };
        let differs = |key: &str| {
            at.index(index)
                .key(key)
                .error(format!("must be the same as for `{}`, which has the same type", first.name));
        };
        if first.dialect.ttl_header != cdn.dialect.ttl_header {
            differs("ttl_header");
        }
        if first.dialect.tag_header != cdn.dialect.tag_header {
            differs("tag_header");
        }
        if first.dialect.tag_form != cdn.dialect.tag_form {
            differs("tag_form");
        }
    }
}

/// Checks that trust in client certificates comes with a listener that requests them.
fn client_certificates(site: &Site, server: &Server, at: &At<'_>) {
    if matches!(site.trust, Trust::ClientCertificate)
        && (server.client_ca.is_none() || server.tls_listen.is_empty())
    {
        at.key("opt_in")
            .key("trust")
            .error("\"client-cert\" needs `server.client_ca` and `server.tls_listen`");
    }
}

/// Checks the prefixes and tags of event rules. A prefix that a CDN cannot purge, or a tag that no purge may name,
/// would make every event of its rule fail.
fn event_rules(claims: &Claims, site: &Site, at: &At<'_>) {
    let sections = usize::from(site.policy.tags.sections);
    for (at, rule) in at.each(&site.events.rules) {
        let without_tags = site.cdns.iter().find(|cdn| cdn.dialect.tag_header.is_none());
        if let Some(cdn) = without_tags.filter(|_| !rule.tags.is_empty()) {
            at.key("purge_tags").warn(format!(
                "`{}` has no `tag_header`: every event of this rule purges everything there",
                cdn.name
            ));
        }
        for (at, tag) in at.key("purge_tags").each(&rule.tags) {
            if let Err(why) = claims.may_name(&site.name, tag) {
                at.error(why);
            }
        }
        for (at, prefix) in at.key("purge_prefixes").each(&rule.prefixes) {
            let depth = prefix.matches('/').count().saturating_sub(1);
            let cannot = |cdn: &&Arc<Cdn>| !cdn.dialect.cdn.facts().purging.prefixes;
            if let Some(cdn) = site.cdns.iter().find(cannot)
                && depth > sections
            {
                at.error(format!(
                    "`{}` has no prefix purge, and section tags do not reach this deep: set sections = {depth} in [sites.tags], or purge tags or paths",
                    cdn.name
                ));
            }
        }
    }
}
