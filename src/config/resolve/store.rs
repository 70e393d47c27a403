//! Resolves the `[store]` and `[fleet]` tables.

use crate::config::at::At;
use crate::config::file::{Fleet as FleetFile, Store as StoreFile};
use crate::config::{Database, DatabaseTls, Fleet, Store};
use std::net::IpAddr;
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

/// The shortest and the longest lease. Renewals take place every second, and some of the lease must remain for pauses
/// of the process.
const LEASE: std::ops::RangeInclusive<Duration> = Duration::from_secs(3)..=Duration::from_secs(60);

pub(super) fn resolve(file: &StoreFile, at: &At<'_>) -> Store {
    let retention = at.key("retention").duration(&file.retention);
    if retention < Duration::from_secs(86_400) {
        at.key("retention").error("must be at least 1d, for which an Idempotency-Key is remembered");
    }
    let url = at.key("url");
    let (mut path, mut database) = (None, None);
    match file.url.split_once(':') {
        Some(("sqlite", ":memory:")) => url.warn("accepted purges are lost when the process ends"),
        Some(("sqlite", text)) if !text.is_empty() && !text.starts_with("//") && !text.contains('?') => {
            path = Some(url.path(text));
        }
        Some(("postgres" | "postgresql", _)) => database = self::database(file, at),
        _ => url.error(
            "must be sqlite:PATH (without `//` and parameters), sqlite::memory: or postgres://USER@HOST/DATABASE",
        ),
    }
    if !file.url.starts_with("postgres") {
        let given = [
            ("password", file.password.is_some()),
            ("ca", file.ca.is_some()),
            ("cert", file.cert.is_some()),
            ("key", file.key.is_some()),
            ("listen_url", file.listen_url.is_some()),
        ];
        for (key, _) in given.into_iter().filter(|(_, is_given)| *is_given) {
            at.key(key).error_in_key("is for a store in PostgreSQL");
        }
    }
    Store { path, database, retention }
}

fn database(file: &StoreFile, at: &At<'_>) -> Option<Database> {
    let password = file.password.as_ref().map(|password| at.key("password").secret(password));
    let parse = |text: &str, at: &At<'_>| {
        let mut config = at.ok(text.parse::<Config>())?;
        if config.get_password().is_some() {
            at.error("must not contain the password, which belongs in `password`");
        }
        if config.get_hosts().is_empty() {
            at.error("names no host");
        }
        if let Some(password) = &password {
            config.password(password.expose());
        }
        Some(config)
    };
    let url = parse(&file.url, &at.key("url"))?;
    let listen_url = match &file.listen_url {
        Some(text) => Some(parse(text, &at.key("listen_url"))?),
        None => None,
    };
    let identity = match (&file.cert, &file.key) {
        (Some(cert), Some(key)) => Some((at.key("cert").path(cert), at.key("key").path(key))),
        (None, None) => None,
        (Some(_), None) => {
            at.key("cert").error("needs the certificate's `key`");
            None
        }
        (None, Some(_)) => {
            at.key("key").error("needs the key's `cert`");
            None
        }
    };
    let ca = file.ca.as_ref().map(|ca| at.key("ca").path(ca));
    let mode = url.get_ssl_mode();
    let is_local = is_local(&url) && listen_url.as_ref().is_none_or(is_local);
    if mode == SslMode::Disable && !is_local {
        at.key("url").error("must not turn TLS off, since the database is on another machine");
    }
    let is_plain = is_local && mode != SslMode::Require && ca.is_none() && identity.is_none();
    let tls = (!is_plain).then_some(DatabaseTls { ca, identity });
    Some(Database { url, listen_url, tls })
}

/// Returns whether a connection cannot leave this machine.
fn is_local(config: &Config) -> bool {
    let is_loopback = |host: &Host| match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        Host::Unix(_) => true,
    };
    match config.get_hostaddrs() {
        [] => config.get_hosts().iter().all(is_loopback),
        addresses => addresses.iter().all(IpAddr::is_loopback),
    }
}

pub(super) fn fleet(file: &FleetFile, at: &At<'_>, has_database: bool) -> Fleet {
    if !has_database && *file != FleetFile::default() {
        at.warn("has no effect without a store in PostgreSQL");
    }
    let lease = at.key("lease").duration(&file.lease);
    if !LEASE.contains(&lease) {
        at.key("lease").error("must be 3s to 1m");
    }
    let barrier_wait = at.key("barrier_wait").duration(&file.barrier_wait);
    if barrier_wait > Duration::from_secs(10) {
        at.key("barrier_wait").error("must be at most 10s");
    }
    Fleet { instance: instance(file, &at.key("instance")), lease, barrier_wait }
}

fn instance(file: &FleetFile, at: &At<'_>) -> Option<String> {
    let text = file.instance.as_deref()?;
    let name = match text.strip_prefix("env:") {
        Some(variable) => match at.variable(variable) {
            Some(name) => name,
            None => {
                at.error(format!("the environment variable {variable} is not set"));
                return None;
            }
        },
        None => text.to_owned(),
    };
    if name.is_empty() || name.len() > 100 || !name.chars().all(|c| c.is_ascii_graphic()) {
        at.error("must have 1 to 100 printable characters without spaces");
    }
    Some(name)
}
