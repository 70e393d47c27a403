//! The `[admin]` table.

use super::{host, name, server};
use crate::config::at::At;
use crate::config::file::admin as file;
use crate::config::secret::{Secret, SecretRef};
use crate::config::{Admin, AdminToken};

/// The shortest secret, in characters. Shorter ones can be guessed.
pub(super) const LEAST_SECRET: usize = 16;

pub(super) fn resolve(file: &file::Admin, at: &At<'_>) -> Admin {
    let listen = server::address(&file.listen, &at.key("listen"));
    if !listen.ip().is_loopback() {
        at.key("listen").warn("plain HTTP that other machines can reach: the tokens travel over it");
    }
    if file.tokens.is_empty() {
        at.key("tokens").warn("without a token nobody can purge: only health and metrics answer");
    }
    Admin {
        listen,
        hosts: at.key("hosts").each(&file.hosts).filter_map(|(at, text)| at.ok(host::exact(text))).collect(),
        tokens: at.key("tokens").each(&file.tokens).map(|(at, file)| token(file, &at)).collect(),
    }
}

fn token(file: &file::Token, at: &At<'_>) -> AdminToken {
    name::check(&file.name, &at.key("name"));
    if file.scopes.is_empty() {
        at.key("scopes").error("at least one of read, purge, purge-everything, operate is needed");
    }
    if file.sites.as_ref().is_some_and(Vec::is_empty) {
        at.key("sites").error("at least one site is needed; leave the key out for all sites");
    }
    AdminToken {
        name: file.name.clone(),
        token: long_secret(&file.token, &at.key("token")),
        scopes: file.scopes.clone(),
        sites: file.sites.clone(),
    }
}

/// Resolves a secret that people choose, unlike those that a CDN issues.
pub(super) fn long_secret(reference: &SecretRef, at: &At<'_>) -> Secret {
    let secret = at.secret(reference);
    // An empty one has already been reported.
    if (1..LEAST_SECRET).contains(&secret.expose().len()) {
        at.error(format!("must be at least {LEAST_SECRET} characters long"));
    }
    secret
}
