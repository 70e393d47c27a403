//! The `[server]` table.

use super::{certificate, name};
use crate::config::at::At;
use crate::config::file::server as file;
use crate::config::{Certificate, Limits, Server};
use crate::rewrite::CdnType;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

pub(super) fn resolve(file: &file::Server, at: &At<'_>) -> Server {
    let default = if file.tls_listen.is_empty() { vec!["0.0.0.0:8080".to_owned()] } else { Vec::new() };
    let listen = addresses(file.listen.as_ref().unwrap_or(&default), &at.key("listen"));
    let tls_listen = addresses(&file.tls_listen, &at.key("tls_listen"));
    if file.listen.as_ref().is_some_and(Vec::is_empty) && file.tls_listen.is_empty() {
        at.key("listen").error("nothing to listen on: give an address here or in `tls_listen`");
    }
    if !file.tls_listen.is_empty() && file.certificates.is_empty() {
        at.key("tls_listen")
            .error("needs a certificate: add a [[server.certificates]] table with cert and key");
    }
    if file.workers > 1024 {
        at.key("workers").error("must be 0 (one per core) to 1024");
    }
    if let Some(id) = &file.id {
        name::check(id, &at.key("id"));
        // The CDN of a request is identified by the traces that it leaves. This ID leaves one in `CDN-Loop`
        // (`proxy/opt_in/`).
        if CdnType::ALL.iter().any(|cdn| cdn.facts().leaves_trace(id)) {
            at.key("id")
                .error("must not name a CDN: a shim behind this one would take it for the CDN's trace");
        }
    }
    Server {
        id: file.id.clone(),
        listen,
        tls_listen,
        workers: match file.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers as usize,
        },
        certificates: at
            .key("certificates")
            .each(&file.certificates)
            .map(|(at, file)| certificate(file, &at))
            .collect(),
        client_ca: file
            .client_ca
            .as_ref()
            .and_then(|path| certificate::authorities(path, &at.key("client_ca"))),
        proxy_protocol: networks(&file.proxy_protocol, &at.key("proxy_protocol")),
        trusted_proxies: networks(&file.trusted_proxies, &at.key("trusted_proxies")),
        limits: limits(&file.limits, &at.key("limits")),
    }
}

/// Parses a list of `IP:PORT`.
pub(super) fn addresses(texts: &[String], at: &At<'_>) -> Vec<SocketAddr> {
    at.each(texts).map(|(at, text)| address(text, &at)).collect()
}

/// Parses an `IP:PORT`.
pub(super) fn address(text: &str, at: &At<'_>) -> SocketAddr {
    let address = text.parse().map_err(|_| "must be IP:PORT, such as 127.0.0.1:8080 or [::1]:8080");
    at.ok(address).unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

/// Parses a list of networks. A single address is a network of one.
pub(super) fn networks(texts: &[String], at: &At<'_>) -> Vec<IpNet> {
    at.each(texts).filter_map(|(at, text)| network(text, &at)).collect()
}

fn network(text: &str, at: &At<'_>) -> Option<IpNet> {
    let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let network =
        at.ok(network.map_err(|_| "must be a network or an address, such as 10.0.0.0/8 or 2001:db8::7"))?;
    if network.prefix_len() == 0 {
        at.warn("this matches every address");
    }
    if network != network.trunc() {
        at.warn(format!(
            "`{text}` means all of {}; write that, or {} for the one address",
            network.trunc(),
            network.addr()
        ));
    }
    Some(network.trunc())
}

fn certificate(file: &file::Certificate, at: &At<'_>) -> Certificate {
    let certificate = Certificate { cert: at.path(&file.cert), key: at.path(&file.key) };
    certificate::check(&certificate, at);
    certificate
}

fn limits(file: &file::Limits, at: &At<'_>) -> Limits {
    let number = |name: &str, value: u32, least: u32, most: u32| {
        if !(least..=most).contains(&value) {
            at.key(name).error(format!("must be {least} to {most}"));
        }
        value as usize
    };
    if file.target_bytes > file.request_header_bytes {
        at.key("target_bytes").error("must be at most `request_header_bytes`, which it is a part of");
    }
    Limits {
        connections: number("connections", file.connections, 1, u32::MAX),
        requests_in_flight: number("requests_in_flight", file.requests_in_flight, 1, u32::MAX),
        http2_streams: number("http2_streams", file.http2_streams, 1, 1000) as u32,
        connection_max_age: at.key("connection_max_age").positive_duration(&file.connection_max_age),
        handshake_timeout: at.key("handshake_timeout").positive_duration(&file.handshake_timeout),
        header_timeout: at.key("header_timeout").positive_duration(&file.header_timeout),
        keep_alive_timeout: at.key("keep_alive_timeout").positive_duration(&file.keep_alive_timeout),
        body_timeout: at.key("body_timeout").positive_duration(&file.body_timeout),
        body_min_rate: file.body_min_rate,
        tunnel_timeout: at.key("tunnel_timeout").positive_duration(&file.tunnel_timeout),
        write_timeout: at.key("write_timeout").positive_duration(&file.write_timeout),
        origin_connect_timeout: at
            .key("origin_connect_timeout")
            .positive_duration(&file.origin_connect_timeout),
        origin_first_byte_timeout: at
            .key("origin_first_byte_timeout")
            .positive_duration(&file.origin_first_byte_timeout),
        origin_body_timeout: at.key("origin_body_timeout").positive_duration(&file.origin_body_timeout),
        origin_idle_timeout: at.key("origin_idle_timeout").positive_duration(&file.origin_idle_timeout),
        origin_queue_timeout: at.key("origin_queue_timeout").positive_duration(&file.origin_queue_timeout),
        origin_max_fails: file.origin_max_fails,
        origin_fail_timeout: at.key("origin_fail_timeout").positive_duration(&file.origin_fail_timeout),
        origin_resolve_interval: at
            .key("origin_resolve_interval")
            .positive_duration(&file.origin_resolve_interval),
        origin_pool_size: file.origin_pool_size as usize,
        request_headers: number("request_headers", file.request_headers, 1, 1000),
        // A lower limit would reject visitors with many cookies.
        request_header_bytes: number("request_header_bytes", file.request_header_bytes, 8192, 1 << 20),
        // The `http` crate cannot hold a longer target.
        target_bytes: number("target_bytes", file.target_bytes, 1, 65_534),
        request_body_bytes: file.request_body_bytes,
        origin_headers: number("origin_headers", file.origin_headers, 1, 256),
        origin_header_bytes: number("origin_header_bytes", file.origin_header_bytes, 1024, 1 << 20),
        drain_timeout: at.key("drain_timeout").positive_duration(&file.drain_timeout),
    }
}
