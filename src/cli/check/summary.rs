//! A summary of a configuration in words, without secrets.

use crate::config::duration::print as duration;
use crate::config::{
    Access, Cdn, Config, Everything, LogFormat, Mode, OriginHost, OriginProtocol, OriginSettings, OriginUrl,
    Site, Trust,
};
use crate::rewrite::BrowserTtl;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

/// A configuration in words, without secrets.
pub struct Summary<'a>(pub &'a Config);

impl Display for Summary<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let config = self.0;
        global(config, f)?;
        config.sites.iter().try_for_each(|site| {
            writeln!(f)?;
            describe_site(site, f)
        })
    }
}

fn global(config: &Config, f: &mut Formatter<'_>) -> fmt::Result {
    let server = &config.server;
    let plain = server.listen.iter().map(|address| format!("http://{address}"));
    let tls = server.tls_listen.iter().map(|address| format!("https://{address}"));
    let listen: Vec<_> = plain.chain(tls).collect();
    writeln!(f, "listen    {}, {}", listen.join(", "), count(server.workers, "worker"))?;
    let tokens: Vec<_> = config.admin.tokens.iter().map(|token| token.name.as_str()).collect();
    writeln!(f, "admin     http://{}, tokens: {}", config.admin.listen, list(&tokens))?;
    let store = match (&config.store.path, &config.store.database) {
        (Some(path), _) => path.display().to_string(),
        (None, Some(database)) => format!("in PostgreSQL ({})", database.name()),
        (None, None) => "in memory".to_owned(),
    };
    writeln!(f, "store     {store}, ended purges are kept for {}", duration(config.store.retention))?;
    let log = &config.log;
    let format = match log.format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    };
    let access = match (log.access, log.access_sample) {
        (Access::Off, _) => "no requests".to_owned(),
        (Access::Errors, _) => "requests with errors".to_owned(),
        (Access::All, 1.0) => "all requests".to_owned(),
        (Access::All, share) => format!("requests with errors, and {share} of the others"),
    };
    writeln!(f, "log       {format}, filter {}, {access}", log.filter)
}

fn describe_site(site: &Site, f: &mut Formatter<'_>) -> fmt::Result {
    let mode = match site.mode {
        Mode::On => "",
        Mode::Observe => " (observe: nothing is changed)",
        Mode::Off => " (off: a plain proxy)",
    };
    writeln!(f, "site {}{mode}", site.name)?;
    let rest = site.default.then_some("every other host");
    let hosts: Vec<_> = site.hosts.iter().map(String::as_str).chain(rest).collect();
    writeln!(f, "  hosts   {}", hosts.join(", "))?;
    let origins: Vec<_> = site.origins.iter().map(origin).collect();
    let host = match &site.origin_host {
        OriginHost::Origin => "its own name".to_owned(),
        OriginHost::Preserve => "that of the request".to_owned(),
        OriginHost::Literal(name) => name.clone(),
    };
    write!(f, "  origin  {}, Host: {host}", origins.join(", then "))?;
    let OriginSettings { protocol, connections, tls, check } = &site.origin;
    if *protocol == OriginProtocol::Http2 {
        write!(f, ", HTTP/2")?;
    }
    if let Some(name) = &tls.server_name {
        write!(f, ", TLS as {name}")?;
    }
    if *connections > 0 {
        write!(f, ", {} at a time", count(*connections, "request"))?;
    }
    if let Some(check) = check {
        write!(f, ", checked at {} every {}", check.path, duration(check.interval))?;
    }
    writeln!(f)?;
    if site.cdns.is_empty() {
        return writeln!(f, "  cdns    none: a plain proxy");
    }
    let trust = match &site.trust {
        Trust::Any => "of every peer".to_owned(),
        Trust::Secret(_) => "of peers that send the secret".to_owned(),
        Trust::ClientCertificate => "of peers with a client certificate".to_owned(),
        Trust::Addresses(networks) => {
            let networks: Vec<_> = networks.iter().map(ToString::to_string).collect();
            format!("of peers from {}", networks.join(", "))
        }
    };
    writeln!(f, "  opt-in  {trust}")?;
    let ttls = &site.policy.ttls;
    writeln!(
        f,
        "  ttls    edge {}, browser {}, fallback {}, not found {}; {}",
        duration(ttls.edge),
        match ttls.browser {
            BrowserTtl::Origin => "as the origin says".to_owned(),
            BrowserTtl::Fixed(ttl) => duration(ttl),
        },
        duration(ttls.fallback),
        duration(ttls.not_found),
        count(site.policy.rules.len(), "rule"),
    )?;
    if site.mode != Mode::On {
        writeln!(f, "  purges  by URL and each CDN's purge-all: in this mode copies have no tags")?;
    }
    site.cdns.iter().try_for_each(|cdn| describe_cdn(cdn, f))
}

