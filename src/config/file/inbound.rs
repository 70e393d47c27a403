//! The `[[inbound]]` tables.

use crate::config::secret::SecretRef;
use crate::config::text::OneOrMany;
use crate::config::{HookScheme, InboundProtocol, UnknownPattern};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A listener for the purge requests that clients of other systems already send. Each request becomes a purge as if
/// the admin API had been called: it is answered when it is on disk. Listeners are separate from the public and the
/// admin ones, and use plain HTTP: keep them on the loopback interface or a private network.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Inbound {
    /// Addresses, `IP:PORT`.
    #[schemars(length(min = 1), example = ["10.0.0.5:6081"])]
    pub listen: Vec<String>,
    /// What the clients speak: `varnish` (the conventions of plug-ins for Varnish), the purge APIs of `fastly`,
    /// `cloudflare` and `akamai`, or `webhook` (`hooks`).
    pub protocol: InboundProtocol,
    /// The site that is purged. Absent: the one that the request names in its protocol, then the one of its `Host`,
    /// then the only site.
    pub site: Option<String>,
    /// Networks or addresses of the clients. Absent: this machine.
    #[schemars(example = ["10.0.0.0/8"])]
    pub allow: Option<Vec<String>>,
    /// What happens to a pattern that is not understood: `refuse` (422), or `everything` (the whole site is purged).
    /// Only with `varnish`.
    #[serde(default)]
    pub on_unknown_pattern: UnknownPattern,
    /// The header in which each request must present a token of the admin API, which then says what it may purge.
    /// Absent: `allow` alone decides. Only with `varnish`.
    #[schemars(example = &"X-Invalidate-Token")]
    pub token_header: Option<String>,
    /// Whether `REFRESH` purges the URL, as `PURGE` does. Only with `varnish`.
    #[serde(default)]
    pub refresh: bool,
    /// The webhooks, each at `POST /NAME`. Only with `webhook`.
    #[serde(default)]
    pub hooks: Vec<Hook>,
}

/// A webhook of a content management system, and what it purges. Its body is JSON. In `tags`, `paths` and `prefixes`,
/// a JSON pointer in braces stands for a value of the body: `entry-{/entry/id}`. A pointer into an array gives one
/// item for each element. An item with a pointer that the body lacks is left out.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// The name, which is the path of the webhook; letters a to z, digits, `.`, `_` and `-`, at most 64.
    #[schemars(regex(pattern = "^[a-z0-9._-]{1,64}$"), example = &"entries")]
    pub name: String,
    /// The site that is purged. Absent: that of the listener, then the only site.
    pub site: Option<String>,
    /// How the sender proves who it is. Absent: `allow` alone decides. `hmac-sha256` and `hmac-sha1`: the HMAC of the
    /// body in `header`. `bearer` and `basic`: the secret in `Authorization` (`user:password` for `basic`).
    /// `contentful`, `sanity`, `storyblok` and `kontent`: the signatures of these systems.
    pub verify: Option<HookScheme>,
    /// The header of the signature, with `hmac-sha256` and `hmac-sha1`: hexadecimal digits or base64, with or without
    /// `sha256=`.
    #[schemars(example = &"X-Signature")]
    pub header: Option<String>,
    /// The secret that the sender has, too. Needed with `verify`.
    #[schemars(example = &"env:HOOK_SECRET")]
    pub secret: Option<SecretRef>,
    /// Conditions: a JSON pointer into the body, or the name of a header, with one or several values. All must hold,
    /// or else the webhook is answered by 200 and purges nothing.
    #[serde(default)]
    #[schemars(example = [("/type", "entry.published")].into_iter().collect::<BTreeMap<_, _>>())]
    pub when: BTreeMap<String, OneOrMany>,
    /// Tags to purge.
    #[serde(default)]
    #[schemars(example = ["entry-{/entry/id}"])]
    pub tags: Vec<String>,
    /// Paths to purge.
    #[serde(default)]
    #[schemars(example = ["/blog/{/entry/slug}"])]
    pub paths: Vec<String>,
    /// Prefixes to purge; they end with `/`.
    #[serde(default)]
    pub prefixes: Vec<String>,
    /// Whether the whole site is purged.
    #[serde(default)]
    pub everything: bool,
    /// The event that the webhook reports, with `paths`, instead of a purge. The site's profile and `[[sites.events]]`
    /// decide what is purged.
    #[schemars(example = &"publish")]
    pub event: Option<String>,
}
