//! `origin-shim explain`: shows what would happen to a request and its response, and why. The result comes from
//! the code that serves requests, so it cannot differ from what is done.

mod hook;
mod show;

use crate::cli::runtime::block_on;
use crate::config::Config;
use crate::explain::{self, Case, Request};
use crate::rewrite::CdnType;
use crate::terminal;
use anyhow::bail;
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;

/// Explain what would happen to a request for a URL and its response, and why
///
/// The request is assumed to come from a CDN of the site that opts in and is trusted; --visitor, --header and
/// --peer change that. The response is the one that --status and --response-header describe, or the origin's
/// with --fetch.
#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// The URL, as visitors know it
    #[arg(value_parser = explain::url, required_unless_present = "hook")]
    url: Option<Uri>,

    /// Explain what the webhook of this name would purge, whose body is read from stdin
    #[arg(long, value_name = "NAME", conflicts_with_all = ["url", "cdn", "visitor", "fetch"])]
    hook: Option<String>,

    /// The CDN that sends the request [default: the site's, if all of its CDNs have one type]
    #[arg(long, value_name = "TYPE", value_parser = cdn_type)]
    cdn: Option<CdnType>,

    /// Explain a visitor's request that does not opt in
    #[arg(long, conflicts_with = "cdn")]
    visitor: bool,

    /// The request's method
    #[arg(long, default_value = "GET")]
    method: Method,

    /// A header of the request (may be repeated); replaces one that a CDN would send
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,

    /// The address that the request comes from [default: one that the site trusts]
    #[arg(long, value_name = "ADDRESS")]
    peer: Option<IpAddr>,

    /// Assume that the CDN is unhealthy: purges do not get through
    #[arg(long)]
    unhealthy: bool,

    /// The status of the origin's response
    #[arg(long, default_value = "200", conflicts_with = "fetch")]
    status: StatusCode,

    /// A header of the origin's response (may be repeated)
    #[arg(long = "response-header", value_name = "NAME: VALUE", value_parser = header, conflicts_with = "fetch")]
    response_headers: Vec<(HeaderName, HeaderValue)>,

    /// Request the page from the origin and explain its response
    #[arg(long)]
    fetch: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn cdn_type(text: &str) -> Result<CdnType, String> {
    CdnType::ALL
        .into_iter()
        .find(|cdn| cdn.as_str() == text)
        .ok_or_else(|| format!("must be one of {}", CdnType::ALL.map(CdnType::as_str).join(", ")))
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("must be a name, a colon and a value")?;
    explain::header(name, value).map_err(|error| error.to_string())
}

/// Prints the explanation.
pub fn run(args: &ExplainArgs, path: &Path) -> anyhow::Result<ExitCode> {
    let config = Config::load(path)?;
    let told = match (&args.hook, &args.url) {
        (Some(name), _) => {
            let told = hook::explain(&config, name, &args.headers, std::io::stdin().lock())?;
            if args.json { serde_json::to_string_pretty(&told)? + "\n" } else { told.to_string() }
        }
        (None, Some(url)) => explain(args, url, &config)?,
        (None, None) => bail!("give a URL, or a webhook with --hook"),
    };
    if args.json {
        terminal::print_json(&told)?
    } else {
        terminal::print(&told)?
    }
    Ok(ExitCode::SUCCESS)
}

fn explain(args: &ExplainArgs, url: &Uri, config: &Config) -> anyhow::Result<String> {
    let request = Request {
        url: url.clone(),
        method: args.method.clone(),
        cdn: args.cdn,
        visitor: args.visitor,
        headers: args.headers.clone(),
        peer: args.peer,
    };
    let case = Case::of(config, &request.url, |_, _| !args.unhealthy)?;
    let site = case.site();
    if request.is_ambiguous(site) {
        bail!("site `{}` has CDNs of several types: name the one that asks with --cdn", site.name);
    }
    let headers = request.headers(site);
    let opt_in = case.opt_in(request.peer(site), &headers);
    let mut origin = None;
    let (status, response) = if args.fetch {
        let asked = explain::FetchRequest {
            method: &request.method,
            url: &request.url,
            headers: &headers,
            opt_in: opt_in.believed,
        };
        let answer = block_on(explain::head(site, &config.server.limits, asked))??;
        origin = Some(show::AskedOrigin { url: answer.origin, version: answer.version });
        (answer.status, answer.headers)
    } else {
        (args.status, args.response_headers.iter().cloned().collect())
    };
    let explanation = case.explain(&request.method, &headers, opt_in, status, response);
    let told = show::Shown { explanation, origin };
    Ok(if args.json { serde_json::to_string_pretty(&told)? + "\n" } else { told.to_string() })
}

#[cfg(test)]
mod tests;
