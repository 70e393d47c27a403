//! The keys of `[[sites]]` with settings for its origins.

use super::{certificate, host, url};
use crate::config::at::At;
use crate::config::file::site as file;
use crate::config::{Certificate, OriginCheck, OriginSettings, OriginTls};
use std::time::Duration;

pub(super) fn resolve(file: &file::Site, at: &At<'_>) -> OriginSettings {
    OriginSettings {
        protocol: file.origin_protocol,
        connections: file.origin_connections as usize,
        tls: tls(&file.origin_tls, &at.key("origin_tls")),
        check: file.origin_check.as_ref().map(|check| self::check(check, &at.key("origin_check"))),
    }
}

fn tls(file: &file::OriginTls, at: &At<'_>) -> OriginTls {
    let certificate = match (&file.cert, &file.key) {
        (Some(cert), Some(key)) => Some(Certificate { cert: at.path(cert), key: at.path(key) }),
        (Some(_), None) => {
            at.key("key").error("is required with `cert`");
            None
        }
        (None, Some(_)) => {
            at.key("cert").error("is required with `key`");
            None
        }
        (None, None) => None,
    };
    if let Some(certificate) = &certificate {
        certificate::check(certificate, at);
    }
    let name = |name: &String| at.key("server_name").ok(host::exact(name));
    OriginTls {
        ca: file.ca.as_ref().and_then(|path| certificate::authorities(path, &at.key("ca"))),
        certificate,
        server_name: file.server_name.as_ref().and_then(name),
    }
}

fn check(file: &file::OriginCheck, at: &At<'_>) -> OriginCheck {
    if !file.path.starts_with('/') || file.path.parse::<http::uri::PathAndQuery>().is_err() {
        at.key("path").error("must be a path that starts with `/`, perhaps with a query");
    }
    let interval = at.key("interval").duration(&file.interval);
    if interval < Duration::from_secs(1) {
        at.key("interval").error("must be at least 1s");
    }
    if !(200..=599).contains(&file.status) {
        at.key("status").error("must be 200 to 599");
    }
    for (name, value) in [("rise", file.rise), ("fall", file.fall)] {
        if value == 0 {
            at.key(name).error("must be at least 1");
        }
    }
    OriginCheck {
        path: file.path.clone(),
        host: file.host.as_ref().and_then(|host| at.key("host").ok(url::authority(host))),
        interval,
        status: file.status,
        rise: file.rise,
        fall: file.fall,
    }
}
