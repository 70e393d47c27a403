//! The only code that calls a CDN: it sends what an adapter wrote and brings back the answer.

use super::{Reply, names};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HeaderValue};
use http::{Method, Request};
use reqwest::redirect::Policy;
use std::net::IpAddr;
use std::time::Duration;
use url::Position;

/// Connecting must succeed within this, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The whole call must end within this.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(30);
/// The rest of a longer body is not read.
const BODY_LIMIT: usize = 64 * 1024;
/// Answers say who we are to those who read their CDN's logs.
const USER_AGENT: &str = concat!("origin-shim/", env!("CARGO_PKG_VERSION"));

/// Sends calls to CDNs. Cheap to clone; connections are shared.
#[derive(Clone, Debug)]
pub struct Sender {
    /// Honours `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.
    remote: reqwest::Client,
    /// For this machine, where no proxy could reach the same thing.
    local: reqwest::Client,
}

impl Sender {
    /// A sender with no connections yet.
    ///
    /// # Errors
    ///
    /// The TLS library or the system's certificates cannot be set up.
    pub fn new() -> Result<Self, SendError> {
        let client = || {
            reqwest::Client::builder()
                .user_agent(USER_AGENT)
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(TOTAL_TIMEOUT)
                // Credentials go where the configuration says and nowhere else.
                .redirect(Policy::none())
                .referer(false)
                // HTTP/2 has no `Host` beside its authority, and a Varnish node is told which site's page to purge by it.
                .http1_only()
        };
        Ok(Self {
            remote: client().build().map_err(SendError::Setup)?,
            local: client().no_proxy().build().map_err(SendError::Setup)?,
        })
    }

    /// Sends a call and reads its answer, at most 64 KiB of the body.
    ///
    /// # Errors
    ///
    /// No answer, or not all of it. Whether the CDN acted is unknown then: send it again, which does no harm.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Reply, SendError> {
        let request = into_reqwest(request)?;
        let host = names::authority(request.url()).to_owned();
        let client = if is_loopback(request.url()) { &self.local } else { &self.remote };
        let mut response = client.execute(request).await.map_err(|error| SendError::of(&host, error))?;
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| SendError::of(&host, error))? {
            body.extend_from_slice(&chunk[..chunk.len().min(BODY_LIMIT - body.len())]);
            if body.len() == BODY_LIMIT {
                break;
            }
        }
        Ok(Reply { status: response.status(), headers: response.headers().clone(), body: body.freeze() })
    }
}

/// A call without an answer. No message or source of it shows a URL, a header or a body.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The HTTP client cannot be made.
    #[error("the HTTP client cannot be set up")]
    Setup(#[source] reqwest::Error),
    /// The client would not send this request as it is written.
    #[error("the request's URL cannot be sent as it is written")]
    Url,
    /// Nobody was reached.
    #[error("no connection to {host}")]
    Connect {
        /// Host and port.
        host: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The time was up.
    #[error("no answer from {host} in time")]
    Timeout {
        /// Host and port.
        host: String,
        /// What was waited for.
        #[source]
        source: reqwest::Error,
    },
    /// The connection ended before the answer did.
    #[error("the connection to {host} broke")]
    Broken {
        /// Host and port.
        host: String,
        /// How.
        #[source]
        source: reqwest::Error,
    },
}

impl SendError {
    fn of(host: &str, error: reqwest::Error) -> Self {
        let host = host.to_owned();
        let source = error.without_url();
        if source.is_timeout() {
            Self::Timeout { host, source }
        } else if source.is_connect() {
            Self::Connect { host, source }
        } else {
            Self::Broken { host, source }
        }
    }
}

fn into_reqwest(request: Request<Bytes>) -> Result<reqwest::Request, SendError> {
    let target = request.uri().path_and_query().map(|target| target.as_str().to_owned()).unwrap_or_default();
    let is_empty_post = request.method() == Method::POST && request.body().is_empty();
    let mut request = reqwest::Request::try_from(request).map_err(|_| SendError::Url)?;
    // The client parses URLs anew. One that it changes would purge something else, or break its signature.
    if request.url()[Position::BeforePath..Position::AfterQuery] != target {
        return Err(SendError::Url);
    }
    if is_empty_post {
        // Some servers refuse a POST without a length (411).
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    Ok(request)
}

fn is_loopback(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.map_or(host == "localhost" || host.ends_with(".localhost"), |address| address.is_loopback())
}

#[cfg(test)]
mod tests;
