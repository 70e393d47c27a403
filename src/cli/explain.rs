//! `origin-shim explain`: what would happen to a request and its response, and why. It asks the code that serves
//! requests, so it cannot say anything else than what is done.

mod case;
mod fetch;
mod show;

use crate::config::{Config, Site, Trust};
use crate::proxy::opt_in::{CDN_TYPE, OPT_IN, SECRET};
use crate::rewrite::CdnType;
use anyhow::bail;
use case::Case;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::ExitCode;

/// Explain what would happen to a request for a URL and its response, and why
///
/// The request is taken to come from a CDN of the site that opts in and is trusted; --visitor, --header and --peer change
/// that. The response is the one that --status and --response-header describe, or with --fetch the origin's.
#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// The URL, as visitors know it
    #[arg(value_parser = url)]
    url: Uri,

    /// The CDN that asks [default: the site's, where it has one type only]
    #[arg(long, value_name = "TYPE", value_parser = cdn_type)]
    cdn: Option<CdnType>,

    /// The request does not opt in
    #[arg(long, conflicts_with = "cdn")]
    visitor: bool,

    /// The request's method
    #[arg(long, default_value = "GET")]
    method: Method,

    /// A header of the request (may be repeated); it replaces one that a CDN would send
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,

    /// The address that the request comes from [default: one that the site trusts]
    #[arg(long, value_name = "ADDRESS")]
    peer: Option<IpAddr>,

    /// Purges of the CDN do not get through
    #[arg(long)]
    unhealthy: bool,

    /// The status of the origin's response
    #[arg(long, default_value = "200", conflicts_with = "fetch")]
    status: StatusCode,

    /// A header of the origin's response (may be repeated)
    #[arg(long = "response-header", value_name = "NAME: VALUE", value_parser = header, conflicts_with = "fetch")]
    response_headers: Vec<(HeaderName, HeaderValue)>,

    /// Ask the origin
    #[arg(long)]
    fetch: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn url(text: &str) -> Result<Uri, String> {
    let url: Uri = text.parse().map_err(|error: http::uri::InvalidUri| error.to_string())?;
    let absolute = matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some();
    if absolute { Ok(url) } else { Err("must start with http:// or https:// and a host".to_owned()) }
}

fn cdn_type(text: &str) -> Result<CdnType, String> {
    CdnType::ALL
        .into_iter()
        .find(|cdn| cdn.as_str() == text)
        .ok_or_else(|| format!("must be one of {}", CdnType::ALL.map(CdnType::as_str).join(", ")))
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("must be a name, a colon and a value")?;
    let name = name.trim().parse().map_err(|_| format!("{name:?} is no name of a header"))?;
    let value = value.trim().parse().map_err(|_| "the value is not legal in a header".to_owned())?;
    Ok((name, value))
}

/// Prints what would happen.
pub fn run(args: &ExplainArgs, path: &Path) -> anyhow::Result<ExitCode> {
    let config = Config::load(path)?;
    super::print(&explain(args, &config)?)?;
    Ok(ExitCode::SUCCESS)
}

fn explain(args: &ExplainArgs, config: &Config) -> anyhow::Result<String> {
    let case = Case::of(config, &args.url, !args.unhealthy)?;
    let several = case.site().cdns.iter().any(|cdn| cdn.dialect.cdn != case.site().cdns[0].dialect.cdn);
    if several && args.cdn.is_none() && !args.visitor && args.headers.is_empty() {
        bail!("site `{}` has CDNs of several types: say with --cdn which one asks", case.site().name);
    }
    let request = request_headers(args, case.site());
    let peer = args.peer.unwrap_or_else(|| trusted_peer(case.site()));
    let opt_in = case.opt_in(peer, &request);
    let (status, response) = if args.fetch {
        let asked =
            fetch::Asked { method: &args.method, url: &args.url, headers: &request, opt_in: opt_in.believed };
        super::block_on(fetch::head(case.site(), &config.server.limits, asked))??
    } else {
        (args.status, args.response_headers.iter().cloned().collect())
    };
    let explanation = case.explain(&args.method, &request, opt_in, status, response);
    Ok(if args.json { serde_json::to_string_pretty(&explanation)? + "\n" } else { explanation.to_string() })
}

/// The headers of a CDN of this site that opts in, then the given ones.
fn request_headers(args: &ExplainArgs, site: &Site) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if !args.visitor {
        headers.insert(OPT_IN, HeaderValue::from_static("enabled"));
        if let Some(cdn) = args.cdn {
            headers.insert(CDN_TYPE, HeaderValue::from_static(cdn.as_str()));
        }
        if let Trust::Secret(secret) = &site.trust
            && let Ok(secret) = HeaderValue::from_str(secret.expose())
        {
            headers.insert(SECRET, secret);
        }
    }
    for (name, _) in &args.headers {
        headers.remove(name);
    }
    headers.extend(args.headers.iter().cloned());
    headers
}

fn trusted_peer(site: &Site) -> IpAddr {
    match &site.trust {
        Trust::Addresses(networks) => networks.first().map(|network| network.addr()),
        Trust::Any | Trust::Secret(_) | Trust::ClientCertificate => None,
    }
    .unwrap_or(Ipv4Addr::LOCALHOST.into())
}

#[cfg(test)]
mod tests;
