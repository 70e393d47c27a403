//! URLs of origins and of CDN APIs, and their authorities. They are parsed by hand and strictly: silent repairs by a
//! URL library would change where requests and credentials are sent.

use super::host;
use crate::config::OriginUrl;

/// Parses the URL of an origin: `http://` or `https://`, a host, an optional port, and at most a single `/` as path.
pub(super) fn origin(text: &str) -> Result<OriginUrl, String> {
    let (url, path) = parse(text)?;
    if !matches!(path, "" | "/") {
        return Err("must not have a path: requests bring their own".to_owned());
    }
    Ok(url)
}

/// Parses the base URL of an API, which may have a path. Returns its normal form without a slash at the end.
pub(in crate::config) fn api(text: &str) -> Result<String, String> {
    let (url, path) = parse(text)?;
    let scheme = if url.tls { "https" } else { "http" };
    let normal = format!("{scheme}://{}{}", url.authority, path.trim_end_matches('/'));
    match normal.parse::<http::Uri>() {
        Ok(_) => Ok(normal),
        Err(_) => Err("has a path with characters that must be percent-encoded".to_owned()),
    }
}

/// Whether requests to this (normal) URL can be read on the network.
pub(in crate::config) fn is_in_the_clear(url: &str) -> bool {
    parse(url).is_ok_and(|(url, _)| {
        let address = url.host.parse::<std::net::IpAddr>();
        !url.tls && url.host != "localhost" && !address.is_ok_and(|address| address.is_loopback())
    })
}

fn parse(text: &str) -> Result<(OriginUrl, &str), String> {
    let (tls, rest) = if let Some(rest) = text.strip_prefix("https://") {
        (true, rest)
    } else if let Some(rest) = text.strip_prefix("http://") {
        (false, rest)
    } else {
        return Err("must start with http:// or https://".to_owned());
    };
    if text.contains(['?', '#']) {
        return Err("must not have a query or fragment".to_owned());
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("must be ASCII without spaces".to_owned());
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err("must not have a user name or password".to_owned());
    }
    let default_port = if tls { 443 } else { 80 };
    let (name, port) = split_port(authority, default_port)?;
    let name = host::exact(name)?;
    let authority = if port == default_port { name.clone() } else { format!("{name}:{port}") };
    let host = name.trim_matches(['[', ']']).to_owned();
    Ok((OriginUrl { tls, host, port, authority }, path))
}

/// Parses a host name with an optional port.
pub(super) fn authority(text: &str) -> Result<String, String> {
    let (name, port) = split_port(text, 0)?;
    let name = host::exact(name)?;
    Ok(if port == 0 { name } else { format!("{name}:{port}") })
}

/// Splits `host:port`. Colons within the brackets of an IPv6 address are not separators.
fn split_port(authority: &str, default: u16) -> Result<(&str, u16), String> {
    let after_brackets = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    let Some(colon) = authority[after_brackets..].find(':') else { return Ok((authority, default)) };
    let (name, port) = authority.split_at(after_brackets + colon);
    match port[1..].parse() {
        // `parse` accepts a plus sign.
        Ok(port @ 1..) if !port_has_sign(authority) => Ok((name, port)),
        _ => Err("must have a port from 1 to 65535, or none".to_owned()),
    }
}

fn port_has_sign(authority: &str) -> bool {
    authority.contains('+')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(bool, &str, u16, &str), &str>) {
        let result = origin(text);
        match expected {
            Ok((tls, host, port, authority)) => {
                let (host, authority) = (host.to_owned(), authority.to_owned());
                assert_eq!(result, Ok(OriginUrl { tls, host, port, authority }), "{text}");
            }
            Err(part) => assert!(result.as_ref().unwrap_err().contains(part), "{text}: {result:?}"),
        }
    }

    #[test]
    fn reads_origins() {
        check("https://Main--Site.aem.live", Ok((true, "main--site.aem.live", 443, "main--site.aem.live")));
        check("http://a:80/", Ok((false, "a", 80, "a")));
        check("http://a:443", Ok((false, "a", 443, "a:443")));
        check("http://127.0.0.1:8081", Ok((false, "127.0.0.1", 8081, "127.0.0.1:8081")));
        check("https://[::1]", Ok((true, "::1", 443, "[::1]")));
        check("https://[::1]:8443/", Ok((true, "::1", 8443, "[::1]:8443")));
    }

    #[test]
    fn refuses_what_is_more_than_an_origin() {
        check("a.example", Err("http://"));
        check("ftp://a.example", Err("http://"));
        check("HTTPS://a.example", Err("http://"));
        check("https://", Err("empty"));
        check("https://a.example/x", Err("path"));
        check("https://a.example//", Err("path"));
        check("https://a.example?x=1", Err("query"));
        check("https://a.example/#x", Err("fragment"));
        check("https://user:pass@a.example", Err("password"));
        check("https://a.example:0", Err("port"));
        check("https://a.example:", Err("port"));
        check("https://a.example:65536", Err("port"));
        check("https://a.example:+80", Err("port"));
        check("https://::1", Err("port"));
        check("https://*.example", Err("exact"));
        check("https://a b", Err("spaces"));
    }

    #[test]
    fn reads_api_urls() {
        let check = |text: &str, expected: Result<&str, &str>| {
            assert_eq!(api(text), expected.map(str::to_owned).map_err(str::to_owned), "{text}");
        };
        check("https://api.fastly.com", Ok("https://api.fastly.com"));
        check("https://api.cloudflare.com:443/client/v4/", Ok("https://api.cloudflare.com/client/v4"));
        check("http://[::1]:9000", Ok("http://[::1]:9000"));
        check("https://a/<b>", Err("has a path with characters that must be percent-encoded"));
        check("api.fastly.com", Err("must start with http:// or https://"));
    }

    #[test]
    fn knows_the_clear() {
        let check = |url: &str, expected: bool| assert_eq!(is_in_the_clear(url), expected, "{url}");
        check("http://varnish:6081", true);
        check("http://10.0.0.1", true);
        check("https://varnish", false);
        check("http://localhost:6081", false);
        check("http://127.0.0.1:6081", false);
        check("http://[::1]:6081", false);
    }
}
