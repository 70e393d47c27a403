//! The only code that calls a CDN: it sends a call that an adapter wrote and returns the answer.

use super::{Reply, names};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HeaderValue};
use http::{Method, Request};
use reqwest::redirect::Policy;
use std::net::IpAddr;
use std::time::Duration;
use url::Position;

/// The time limit for connecting, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The time limit for the whole call.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(30);
/// The number of body bytes that are read; the rest of a longer body is ignored.
const BODY_LIMIT: usize = 64 * 1024;
/// The `User-Agent`, which identifies the shim to people who read their CDN's logs.
const USER_AGENT: &str = concat!("origin-shim/", env!("CARGO_PKG_VERSION"));

/// A sender of calls to CDNs. Clones are cheap and share connections.
#[derive(Clone, Debug)]
pub struct Sender {
    /// The client for other machines, which honours `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.
    remote: reqwest::Client,
    /// The client for this machine, where a proxy could not reach the same service.
    local: reqwest::Client,
}

impl Sender {
    /// Creates a sender with no connections yet.
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
                // Credentials are sent to the configured address and nowhere else.
                .redirect(Policy::none())
                .referer(false)
                // HTTP/2 has no `Host` in addition to its authority, and `Host` is how a Varnish node learns
                // which site's page to purge.
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
    /// There is no answer, or only a part of one. Whether the CDN acted is then unknown: send the call again,
    /// which does no harm.
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

/// A call without an answer. Neither its message nor its sources show a URL, a header or a body.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The HTTP client cannot be created.
    #[error("the HTTP client cannot be set up")]
    Setup(#[source] reqwest::Error),
    /// The client would not send this request exactly as it is written.
    #[error("the request's URL cannot be sent as it is written")]
    Url,
    /// No connection could be made.
    #[error("no connection to {host}")]
    Connect {
        /// The host and port.
        host: String,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// The call took too long.
    #[error("no answer from {host} in time")]
    Timeout {
        /// The host and port.
        host: String,
        /// The step that timed out.
        #[source]
        source: reqwest::Error,
    },
    /// The connection ended before the answer was complete.
    #[error("the connection to {host} broke")]
    Broken {
        /// The host and port.
        host: String,
        /// The cause.
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
    // The client parses URLs again. A URL that it changes would purge something else, or break its signature.
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
