//! What is allowed but deserves a second look: warnings, and notes about what needs no action.

use super::at::At;
use super::{AdminToken, Cdn, Mode, OriginProtocol, OriginTls, Scope, Server, Site, Trust};
use crate::rewrite::covers::covers;
use crate::rewrite::{BrowserTtl, Profile, Ttls};
use std::time::Duration;

/// The number of rules that are compared with those before them.
const COMPARED_RULES: usize = 200;

/// Reports doubts about the `[server]` table.
pub(super) fn server(settings: &Server, at: &At<'_>) {
    if settings.client_ca.is_some() && settings.tls_listen.is_empty() {
        at.key("client_ca").warn("has no effect without `tls_listen`");
    }
}

/// Reports doubts about a site.
pub(super) fn site(site: &Site, at: &At<'_>) {
    let ttls = &site.policy.ttls;
    let cache = at.key("cache");
    if site.cdns.is_empty() {
        if site.mode != Mode::Off {
            at.key("cdns")
                .warn("without a CDN to purge this site is a plain proxy: no response gets a long lifetime");
        }
    } else if matches!(site.trust, Trust::Any) && site.mode != Mode::Off {
        at.key("opt_in").key("trust").warn(
            "any peer can opt in, and so lengthen lifetimes in a cache that nobody purges; use a secret or a list of networks",
        );
    }
    if site.origin.tls != OriginTls::default() && !site.origins.iter().any(|origin| origin.tls) {
        at.key("origin_tls").warn("has no effect: no origin has https://");
    }
    let is_h2c =
        site.origin.protocol == OriginProtocol::Http2 && site.origins.iter().any(|origin| !origin.tls);
    if is_h2c && !site.upgrades.is_empty() {
        at.key("upgrades").warn(
            "these requests use HTTP/1.1, which an origin with http:// and `origin_protocol = \"http2\"` must speak on the same port",
        );
    }
    if site.policy.profile == Profile::Aem && site.policy.aem.is_none() {
        at.key("aem").warn(
            "without [sites.aem] publish events are refused: the keys by which they purge are made of its ids",
        );
    }
    if ttls.fallback > Duration::from_secs(3_600) {
        cache.key("fallback_ttl").warn("more than 1h for what cannot be purged");
    }
    if ttls.fallback > ttls.edge {
        cache
            .key("fallback_ttl")
            .warn("longer than `edge_ttl`, so that failing purges make lifetimes longer");
    }
    if ttls.guard > Duration::from_secs(10) {
        cache.key("guard_ttl").warn("more than 10s for what is known to be old");
    }
    stale(site, &cache);
    browsers(ttls, &cache, &ttls.browser, ttls.edge);
    for (at, rule) in at.key("rules").each(&site.policy.rules) {
        let browser = rule.browser_ttl.as_ref().unwrap_or(&ttls.browser);
        if rule.browser_ttl.is_some() || rule.edge_ttl.is_some() {
            browsers(ttls, &at, browser, rule.edge_ttl.unwrap_or(ttls.edge));
        }
    }
    shadowed(site, &at.key("rules"));
}

/// Reports lifetimes of stale copies that a CDN does not receive, or that are dangerous there.
fn stale(site: &Site, cache: &At<'_>) {
    let ttls = &site.policy.ttls;
    let keys =
        [("stale_while_revalidate", ttls.stale_while_revalidate), ("stale_if_error", ttls.stale_if_error)];
    for (key, _) in keys.into_iter().filter(|(_, ttl)| !ttl.is_zero()) {
        // `Edge-Control` has no such directive.
        for cdn in site.cdns.iter().filter(|cdn| cdn.dialect.ttl_header == "edge-control") {
            let how = cdn.dialect.cdn.facts().stale.set_elsewhere.unwrap_or("set it at the CDN");
            cache.key(key).warn(format!("has no effect at `{}`: {how}", cdn.name));
        }
    }
    if ttls.stale_while_revalidate.is_zero() {
        return;
    }
    for cdn in site.cdns.iter().filter(|cdn| !cdn.hard) {
        if let Some(risk) = cdn.dialect.cdn.facts().stale.soft_risk {
            let message = format!("soft purges at `{}`: {risk}", cdn.name);
            cache.key("stale_while_revalidate").note(message);
        }
    }
}

/// Reports a browser lifetime that outlives the CDN's, because no purge reaches browsers.
fn browsers(ttls: &Ttls, at: &At<'_>, browser: &BrowserTtl, edge: Duration) {
    if let BrowserTtl::Fixed(browser) = browser
        && *browser > edge
        && edge > ttls.guard
    {
        at.key("browser_ttl").warn(
            "longer than `edge_ttl`, while no purge reaches browsers: make this the shorter of the two",
        );
    }
}

/// Reports rules whose paths an earlier rule takes. The first rule that matches applies.
fn shadowed(site: &Site, at: &At<'_>) {
    let rules = &site.policy.rules;
    for (index, rule) in rules.iter().enumerate().take(COMPARED_RULES) {
        if let Some(first) = rules[..index].iter().position(|first| covers(&first.path, &rule.path)) {
            at.index(index).key("path").warn(format!(
                "never applies: rules[{first}] has `{}`, which matches all of its paths, and comes first; move this rule up or remove it",
                rules[first].path.as_str()
            ));
        }
    }
}

/// Reports doubts about a CDN of a site.
pub(super) fn cdn(site: &Site, cdn: &Cdn, at: &At<'_>) {
    if cdn.dialect.tag_header.is_none() {
        at.key("tag_header").warn("without it every tag purge becomes everything");
    }
    if cdn.hosts.is_empty() && !cdn.dialect.cdn.facts().purging.paths {
        at.key("hosts").warn("no exact host, here or of the site: nothing can be purged by URL");
    }
    if let Some(lack) = cdn.settings.lacks_for_everything()
        && !site.policy.tags.site
    {
        at.key(lack.key)
            .warn(format!("without {} and without the site's tag, everything cannot be purged", lack.what));
    }
    for (at, host) in at.key("hosts").each(&cdn.hosts) {
        if !site.default && !site.hosts.iter().any(|pattern| host_matches(pattern, host)) {
            at.warn(format!(
                "`{host}` is no host of site `{}`: purges by URL would go to a host that it does not serve; correct it, or add it to the site's `hosts`",
                site.name
            ));
        }
    }
}

/// Whether `pattern`, a name or `*.` and a name, is or includes `host`.
fn host_matches(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
        None => pattern == host,
    }
}

/// Reports scopes that no token has.
pub(super) fn tokens(tokens: &[AdminToken], at: &At<'_>) {
    if tokens.is_empty() {
        return;
    }
    let wanted = [
        (Scope::Read, "read", "look at purges and at the state of CDNs"),
        (Scope::Purge, "purge", "purge"),
        (Scope::PurgeEverything, "purge-everything", "purge everything"),
        (Scope::Operate, "operate", "retry, acknowledge, cancel, pause, resume or reload"),
    ];
    for (scope, name, what) in wanted {
        if !tokens.iter().any(|token| token.scopes.contains(&scope)) {
            at.note(format!("no token has the scope `{name}`: nobody can {what}"));
        }
    }
}
