//! A visitor of the public host, who evaluates the cache information in the CDN's answers.

use crate::cdn::{Mark, row};
use crate::rewrite::CdnType;
use anyhow::Context;
use http::HeaderMap;
use reqwest::Url;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use url::Position;

/// The time limit for an answer. A CDN waits for the origin for a minute, not longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A visitor, who uses a single connection as far as the CDN allows that.
#[derive(Debug)]
pub struct Visitor {
    http: reqwest::Client,
    url: Url,
}

/// The answer that the visitor got.
#[derive(Debug)]
pub struct Visit {
    /// The status.
    pub status: u16,
    /// The header fields.
    pub headers: HeaderMap,
}

/// Whether a copy was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// A copy was served.
    Hit,
    /// The response was just fetched from the origin.
    Miss,
    /// The CDN does not report it.
    Unknown,
}

impl Visitor {
    /// Creates a visitor of `url` who connects to `connect` instead of the address of the name.
    pub fn new(url: &Url, connect: Option<SocketAddr>) -> anyhow::Result<Self> {
        let host = url.host_str().with_context(|| format!("{url} has no host"))?;
        let mut http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("origin-shim/", env!("CARGO_PKG_VERSION"), " check"))
            .connect_timeout(Duration::from_secs(10))
            .timeout(PATIENCE);
        if let Some(address) = connect {
            // A proxy would resolve the name itself.
            http = http.resolve(host, address).no_proxy();
        }
        Ok(Self { http: http.build().context("no HTTP client")?, url: url.clone() })
    }

    /// Gets the page with its body.
    pub async fn get(&self) -> Result<Visit, reqwest::Error> {
        let mut request = self.http.get(self.url.clone());
        // Some CDNs report on their cache only if asked.
        for (name, value) in CdnType::ALL.into_iter().filter_map(|cdn| row(cdn).responses.asked_by) {
            request = request.header(name, value);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        response.bytes().await?;
        Ok(Visit { status, headers })
    }
}

impl Visitor {
    /// Returns advice about a redirect of the page to `target`.
    pub fn advice_on_redirect(&self, target: &str) -> &'static str {
        let Ok(target) = self.url.join(target) else { return "Check a page that redirects nowhere." };
        let page = |url: &Url| url[Position::BeforeHost..].to_owned();
        if page(&target) == page(&self.url) {
            "That is the same page, so visitors are redirected for ever. Let the CDN send `X-Forwarded-Proto`, and list its \
             addresses in `server.trusted_proxies`, so that the origin learns how the visitor came."
        } else if target.host_str() != self.url.host_str() || target.port() != self.url.port() {
            "If that is the origin's own host, which visitors do not reach, set `rewrite_location = true` for the site. \
             Else check that URL."
        } else {
            "Check that URL."
        }
    }
}

/// Parses `ADDRESS` or `ADDRESS:PORT`; port 0 stands for the URL's own.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let alone = || text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0));
    text.parse().or_else(|_| alone()).map_err(|_| "must be an IP address, perhaps with a port".to_owned())
}

impl Visit {
    /// Returns whether a copy was served, by the header fields that CDNs send.
    pub fn cache(&self) -> Cache {
        let cache_status = self.all("cache-status").to_ascii_lowercase();
        let words = ["cf-cache-status", "x-cache", "x-cache-status", "x-proxy-cache", "x-cache-remote"];
        let words: Vec<String> = words.iter().map(|name| self.all(name).to_ascii_lowercase()).collect();
        let says = |what: &[&str]| words.iter().any(|value| what.iter().any(|word| value.contains(word)));
        // RFC 9211: the field has one member for each cache on the way, with `hit` if that had a copy.
        let mut members = cache_status.split(',').flat_map(|member| member.split(';').skip(1));
        if members.any(|parameter| matches!(parameter.trim(), "hit" | "hit=?1")) {
            return Cache::Hit;
        }
        // "RefreshHit", "REVALIDATED": the origin was asked, and has validated the copy.
        if says(&["refreshhit", "refresh_hit", "revalidated"]) {
            return Cache::Miss;
        }
        // A copy of any tier on the way is a copy.
        if says(&["hit", "stale", "updating"]) {
            return Cache::Hit;
        }
        if cache_status.contains("fwd=")
            || says(&["miss", "expired", "dynamic", "bypass", "error", "pass", "none"])
        {
            return Cache::Miss;
        }
        for field in CdnType::ALL.into_iter().filter_map(|cdn| row(cdn).responses.ids) {
            match self.all(field).split_whitespace().count() {
                0 => {}
                1 => return Cache::Miss,
                _ => return Cache::Hit,
            }
        }
        if self.age().is_some_and(|age| age > 0) { Cache::Hit } else { Cache::Unknown }
    }

    /// Returns `Age` (RFC 9111, 5.1), in seconds.
    pub fn age(&self) -> Option<u64> {
        self.header("age")?.parse().ok()
    }

