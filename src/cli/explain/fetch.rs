//! `--fetch`: the head of the origin's own response.

use crate::config::{Limits, OriginHost, OriginProtocol, OriginTls, OriginUrl, Site};
use crate::head::Headers;
use crate::listen::tls::TlsError;
use crate::proxy::opt_in::{CDN_TYPE, OPT_IN, SECRET};
use crate::proxy::roots::Roots;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};

/// What to ask for.
pub struct Asked<'a> {
    /// The request's method.
    pub method: &'a Method,
    /// The URL, as visitors know it.
    pub url: &'a Uri,
    /// The request's headers.
    pub headers: &'a Headers,
    /// Whether the opt-in is believed, and so goes on to the origin.
    pub opt_in: bool,
}

/// Why no origin answered.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The client cannot be made.
    #[error("cannot make an HTTP client")]
    Client(#[source] reqwest::Error),
    /// The files of `[sites.origin_tls]` cannot be used.
    #[error("TLS towards the origin cannot be set up")]
    Tls(#[source] Box<TlsError>),
    /// A `Host` that cannot be sent.
    #[error("{0:?} cannot be sent as Host")]
    Host(String),
    /// There is none to ask.
    #[error("the site has no origin")]
    NoOrigin,
    /// The last of the origins did not answer.
    #[error("the origin {origin} did not answer")]
    Origin {
        /// Which.
        origin: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
}

/// Status and headers of the first origin that answers.
pub async fn head(
    site: &Site,
    limits: &Limits,
    asked: Asked<'_>,
) -> Result<(StatusCode, Headers), FetchError> {
    let mut last = FetchError::NoOrigin;
    for origin in &site.origins {
        let path = asked.url.path_and_query().map_or("/", |path| path.as_str());
        let url = match &site.origin.tls.server_name {
            Some(name) if origin.tls => format!("https://{name}:{}{path}", origin.port),
            _ => format!("{}{path}", base(origin)),
        };
        let client = client(site, origin, limits).await?;
        let request = client.request(asked.method.clone(), url).headers(headers(site, origin, &asked)?);
        match request.send().await {
            Ok(response) => return Ok((response.status(), response.headers().clone().into())),
            Err(source) => last = FetchError::Origin { origin: base(origin), source: source.without_url() },
        }
    }
    Err(last)
}

/// A client that talks to the origin as the proxy does.
async fn client(site: &Site, origin: &OriginUrl, limits: &Limits) -> Result<reqwest::Client, FetchError> {
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(limits.origin_connect_timeout)
        .read_timeout(limits.origin_first_byte_timeout);
    let settings = &site.origin.tls;
    builder = match has_http2_only(site, origin) {
        true => builder.http2_prior_knowledge(),
        // Where the origin could choose HTTP/2, its answer is the same.
        false => builder.http1_only(),
    };
    if origin.tls && *settings != OriginTls::default() {
        let tls =
            Roots::default().client_config(settings).map_err(|error| FetchError::Tls(Box::new(error)))?;
        builder = builder.tls_backend_preconfigured((*tls).clone());
        // The name is asked for and verified, and leads to the origin. Where that has no address, the request says so.
        if let Some(name) = &settings.server_name
            && let Ok(found) = tokio::net::lookup_host((origin.host.as_str(), origin.port)).await
        {
            builder = builder.resolve_to_addrs(name, &found.collect::<Vec<_>>());
        }
    }
    builder.build().map_err(FetchError::Client)
}

/// Without TLS nobody is asked which version it is.
fn has_http2_only(site: &Site, origin: &OriginUrl) -> bool {
    site.origin.protocol == OriginProtocol::Http2 && !origin.tls
}

fn base(origin: &OriginUrl) -> String {
    format!("{}://{}", if origin.tls { "https" } else { "http" }, origin.authority)
}

/// The request's headers as the proxy would send them on, as far as an origin's answer depends on them.
fn headers(site: &Site, origin: &OriginUrl, asked: &Asked<'_>) -> Result<HeaderMap, FetchError> {
    let mut headers = HeaderMap::from(asked.headers.clone());
    headers.remove(SECRET);
    if !asked.opt_in {
        headers.remove(OPT_IN);
        headers.remove(CDN_TYPE);
    }
    let visited = asked.url.authority().map_or("", |authority| authority.as_str());
    let host = match &site.origin_host {
        OriginHost::Origin => origin.authority.as_str(),
        OriginHost::Preserve => visited,
        OriginHost::Literal(name) => name,
    };
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_| FetchError::Host(text.to_owned()));
    // In HTTP/2 the URL says it, and saying it twice is refused by some.
    if host != origin.authority || !has_http2_only(site, origin) {
        headers.insert(header::HOST, value(host)?);
    }
    headers.insert("x-forwarded-host", value(visited)?);
    headers.insert("x-forwarded-proto", value(asked.url.scheme_str().unwrap_or("https"))?);
    Ok(headers)
}
