//! The task of a connection: reads and writes frames, and detects an origin that has disappeared silently.
//! Otherwise, every request on the connection would have to detect that by its own deadline.

use super::streams::Streams;
use crate::base::with_causes;
use crate::http::h2::ping::Lost;
use crate::http::h2::ping::Pings;
use crate::http::timer::Clock;
use ::h2::client::Connection;
use bytes::Bytes;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// How long requests may be in progress before the origin is checked with a PING, and how long its answer may
/// take.
const SILENCE: Duration = Duration::from_secs(10);

/// A connection and its PING.
pub(super) struct Driver<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    connection: Connection<IO, Bytes>,
    pings: Pings,
}

impl<IO> Driver<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    /// Creates the task of a connection on which nothing has arrived yet.
    pub(super) fn new(mut connection: Connection<IO, Bytes>, clock: &Rc<Clock>) -> Result<Self, Lost> {
        let mut pings = Pings::new(connection.ping_pong().ok_or(Lost::Closed)?, clock, SILENCE);
        pings.ask()?;
        Ok(Self { connection, pings })
    }

    /// Waits for the answer to the first PING. The settings arrive before it.
    pub(super) async fn settled(&mut self) -> Result<(), Lost> {
        poll_fn(|cx| {
            if let Poll::Ready(ended) = Pin::new(&mut self.connection).poll(cx) {
                return Poll::Ready(Err(ended.map_or_else(Lost::Http2, |()| Lost::Closed)));
            }
            self.pings.poll_answer(cx)
        })
        .await
    }

    /// Runs the connection to its end. If nothing fails, that is when the last request has ended and the pool no
    /// longer holds the connection.
    pub(super) async fn run(mut self, streams: Rc<Streams>) {
        let ended = poll_fn(|cx| self.poll(cx, &streams)).await;
        if let Err(error) = ended {
            tracing::debug!(error = with_causes(&error), "an HTTP/2 connection to an origin ended");
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, streams: &Streams) -> Poll<Result<(), Lost>> {
        loop {
            if let Poll::Ready(ended) = Pin::new(&mut self.connection).poll(cx) {
                return Poll::Ready(ended.map_err(Lost::Http2));
            }
            if streams.open() == 0 {
                self.pings.excuse();
                if !self.pings.is_asked() {
                    return Poll::Pending;
                }
            }
            // Dropping the connection fails every request that is on it.
            ready!(self.pings.poll(cx))?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::Headers;
    use crate::http::head::limits::HeadLimits;
    use crate::upstream::h2::{self, Request};
    use http::uri::Scheme;
    use http::{HeaderValue, Method, header};
    use http_body_util::Empty;
    use std::time::Instant;
    use tokio::io::{DuplexStream, duplex};

    /// Runs all tasks that can make progress.
    async fn settle() {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    /// Runs an origin that accepts requests and answers none. It reads, and therefore answers PINGs, until `stop`.
    async fn serve(io: DuplexStream, stop: tokio::sync::oneshot::Receiver<()>) {
        let mut connection = ::h2::server::handshake(io).await.unwrap();
        let mut requests = Vec::new();
        let serving = async {
            while let Some(request) = connection.accept().await {
                requests.push(request);
            }
        };
        tokio::select! {
            () = serving => {}
            _ = stop => std::future::pending().await,
        }
    }

    #[tokio::test]
    async fn an_origin_that_is_gone_without_a_word_is_noticed() {
        tokio::task::LocalSet::new()
            .run_until(async {
                let (ours, theirs) = duplex(64 * 1024);
                let (stop, stopped) = tokio::sync::oneshot::channel();
                tokio::task::spawn_local(serve(theirs, stopped));
                let start = Instant::now();
                let clock = Clock::new(start);
                let mut connection = h2::open(ours, &clock, HeadLimits::default()).await.unwrap();
                let host = Headers::from_iter([(header::HOST, HeaderValue::from_static("a.test"))]);
                let exchange = connection
                    .again()
                    .send(Request {
                        method: &Method::GET,
                        target: &"/".parse().unwrap(),
                        scheme: Scheme::HTTP,
                        headers: host.lines(),
                        body: None::<Empty<Bytes>>,
                        limits: HeadLimits::default(),
                        interim: false,
                    })
                    .unwrap();
                settle().await;
                let mut seconds = 0;
                let mut pass = async |more: u64| {
                    seconds += more;
                    clock.tick(start + Duration::from_secs(seconds));
                    settle().await;
                };
                // The origin answers PINGs as long as it reads.
                for _ in 0..10 {
                    pass(11).await;
                    assert!(connection.is_open());
                }
                stop.send(()).unwrap();
                pass(11).await;
                assert!(connection.is_open(), "it is asked");
                pass(11).await;
                assert!(!connection.is_open());
                let error = exchange.await.unwrap_err();
                assert!(error.is_retryable() && !error.is_unprocessed(), "{error:?}");
            })
            .await;
    }
}
