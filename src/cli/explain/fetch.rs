//! `--fetch`: the head of the origin's own response.

use crate::config::{Limits, OriginHost, OriginProtocol, OriginTls, OriginUrl, Site};
use crate::http::head::Headers;
use crate::http::tls::TlsError;
use crate::proxy::opt_in::{CDN_TYPE, OPT_IN, SECRET};
use crate::upstream::{Roots, with_http2};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, header};

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

/// An origin's answer.
pub struct Answer {
    /// The origin's URL.
    pub origin: String,
    /// The version of HTTP that it came in.
    pub version: Version,
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: Headers,
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

/// The answer of the first origin that answers.
pub async fn head(site: &Site, limits: &Limits, asked: Asked<'_>) -> Result<Answer, FetchError> {
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
                return Ok(Answer {
                    origin: base(origin),
                    version: response.version(),
                    status: response.status(),
                    headers: response.headers().clone().into(),
                });
            }
            Err(source) => last = FetchError::Origin { origin: base(origin), source: source.without_url() },
        }
    }
    Err(last)
}

/// The versions of HTTP that an origin is offered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spoken {
    Http1,
    /// As the origin chooses in the TLS handshake.
    Either,
    /// Without TLS nobody is asked.
    Http2,
}

impl Spoken {
    /// What the proxy would offer; but HTTP/1.1 where the host that is asked for is not the one that is connected to: this
    /// client cannot say that in HTTP/2.
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

/// A client that talks to the origin as the proxy does.
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
        // The name is asked for and verified, and leads to the origin. Where that has no address, the request says so.
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

/// Whom the origin is asked for.
fn host<'a>(site: &'a Site, origin: &'a OriginUrl, asked: &'a Asked<'_>) -> &'a str {
    match &site.origin_host {
        OriginHost::Origin => &origin.authority,
        OriginHost::Preserve => visited(asked),
        OriginHost::Literal(name) => name,
    }
}

fn visited<'a>(asked: &Asked<'a>) -> &'a str {
    asked.url.authority().map_or("", |authority| authority.as_str())
}

/// The request's headers as the proxy would send them on, as far as an origin's answer depends on them.
fn headers(
    origin: &OriginUrl,
    asked: &Asked<'_>,
    host: &str,
    spoken: Spoken,
) -> Result<HeaderMap, FetchError> {
    let mut headers = HeaderMap::from(asked.headers.clone());
    headers.remove(SECRET);
    if !asked.opt_in {
        headers.remove(OPT_IN);
        headers.remove(CDN_TYPE);
    }
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_| FetchError::Host(text.to_owned()));
    // In HTTP/2 the URL says it, and saying it twice is refused by some.
    if host != origin.authority || spoken == Spoken::Http1 {
        headers.insert(header::HOST, value(host)?);
    }
    headers.insert("x-forwarded-host", value(visited(asked))?);
    headers.insert("x-forwarded-proto", value(asked.url.scheme_str().unwrap_or("https"))?);
    Ok(headers)
}
