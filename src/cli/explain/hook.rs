//! `origin-shim explain --hook`: shows what a webhook would purge. The signature is not looked at.

use crate::config::{Condition, Config, Hook, Place};
use crate::inbound::webhook::hook::Wanted;
use crate::purge::{PurgeRequest, publish};
use anyhow::{Context, bail};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::Value;
use std::fmt::{self, Display, Formatter};
use std::io::Read;

/// The largest body, as a listener takes it.
const MAX_BYTES: u64 = 8 << 20;

/// What a webhook would purge.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    hook: String,
    site: String,
    /// The conditions that do not hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unmet: Vec<String>,
    /// The event that the webhook reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    /// What is purged; absent if nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    purge: Option<PurgeRequest>,
}

/// Reads the body of a webhook, and finds out what it would purge.
pub(super) fn explain(
    config: &Config,
    name: &str,
    headers: &[(HeaderName, HeaderValue)],
    body: impl Read,
) -> anyhow::Result<Told> {
    let mut hooks = config.inbound.iter().flat_map(|inbound| &inbound.hooks);
    let Some(hook) = hooks.clone().find(|hook| hook.name == name) else {
        let known: Vec<_> = hooks.by_ref().map(|hook| hook.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        bail!("there is no webhook `{name}` in [[inbound.hooks]]; there is: {known}");
    };
    let mut text = Vec::new();
    body.take(MAX_BYTES).read_to_end(&mut text).context("cannot read the body")?;
    let body: Value =
        serde_json::from_slice(&text).context("the body, which is read from stdin, is not JSON")?;
    let headers: HeaderMap = headers.iter().cloned().collect();
    told(config, hook, &headers, &body)
}

fn told(config: &Config, hook: &Hook, headers: &HeaderMap, body: &Value) -> anyhow::Result<Told> {
    let unmet = hook.rule.when.iter().filter(|condition| !condition.holds(headers, body));
    let mut told = Told {
        hook: hook.name.clone(),
        site: hook.site.clone(),
        unmet: unmet.map(written).collect(),
        event: None,
        purge: None,
    };
    match hook.rule.read(headers, body)? {
        Wanted::Nothing => {}
        Wanted::Purge(purge) => told.purge = Some(purge),
        Wanted::Event(event) => {
            let site = config.sites.iter().find(|site| site.name == hook.site);
            let site = site.with_context(|| format!("there is no site `{}`", hook.site))?;
            told.event = Some(event.event.clone());
            told.purge = Some(publish::purge_of(site, &event).map_err(|errors| {
                let errors: Vec<_> =
                    errors.iter().map(|error| format!("{}: {}", error.item, error.message)).collect();
                anyhow::anyhow!("the event would be refused: {}", errors.join("; "))
            })?);
        }
    }
    Ok(told)
}

fn written(condition: &Condition) -> String {
    let of = match &condition.of {
        Place::Body(pointer) => format!("{pointer} of the body"),
        Place::Header(name) => format!("the header {name}"),
    };
    format!("{of} is not {}", condition.is.join(" or "))
}

impl Display for Told {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { hook, site, unmet, event, purge } = self;
        for unmet in unmet {
            writeln!(f, "webhook {hook} does not count: {unmet}")?;
        }
        let Some(purge) = purge else {
            if unmet.is_empty() {
                writeln!(f, "webhook {hook} purges nothing: the body lacks what its templates name")?;
            }
            return Ok(());
        };
        match event {
            Some(event) => writeln!(f, "webhook {hook} reports {event} to site {site}, which purges")?,
            None => writeln!(f, "webhook {hook} purges of site {site}")?,
        }
        let lists =
            [("url", &purge.urls), ("path", &purge.paths), ("tag", &purge.tags), ("prefix", &purge.prefixes)];
        for (kind, items) in lists {
            for item in items {
                writeln!(f, "  {kind:<6} {item}")?;
            }
        }
        if purge.everything { writeln!(f, "  everything") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use std::path::Path;

    const FILE: &str = r#"
[[sites]]
name = "www"
hosts = ["www.example.com"]
origin = "http://127.0.0.1:8081"
[[inbound]]
listen = ["127.0.0.1:6081"]
protocol = "webhook"
[[inbound.hooks]]
name = "entries"
when = { "/type" = ["entry.published", "entry.unpublished"], "X-Topic" = "live" }
tags = ["entry-{/entry/id}"]
paths = ["/blog/{/entry/slug}"]
[[inbound.hooks]]
name = "story"
event = "publish"
paths = ["/{/full_slug}"]
"#;

    fn shown(name: &str, topic: &'static str, body: &str) -> String {
        let config = parse(FILE, Path::new("origin-shim.toml"), &|_| None).unwrap().config;
        let headers = [(HeaderName::from_static("x-topic"), HeaderValue::from_static(topic))];
        match explain(&config, name, &headers, body.as_bytes()) {
            Ok(told) => told.to_string(),
            Err(error) => format!("{error:#}"),
        }
    }

    #[test]
    fn what_a_webhook_would_purge() {
        let body = r#"{"type":"entry.published","entry":{"id":7,"slug":"für-alle"}}"#;
        insta::assert_snapshot!(shown("entries", "live", body), @r"
        webhook entries purges of site www
          path   /blog/f%C3%BCr-alle
          tag    entry-7
        ");
        insta::assert_snapshot!(shown("story", "", r#"{"full_slug":"blog/first"}"#), @r"
        webhook story reports publish to site www, which purges
          path   /blog/first
          path   /blog/first/
          path   /blog/first/index.html
          path   /blog/first.html
        ");
    }

    #[test]
    fn why_a_webhook_would_purge_nothing() {
        insta::assert_snapshot!(shown("entries", "draft", r#"{"type":"entry.saved"}"#), @r"
        webhook entries does not count: /type of the body is not entry.published or entry.unpublished
        webhook entries does not count: the header x-topic is not live
        ");
        insta::assert_snapshot!(
            shown("entries", "live", r#"{"type":"entry.published"}"#),
            @"webhook entries purges nothing: the body lacks what its templates name"
        );
        insta::assert_snapshot!(
            shown("nope", "", "{}"),
            @"there is no webhook `nope` in [[inbound.hooks]]; there is: entries, story"
        );
        insta::assert_snapshot!(
            shown("story", "", "{"),
            @"the body, which is read from stdin, is not JSON: EOF while parsing an object at line 1 column 1"
        );
    }
}