fn origin(origin: &OriginUrl) -> String {
    format!("{}://{}", if origin.tls { "https" } else { "http" }, origin.authority)
}

fn describe_cdn(cdn: &Cdn, f: &mut Formatter<'_>) -> fmt::Result {
    let hardness = if cdn.hard { "hard" } else { "soft" };
    let tags = cdn.dialect.tag_header.as_ref().map_or("no tags".to_owned(), |name| format!("tags in {name}"));
    write!(f, "  cdn     {} ({}): ", cdn.name, cdn.account)?;
    write!(f, "TTL in {}, {tags}, {hardness} purges", cdn.dialect.ttl_header)?;
    if cdn.everything == Everything::Cdn {
        write!(f, ", everything is all of the CDN")?;
    }
    if cdn.repeat_after > Duration::ZERO {
        write!(f, ", again after {}", duration(cdn.repeat_after))?;
        if cdn.repeat_everything_after != cdn.repeat_after {
            write!(f, " (everything {})", duration(cdn.repeat_everything_after))?;
        }
    }
    let hosts: Vec<_> = cdn.hosts.iter().map(String::as_str).collect();
    writeln!(f, ", URLs on {}", list(&hosts))
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use std::path::Path;

    #[test]
    fn it_says_what_a_configuration_means() {
        let text = r#"
            [server]
            listen = ["127.0.0.1:8080", "[::1]:8080"]
            workers = 2
            [[admin.tokens]]
            name = "cms"
            token = "literal:canary-0123456789abcdef"
            scopes = ["read"]
            [[sites]]
            name = "www"
            hosts = ["www.example.com", "*.example.com"]
            default = true
            origin = ["https://a.example", "http://b.example:8080"]
            mode = "observe"
            opt_in = { trust = ["10.0.0.0/8"] }
            [[sites.rules]]
            path = "/assets/**"
            [[sites.cdns]]
            type = "fastly"
            service_id = "S1"
            auth_token = "env:TOKEN"
            [[sites.cdns]]
            type = "cloudfront"
            distribution_id = "E1"
            access_key_id = "A1"
            secret_access_key = "env:TOKEN"
            everything = "cdn"
            [[sites]]
            name = "plain"
            hosts = ["plain.example.com"]
            origin = "http://c.example"
            origin_protocol = "http2"
            origin_connections = 200
            origin_check = { path = "/healthz" }
            origin_host = "preserve"
            mode = "off"
        "#;
        let env = |_: &str| Some("canary-0123456789abcdef".to_owned());
        let loaded = config::parse(text, Path::new("shim.toml"), &env).unwrap();
        let summary = Summary(&loaded.config).to_string();
        assert!(!summary.contains("canary"), "{summary}");
        insta::assert_snapshot!(summary, @r"
        listen    http://127.0.0.1:8080, http://[::1]:8080, 2 workers
        admin     http://127.0.0.1:9180, tokens: cms
        store     origin-shim.db, ended purges are kept for 14d
        log       text, filter info, no requests

        site www (observe: nothing is changed)
          hosts   www.example.com, *.example.com, every other host
          origin  https://a.example, then http://b.example:8080, Host: its own name
          opt-in  of peers from 10.0.0.0/8
          ttls    edge 2d, browser as the origin says, fallback 5m, not found 5m; 1 rule
          purges  by URL and each CDN's purge-all: in this mode copies have no tags
          cdn     fastly (fastly:www/fastly): TTL in surrogate-control, tags in surrogate-key, hard purges, again after 2s (everything 30s), URLs on www.example.com
          cdn     cloudfront (cloudfront:www/cloudfront): TTL in cache-control, no tags, hard purges, everything is all of the CDN, URLs on www.example.com

        site plain (off: a plain proxy)
          hosts   plain.example.com
          origin  http://c.example, Host: that of the request, HTTP/2, 200 requests at a time, checked at /healthz every 10s
          cdns    none: a plain proxy
        ");
    }
}
