//! Names of hosts.

/// Returns a host in lower case, without a default port.
pub(super) fn authority_of(host: &str) -> String {
    let host = host.trim().to_ascii_lowercase();
    let bare = host.strip_suffix(":80").or_else(|| host.strip_suffix(":443"));
    bare.map(str::to_owned).unwrap_or(host)
}

/// Returns a host in lower case, without any port.
pub(super) fn host_of(host: &str) -> String {
    let host = host.trim().to_ascii_lowercase();
    match host.rsplit_once(':') {
        Some((bare, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => bare.to_owned(),
        _ => host,
    }
}
