//! The `[[inbound]]` tables.

use super::{admin, name, server};
use crate::config::at::At;
use crate::config::file::inbound as file;
use crate::config::template::{Pointer, Template};
use crate::config::text::OneOrMany;
use crate::config::{
    Condition, EVENTS, Hook, HookProof, HookRule, Inbound, InboundProtocol, Place, UnknownPattern,
};
use http::HeaderName;
use ipnet::IpNet;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Resolves a listener. `only` is the name of the only site, if there is only one.
pub(super) fn resolve(file: &file::Inbound, only: Option<&str>, at: &At<'_>) -> Inbound {
    if file.listen.is_empty() {
        at.key("listen").error("at least one address is needed");
    }
    others(file, at);
    let site = file.site.as_deref().or(only);
    Inbound {
        listen: server::addresses(&file.listen, &at.key("listen")),
        protocol: file.protocol,
        site: file.site.clone(),
        allow: match &file.allow {
            Some(allow) => server::networks(allow, &at.key("allow")),
            None => loopback(),
        },
        on_unknown_pattern: file.on_unknown_pattern,
        token_header: file.token_header.as_ref().and_then(|text| header(text, &at.key("token_header"))),
        refresh: file.refresh,
        hooks: at.key("hooks").each(&file.hooks).map(|(at, file)| hook(file, site, &at)).collect(),
    }
}

/// This machine: 127.0.0.0/8 and ::1.
fn loopback() -> Vec<IpNet> {
    let v4 = IpNet::new_assert(Ipv4Addr::LOCALHOST.into(), 8).trunc();
    vec![v4, IpNet::from(std::net::IpAddr::from(Ipv6Addr::LOCALHOST))]
}

/// Reports the keys of other protocols, and the lack of those that this one needs.
fn others(file: &file::Inbound, at: &At<'_>) {
    let keys = [
        ("on_unknown_pattern", InboundProtocol::Varnish, file.on_unknown_pattern != UnknownPattern::Refuse),
        ("token_header", InboundProtocol::Varnish, file.token_header.is_some()),
        ("refresh", InboundProtocol::Varnish, file.refresh),
        ("hooks", InboundProtocol::Webhook, !file.hooks.is_empty()),
    ];
    for (key, protocol, _) in keys.iter().filter(|(_, of, is_given)| *is_given && *of != file.protocol) {
        at.key(key).error(format!("is only for protocol = \"{}\"", protocol.name()));
    }
    if file.protocol == InboundProtocol::Webhook && file.hooks.is_empty() {
        at.key("protocol").error("needs an [[inbound.hooks]] table for each webhook");
    }
}

fn hook(file: &file::Hook, site: Option<&str>, at: &At<'_>) -> Hook {
    name::check(&file.name, &at.key("name"));
    let site = file.site.as_deref().or(site);
    if site.is_none() {
        at.error("there are several sites: say which one with `site`, here or in [[inbound]]");
    }
    Hook {
        name: file.name.clone(),
        site: site.unwrap_or_default().to_owned(),
        proof: proof(file, at),
        rule: rule(file, at),
    }
}

fn proof(file: &file::Hook, at: &At<'_>) -> Option<HookProof> {
    let secret = file.secret.as_ref().map(|secret| admin::long_secret(secret, &at.key("secret")));
    let header = file.header.as_ref().and_then(|text| header(text, &at.key("header")));
    let Some(scheme) = file.verify else {
        if file.secret.is_some() || file.header.is_some() {
            at.error("`secret` and `header` have no effect without `verify`");
        }
        return None;
    };
    if secret.is_none() {
        at.key("verify").error("needs `secret`, which the sender has, too");
    }
    match (scheme.takes_header(), &file.header) {
        (true, None) => at.key("verify").error("needs `header`, the name of the header with the signature"),
        (false, Some(_)) => at.key("header").error("is only for \"hmac-sha256\" and \"hmac-sha1\""),
        _ => {}
    }
    let header = header.unwrap_or(HeaderName::from_static("x-signature"));
    Some(HookProof { scheme, header, secret: secret? })
}

fn rule(file: &file::Hook, at: &At<'_>) -> HookRule {
    let templates = |key: &str, texts: &[String]| -> Vec<Template> {
        at.key(key).each(texts).filter_map(|(at, text)| at.ok(Template::parse(text))).collect()
    };
    let items = file.tags.len() + file.paths.len() + file.prefixes.len() + usize::from(file.everything);
    if items == 0 && file.event.is_none() {
        at.error("purges nothing: give `tags`, `paths`, `prefixes`, `everything` or `event`");
    }
    for (key, paths) in [("paths", &file.paths), ("prefixes", &file.prefixes)] {
        for (at, path) in at.key(key).each(paths) {
            if !path.starts_with('/') && !path.starts_with('{') {
                at.error("must begin with `/`");
            }
            if key == "prefixes" && !path.ends_with('/') {
                at.error("must end with `/`");
            }
        }
    }
    if let Some(event) = &file.event {
        if !EVENTS.contains(&event.as_str()) {
            at.key("event").warn("is none of the usual events: only a rule of [[sites.events]] can know it");
        }
        if file.everything || !file.tags.is_empty() || !file.prefixes.is_empty() {
            at.key("event").error("an event has `paths` only");
        }
    }
    HookRule {
        when: file.when.iter().filter_map(|(of, is)| condition(of, is, &at.key("when").key(of))).collect(),
        tags: templates("tags", &file.tags),
        paths: templates("paths", &file.paths),
        prefixes: templates("prefixes", &file.prefixes),
        everything: file.everything,
        event: file.event.clone(),
    }
}

/// Parses a condition. Pointers begin with a slash, which no name of a header does.
fn condition(of: &str, is: &OneOrMany, at: &At<'_>) -> Option<Condition> {
    let of = match of.starts_with('/') {
        true => Place::Body(at.ok(Pointer::parse(of))?),
        false => Place::Header(header(of, at)?),
    };
    Some(Condition { of, is: is.as_slice().to_vec() })
}

fn header(text: &str, at: &At<'_>) -> Option<HeaderName> {
    at.ok(text.parse().map_err(|_| "must be the name of a header"))
}
