//! Writing of the configuration file.

use super::cdn::{Cdn, Settings};
use super::origin::Origin;
use super::site::Site;
use super::{Imported, Variable};
use crate::rewrite::aem::Partition;
use std::fmt::Write;

/// An origin that is never a host (RFC 6761), so that no foreign site is proxied before the origin is set.
const NO_ORIGIN: &str = "https://origin.invalid";

pub(super) fn write(
    cdn: &Cdn,
    site: &Site,
    mut variables: Vec<Variable>,
    mut notes: Vec<String>,
) -> Imported {
    let mut file = File::default();
    file.comment("Made by `origin-shim import aem`: what the site's CDN configuration in AEM says.");
    file.line("");
    file.table("[[admin.tokens]]");
    file.comment("Whoever publishes, such as a workflow that is called after each publish.");
    file.text("name", "publish");
    file.text("token", "env:ORIGIN_SHIM_TOKEN");
    file.line("scopes = [\"read\", \"purge\"]");
    variables
        .push(variable("ORIGIN_SHIM_TOKEN", "a new token of at least 16 characters, for whoever publishes"));

    file.table("[[sites]]");
    file.text("name", &name(cdn, site));
    match cdn.host.as_str() {
        "" => file.line("default = true"),
        host => file.list("hosts", &[host.to_owned()]),
    }
    file.text("profile", "aem");
    if site.origin.is_none() {
        file.comment("To be set: https://main--SITE--ORG.aem.live");
    }
    file.text("origin", &site.origin.as_ref().map_or(NO_ORIGIN.to_owned(), Origin::to_string));
    file.comment("As long as AEM itself waits for its own caches before it purges.");
    file.text("origin_settle", "500ms");
    if cdn.settings != Settings::None {
        opt_in(&mut file, cdn, &mut variables, &mut notes);
    }
    aem(&mut file, site);
    settings(&mut file, &cdn.settings);
    notes.push(
        "publish events: AEM does not call the shim; let a workflow that runs after each publish POST to /v1/sites/{site}/events"
            .to_owned(),
    );
    Imported { toml: file.text, variables, notes }
}

fn variable(name: &'static str, holds: &str) -> Variable {
    Variable { name, holds: holds.to_owned() }
}

/// Returns the site's name: the given one, the first label of its host, or `www` if both are empty.
fn name(cdn: &Cdn, site: &Site) -> String {
    let source =
        if site.name.is_empty() { cdn.host.split('.').next().unwrap_or_default() } else { &site.name };
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
    let name: String =
        source.to_ascii_lowercase().chars().map(|c| if legal(c) { c } else { '-' }).take(64).collect();
    if name.is_empty() { "www".to_owned() } else { name }
}

fn opt_in(file: &mut File, cdn: &Cdn, variables: &mut Vec<Variable>, notes: &mut Vec<String>) {
    file.table("[sites.opt_in]");
    file.comment("The CDN proves by it that it can be purged: it sends it in X-Origin-Shim-Secret.");
    file.text("trust", "secret");
    file.text("secret", "env:SHIM_EDGE_SECRET");
    variables
        .push(variable("SHIM_EDGE_SECRET", "a new secret of at least 16 characters, which the CDN sends"));
    notes.push(
        "CDN: purge it as a whole once in its own console when the shim takes over; what it holds from before has not all of \
         the shim's tags"
            .to_owned(),
    );
    notes.push(format!(
        "CDN: let its origin be the shim, and let it send X-Push-Invalidation: enabled (as for AEM), X-BYO-CDN-Type: {}, and \
         X-Origin-Shim-Secret",
        cdn.settings.cdn_type()
    ));
}

fn aem(file: &mut File, site: &Site) {
    // AEM's keys can only be computed from all ids.
    let complete = site.origin.is_some() && site.content_bus_id.is_some();
    let mut part = File { text: String::new(), mark: if complete { "" } else { "#" } };
    part.table("[sites.aem]");
    part.text("org", site.origin.as_ref().map_or("ORG", |origin| &origin.org));
    part.text("site", site.origin.as_ref().map_or("SITE", |origin| &origin.site));
    part.text("content_bus_id", site.content_bus_id.as_deref().unwrap_or("CONTENT-BUS-ID"));
    if let Some(owner) = &site.owner {
        part.text("owner", owner);
    }
    if let Some(repo) = &site.repo {
        part.text("repo", repo);
    }
    if let Some(origin) = &site.origin {
        part.text("ref", &origin.code_ref);
        if origin.partition == Partition::Preview {
            part.text("partition", "preview");
        }
    }
    if !site.metadata.is_empty() {
        part.list("metadata", &site.metadata);
    }
    for (path, maps_to) in &site.folders {
        part.table("[[sites.aem.folders]]");
        part.text("path", path);
        part.text("maps_to", maps_to);
    }
    file.text.push_str(&part.text);
}

