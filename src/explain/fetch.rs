//! Gets the head of the origin's own response, so that it can be explained.

use crate::config::{Limits, OriginHost, OriginProtocol, OriginTls, OriginUrl, Site};
use crate::http::head::{Headers, MapCache};
use crate::http::tls::TlsError;
use crate::proxy::opt_in::{CDN_TYPE, OPT_IN, SECRET};
use crate::upstream::{Roots, with_http2};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, header};

/// The request to make.
pub struct FetchRequest<'a> {
    /// The request's method.
    pub method: &'a Method,
    /// The URL, as visitors know it.
    pub url: &'a Uri,
    /// The request's header fields.
    pub headers: &'a Headers,
    /// Whether the opt-in is trusted, and is therefore passed on to the origin.
    pub opt_in: bool,
}

/// An origin's answer.
pub struct Fetched {
    /// The origin's URL.
    pub origin: String,
    /// The version of HTTP of the answer.
    pub version: Version,
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: Headers,
}

/// The reason why no origin answered.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The client cannot be created.
    #[error("cannot make an HTTP client")]
    Client(#[source] reqwest::Error),
    /// The files of `[sites.origin_tls]` cannot be used.
    #[error("TLS towards the origin cannot be set up")]
    Tls(#[source] Box<TlsError>),
    /// The `Host` cannot be sent.
    #[error("{0:?} cannot be sent as Host")]
    Host(String),
    /// The site has no origin.
    #[error("the site has no origin")]
    NoOrigin,
    /// The last one of the origins did not answer.
    #[error("the origin {origin} did not answer")]
    Origin {
        /// The origin's URL.
        origin: String,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
}

/// Returns the answer of the first origin that answers.
pub async fn head(site: &Site, limits: &Limits, asked: FetchRequest<'_>) -> Result<Fetched, FetchError> {
    let mut last = FetchError::NoOrigin;
    for origin in &site.origins {
        let path = asked.url.path_and_query().map_or("/", |path| path.as_str());
        let url = match &site.origin.tls.server_name {
            Some(name) if origin.tls => format!("https://{name}:{}{path}", origin.port),
            _ => format!("{}{path}", base(origin)),
        };
        let host = host(site, origin, &asked);
        let spoken = Spoken::to(site, origin, host);
        let client = client(site, origin, limits, spoken).await?;
        let headers = headers(origin, &asked, host, spoken)?;
        match client.request(asked.method.clone(), url).headers(headers).send().await {
            Ok(response) => {
                return Ok(Fetched {
                    origin: base(origin),
                    version: response.version(),
                    status: response.status(),
                    headers: Headers::from(response.headers()),
                });
            }
            Err(source) => last = FetchError::Origin { origin: base(origin), source: source.without_url() },
        }
    }
    Err(last)
}

/// The version of HTTP in which an origin is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spoken {
    Http1,
    /// The version that the origin chooses in the TLS handshake.
    Either,
    /// HTTP/2 without negotiation, because there is none without TLS.
    Http2,
}

impl Spoken {
    /// Returns the version that the proxy would use, but HTTP/1.1 if the requested host differs from the one
    /// that is connected to: this client cannot express that in HTTP/2.
    fn to(site: &Site, origin: &OriginUrl, host: &str) -> Self {
        match (site.origin.protocol, origin.tls) {
            (OriginProtocol::Http2, false) => Self::Http2,
            (OriginProtocol::Http2, true)
                if host == origin.authority && site.origin.tls.server_name.is_none() =>
            {
                Self::Either
            }
            _ => Self::Http1,
        }
    }
}

/// Returns a client that connects to the origin as the proxy does.
async fn client(
    site: &Site,
    origin: &OriginUrl,
    limits: &Limits,
    spoken: Spoken,
) -> Result<reqwest::Client, FetchError> {
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(limits.origin_connect_timeout)
        .read_timeout(limits.origin_first_byte_timeout);
    let settings = &site.origin.tls;
    builder = match spoken {
        Spoken::Http1 => builder.http1_only(),
        Spoken::Either => builder,
        Spoken::Http2 => builder.http2_prior_knowledge(),
    };
    if origin.tls && *settings != OriginTls::default() {
        let tls =
            Roots::default().client_config(settings).map_err(|error| FetchError::Tls(Box::new(error)))?;
        let tls = if spoken == Spoken::Either { with_http2(&tls) } else { tls };
        builder = builder.tls_backend_preconfigured((*tls).clone());
        // The name is sent and verified, and is resolved to the origin's address. If the origin has no address,
        // the request reports that.
        if let Some(name) = &settings.server_name
            && let Ok(found) = tokio::net::lookup_host((origin.host.as_str(), origin.port)).await
        {
            builder = builder.resolve_to_addrs(name, &found.collect::<Vec<_>>());
        }
    }
    builder.build().map_err(FetchError::Client)
}

fn base(origin: &OriginUrl) -> String {
    format!("{}://{}", if origin.tls { "https" } else { "http" }, origin.authority)
}

/// Returns the host for which the origin is asked.
fn host<'a>(site: &'a Site, origin: &'a OriginUrl, asked: &'a FetchRequest<'_>) -> &'a str {
    match &site.origin_host {
        OriginHost::Origin => &origin.authority,
        OriginHost::Preserve => visited(asked),
        OriginHost::Literal(name) => name,
    }
}

fn visited<'a>(asked: &FetchRequest<'a>) -> &'a str {
    asked.url.authority().map_or("", |authority| authority.as_str())
}

/// Returns the request's header fields as the proxy would send them, as far as an origin's answer depends on
/// them.
fn headers(
    origin: &OriginUrl,
    asked: &FetchRequest<'_>,
    host: &str,
    spoken: Spoken,
) -> Result<HeaderMap, FetchError> {
    let mut headers = asked.headers.clone().into_map(&mut MapCache::default(), |_| true);
    headers.remove(SECRET);
    if !asked.opt_in {
        headers.remove(OPT_IN);
        headers.remove(CDN_TYPE);
    }
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_| FetchError::Host(text.to_owned()));
    // In HTTP/2 the URL carries the host, and some servers refuse it a second time.
    if host != origin.authority || spoken == Spoken::Http1 {
        headers.insert(header::HOST, value(host)?);
    }
    headers.insert("x-forwarded-host", value(visited(asked))?);
    headers.insert("x-forwarded-proto", value(asked.url.scheme_str().unwrap_or("https"))?);
    Ok(headers)
}
