//! The small part of HTTP/1.1 that the demo's site, edge and script need. The shim itself uses none of it.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body, Incoming};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// The type of all bodies in the demo.
pub type AnyBody = BoxBody<Bytes, hyper::Error>;

/// The most connections per listener. A demo serves one person.
const MAX_CONNECTIONS: usize = 256;

/// Time for a whole exchange up to the head of the response.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// A failed exchange.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No connection was established.
    #[error("cannot connect to {to}")]
    Connect {
        /// The address.
        to: SocketAddr,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// There was no answer, or it was not HTTP.
    #[error("no HTTP answer from {from}")]
    Http {
        /// The address.
        from: SocketAddr,
        /// The reason.
        #[source]
        source: hyper::Error,
    },
    /// There was no answer in time.
    #[error("no answer from {from} within {} s", ANSWER_TIMEOUT.as_secs())]
    Slow {
        /// The address.
        from: SocketAddr,
    },
}

/// Answers every request on `listener` with `handler`, forever.
pub async fn serve<F, R>(listener: TcpListener, handler: F) -> Infallible
where
    F: Fn(Request<Incoming>, IpAddr) -> R + Send + Sync + 'static,
    R: Future<Output = Response<AnyBody>> + Send + 'static,
{
    let handler = Arc::new(handler);
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let slot = slots.clone().acquire_owned().await;
        let Ok((stream, peer)) = listener.accept().await else {
            // The likely cause is a lack of file descriptors. A pause lets connections end.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let handler = handler.clone();
        tokio::spawn(async move {
            let answer = move |request| {
                let answer = handler(request, peer.ip());
                async move { Ok::<_, Infallible>(answer.await) }
            };
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(30))
                .serve_connection(TokioIo::new(stream), hyper::service::service_fn(answer));
            if let Err(error) = connection.await {
                tracing::debug!(%error, "demo connection ended");
            }
            drop(slot);
        });
    }
}

/// Sends one request over a new connection.
pub async fn send<B>(to: SocketAddr, request: Request<B>) -> Result<Response<Incoming>, SendError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let exchange = async {
        let stream = TcpStream::connect(to).await.map_err(|source| SendError::Connect { to, source })?;
        let io = TokioIo::new(stream);
        let http = |source| SendError::Http { from: to, source };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.map_err(http)?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "demo connection ended");
            }
        });
        sender.send_request(request).await.map_err(http)
    };
    timeout(ANSWER_TIMEOUT, exchange).await.unwrap_or(Err(SendError::Slow { from: to }))
}

/// Removes the hop-by-hop headers (RFC 9110, section 7.6.1).
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let lines = headers.get_all(header::CONNECTION).into_iter().filter_map(|line| line.to_str().ok());
    let nominated: Vec<HeaderName> = lines
        .flat_map(|line| line.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .collect();
    for name in nominated {
        headers.remove(name);
    }
    for name in
        ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"]
    {
        headers.remove(name);
    }
}

/// Returns a whole body from memory.
pub fn full(body: impl Into<Bytes>) -> AnyBody {
    Full::new(body.into()).map_err(|never| match never {}).boxed()
}

/// Returns an empty body.
pub fn empty() -> AnyBody {
    Empty::new().map_err(|never| match never {}).boxed()
}

/// Returns a short plain-text answer that caches must not store.
pub fn text(status: http::StatusCode, body: impl Into<String>) -> Response<AnyBody> {
    let mut response = Response::new(full(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