impl Settings {
    fn cdn_type(&self) -> &'static str {
        match self {
            Self::Fastly { .. } => "fastly",
            Self::Akamai { .. } => "akamai",
            Self::Cloudflare { .. } => "cloudflare",
            Self::Cloudfront { .. } => "cloudfront",
            Self::None => "",
        }
    }
}

fn settings(file: &mut File, settings: &Settings) {
    if *settings == Settings::None {
        return;
    }
    file.table("[[sites.cdns]]");
    file.text("type", settings.cdn_type());
    match settings {
        Settings::Fastly { service_id, auth_token } => {
            file.text("service_id", service_id);
            file.secret("auth_token", auth_token);
        }
        Settings::Akamai { endpoint, client_token, client_secret, access_token } => {
            file.text("endpoint", endpoint);
            file.secret("client_token", client_token);
            file.secret("client_secret", client_secret);
            file.secret("access_token", access_token);
        }
        Settings::Cloudflare { zone_id, api_token, plan } => {
            file.text("zone_id", zone_id);
            file.secret("api_token", api_token);
            if let Some(plan) = plan {
                file.text("plan", plan);
            }
        }
        Settings::Cloudfront { distribution_id, access_key_id, secret_access_key, tags } => {
            file.text("distribution_id", distribution_id);
            file.text("access_key_id", access_key_id);
            file.secret("secret_access_key", secret_access_key);
            if *tags {
                file.text("tag_header", "x-amz-meta-cache-tag");
            }
        }
        Settings::None => {}
    }
}

/// A file being written. Every line starts with `mark`.
#[derive(Debug, Default)]
struct File {
    text: String,
    mark: &'static str,
}

impl File {
    fn line(&mut self, line: &str) {
        let mark = if line.is_empty() { "" } else { self.mark };
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{mark}{line}");
    }

    fn comment(&mut self, text: &str) {
        // A line break would end the comment, and readers would not notice the text after it.
        self.line(&format!("# {}", text.replace(char::is_control, " ")));
    }

    fn table(&mut self, header: &str) {
        if !self.text.ends_with("\n\n") {
            self.line("");
        }
        self.line(header);
    }

    fn text(&mut self, key: &str, value: &str) {
        self.line(&format!("{key} = {}", quoted(value)));
    }

    fn secret(&mut self, key: &str, variable: &str) {
        self.text(key, &format!("env:{variable}"));
    }

    fn list(&mut self, key: &str, values: &[String]) {
        let values: Vec<_> = values.iter().map(|value| quoted(value)).collect();
        self.line(&format!("{key} = [{}]", values.join(", ")));
    }
}

/// Returns the text as a TOML string. Characters that are invisible or that a terminal would obey are escaped.
fn quoted(text: &str) -> String {
    let is_seen = |char: char| char.is_alphanumeric() || char == ' ' || char.is_ascii_graphic();
    if text.chars().all(is_seen) {
        return toml::Value::String(text.to_owned()).to_string();
    }
    let mut quoted = String::from('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            _ if is_seen(char) => quoted.push(char),
            // Writing to a string cannot fail.
            _ => drop(write!(quoted, "\\U{:08x}", u32::from(char))),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_quoted_string_is_the_same_and_one_line(text in "\\PC{0,20}|[\u{0}-\u{a0}\u{200b}-\u{202e}\"'\\\\ü]{0,20}") {
            let written = format!("key = {}\n", quoted(&text));
            let hostile = |char: char| char.is_control() || ('\u{200b}'..='\u{202e}').contains(&char);
            let is_left = written.trim_end().contains(hostile);
            prop_assert!(!is_left);
            let read: toml::Table = written.parse().unwrap();
            prop_assert_eq!(read["key"].as_str(), Some(text.as_str()));
        }
    }
}
