//! The sockets of a fake CDN: HTTP/1.1 on a thread of its own.

use super::{Answer, Fault, status};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio_util::sync::CancellationToken;

/// The result of a call.
pub struct Exchange {
    /// The answer, if there is one.
    pub answer: Option<Answer>,
    /// The fault that is injected.
    pub fault: Option<Fault>,
    /// The fake's clock, for `Date`.
    pub unix_ms: i64,
}

/// Serves on a free port of the loopback until `stop`.
pub fn start(
    stop: CancellationToken,
    handler: impl Fn(Request<Bytes>) -> Exchange + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let handler = Arc::new(handler);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    accepted = listener.accept() => {
                        let Ok((stream, _)) = accepted else { continue };
                        tokio::spawn(connection(stream, Arc::clone(&handler)));
                    }
                }
            }
        });
    });
    address
}

async fn connection<F>(stream: tokio::net::TcpStream, handler: Arc<F>)
where
    F: Fn(Request<Bytes>) -> Exchange + Send + Sync + 'static,
{
    let stream = stream.into_std().unwrap();
    let socket = Arc::new(stream.try_clone().unwrap());
    let stream = tokio::net::TcpStream::from_std(stream).unwrap();
    let service = service_fn(move |request: Request<Incoming>| {
        let (handler, socket) = (Arc::clone(&handler), Arc::clone(&socket));
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
            let exchange = handler(Request::from_parts(parts, body));
            answer(exchange, &socket).await
        }
    });
    // It ends when the client has gone, or as an exchange wants it.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(exchange: Exchange, socket: &TcpStream) -> io::Result<Response<Body>> {
    match exchange.fault {
        Some(Fault::Hang) => return pending().await,
        Some(Fault::LostAnswer) => return Err(io::Error::other("lost")),
        Some(Fault::Reset) => {
            // Closed with unsent time left of zero: the kernel resets it.
            socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO))?;
            return Err(io::Error::other("reset"));
        }
        _ => {}
    }
    let Some(answer) = exchange.answer else { return Err(io::Error::other("nothing to say")) };
    let now = UNIX_EPOCH + Duration::from_millis(u64::try_from(exchange.unix_ms).unwrap_or_default());
    let mut response = Response::builder()
        .status(status(&answer))
        .header("date", httpdate::fmt_http_date(SystemTime::max(now, UNIX_EPOCH)))
        .header("content-length", answer.body.len());
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    let body = Bytes::from(answer.body);
    let body = match answer.broken_off {
        true => Body([Some(Ok(body.slice(..body.len() / 2))), Some(Err(io::Error::other("broken off")))]),
        false => Body([Some(Ok(body)), None]),
    };
    Ok(response.body(body).unwrap())
}

/// Up to two frames, the first one first.
struct Body([Option<io::Result<Bytes>>; 2]);

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let next = self.0.iter_mut().find_map(Option::take);
        Poll::Ready(next.map(|frame| frame.map(Frame::data)))
    }
}