    /// Returns the CDN that answered, by the marks that only it sends.
    pub fn cdn(&self) -> Option<&'static str> {
        let has = |mark: &Mark| match mark {
            Mark::Field(name) => self.headers.contains_key(*name),
            Mark::Contains(name, word) => self.all(name).to_ascii_lowercase().contains(word),
            Mark::Begins(name, word) => self.all(name).to_ascii_lowercase().starts_with(word),
        };
        let seen = CdnType::ALL.into_iter().filter(|cdn| row(*cdn).responses.marks.iter().any(has));
        seen.min_by_key(|cdn| row(*cdn).responses.precedence).map(CdnType::as_str)
    }

    /// Returns a possible reason why a CDN did not keep the response.
    pub fn why_not_kept(&self) -> String {
        let cache_control = self.all("cache-control").to_ascii_lowercase();
        let forbids =
            ["no-store", "private", "no-cache"].into_iter().find(|word| cache_control.contains(word));
        let advice = CdnType::ALL.into_iter().filter_map(|cdn| row(cdn).responses.not_kept.as_ref());
        let mut advice = advice;
        let advice = advice.find(|known| self.all(known.field).eq_ignore_ascii_case(known.value));
        if self.headers.contains_key("set-cookie") {
            "The page sets a cookie, and CDNs do not keep such pages: let the origin set cookies elsewhere."
                .to_owned()
        } else if let Some(known) = advice {
            known.advice.to_owned()
        } else if let Some(word) = forbids {
            format!(
                "The page has `{word}`. If that comes from the origin, a rule with `override = true` may lengthen it all the \
                 same; `origin-shim explain` shows why the shim left it."
            )
        } else {
            "See that the CDN keeps what the origin's headers allow (no rule that bypasses its cache, no pass for \
             cookies or queries), and that the URL is a page that may be kept."
                .to_owned()
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok().map(str::trim)
    }

    /// Returns all lines of a header field, joined.
    fn all(&self, name: &str) -> String {
        let lines = self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        lines.collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visit(headers: &[(&'static str, &'static str)]) -> Visit {
        let headers = headers.iter().map(|(name, value)| {
            (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
        });
        Visit { status: 200, headers: headers.collect() }
    }

    #[test]
    fn a_redirect_that_leads_nowhere_is_explained() {
        let visitor = Visitor::new(&Url::parse("http://www.example.com/dir?x=1").unwrap(), None).unwrap();
        let check = |target: &str, word: &str| {
            assert!(visitor.advice_on_redirect(target).contains(word), "{target}");
        };
        check("https://www.example.com/dir?x=1", "server.trusted_proxies");
        check("?x=1", "server.trusted_proxies");
        check("http://127.0.0.1:8081/dir/", "rewrite_location");
        check("http://www.example.com:8081/dir/", "rewrite_location");
        check("/dir/?x=1", "Check that URL.");
        check("http://[", "redirects nowhere");
    }

    #[test]
    fn copies_are_told_by_every_dialect() {
        let check = |headers: &[(&'static str, &'static str)], expected: Cache| {
            assert_eq!(visit(headers).cache(), expected, "{headers:?}");
        };
        use Cache::{Hit, Miss, Unknown};
        check(&[("cache-status", "Edge; hit; ttl=300")], Hit);
        check(&[("cache-status", "Shield; fwd=uri-miss, Edge; hit")], Hit);
        check(&[("cache-status", "Edge; fwd=stale; fwd-status=200")], Miss);
        check(&[("cf-cache-status", "HIT")], Hit);
        check(&[("cf-cache-status", "DYNAMIC")], Miss);
        check(&[("cf-cache-status", "EXPIRED")], Miss);
        check(&[("cf-cache-status", "REVALIDATED"), ("age", "9")], Miss);
        check(&[("x-cache", "HIT")], Hit);
        check(&[("x-cache", "MISS, HIT")], Hit);
        check(&[("x-cache", "HIT, MISS")], Hit);
        check(&[("x-cache", "MISS, MISS"), ("x-varnish", "1 2")], Miss);
        check(&[("x-cache", "Hit from cloudfront")], Hit);
        check(&[("x-cache", "Miss from cloudfront")], Miss);
        check(&[("x-cache", "RefreshHit from cloudfront")], Miss);
        check(&[("x-cache", "TCP_MEM_HIT from a23-1-2-3.deploy.akamaitechnologies.com")], Hit);
        check(&[("x-cache", "TCP_REFRESH_HIT from a23-1-2-3.deploy.akamaitechnologies.com")], Miss);
        check(&[("x-varnish", "32770")], Miss);
        check(&[("x-varnish", "32772 32770")], Hit);
        check(&[("age", "0")], Unknown);
        check(&[("age", "12")], Hit);
        check(&[], Unknown);
    }

    #[test]
    fn cdns_are_told_by_what_only_they_send() {
        let check = |headers: &[(&'static str, &'static str)], expected: Option<&str>| {
            assert_eq!(visit(headers).cdn(), expected, "{headers:?}");
        };
        check(&[("cf-ray", "8f1c-FRA"), ("server", "cloudflare")], Some("cloudflare"));
        check(&[("via", "1.1 abc.cloudfront.net (CloudFront)")], Some("cloudfront"));
        check(&[("x-served-by", "cache-fra-1"), ("via", "1.1 varnish")], Some("fastly"));
        check(&[("server", "AkamaiGHost")], Some("akamai"));
        check(&[("x-varnish", "1"), ("via", "1.1 varnish (Varnish/7.1)")], Some("varnish"));
        check(&[("server", "nginx")], None);
    }

    #[test]
    fn what_else_the_headers_say() {
        assert_eq!(visit(&[("age", " 7 ")]).age(), Some(7));
        let why = |headers: &[(&'static str, &'static str)]| visit(headers).why_not_kept();
        assert!(why(&[("set-cookie", "a=b")]).contains("cookie"));
        assert!(why(&[("cf-cache-status", "DYNAMIC")]).contains("Cache Rule"));
        assert!(why(&[("cache-control", "private, max-age=5")]).contains("`private`"));
        assert!(why(&[]).contains("bypasses"));
    }

    #[test]
    fn addresses() {
        assert_eq!(address("192.0.2.1"), Ok("192.0.2.1:0".parse().unwrap()));
        assert_eq!(address("192.0.2.1:6081"), Ok("192.0.2.1:6081".parse().unwrap()));
        assert_eq!(address("::1"), Ok("[::1]:0".parse().unwrap()));
        assert!(address("www.example.com").is_err());
    }
}
