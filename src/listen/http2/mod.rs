//! An HTTP/2 connection. The `h2` crate handles the frames; this module decides what is allowed, answered and
//! given up.
//!
//! The connection's own task reads and writes all of its frames. Each request is answered in a task of its own
//! ([`stream`]), so that a slow one holds up no other. The end of the connection fails its streams, which notice
//! at once.

mod request;
mod response;
mod sending;
mod stream;

use super::batch::Batch;
use super::connection::{Client, Connection};
use super::header_blocks::Malformed;
use super::io::Io;
use super::watch::Order;
use crate::base::with_causes;
use crate::http::h2::ping::Lost;
use crate::http::h2::ping::Pings;
use ::h2::{Reason, server};
use bytes::Bytes;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use stream::Stream;
use tokio::io::{AsyncRead, AsyncWrite};

const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// The maximum number of bytes of a response that the `h2` crate holds until they are written to the connection.
const SEND_BUFFER: usize = 64 * 1024;
const FRAME: u32 = 16 * 1024;
/// After this time without bytes, a client is asked (PING) whether it is still there. If it does not answer within
/// the same time, it is considered gone.
const SILENCE: Duration = Duration::from_secs(20);

impl Client {
    /// Serves the connection to its end.
    pub(super) async fn http2<S>(self, io: Io<S>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let this = Rc::new(self);
        let malformed = Malformed::default();
        let header_bytes = this.connection.limits.request_header_bytes;
        let io = Batch::new(io.with_frames(malformed.clone(), header_bytes));
        // Pinned here, because a future passed on by value would be stored twice.
        let streams = pin!(this.streams(io.clone(), malformed));
        match io.during(streams).await {
            Ok(Ok(())) => {}
            Ok(Err(lost)) => this.connection.ended(&with_causes(&lost)),
            Err(error) => this.connection.ended(&error),
        }
    }

    /// Has streams answered until the connection ends, or until its watch orders the end.
    async fn streams<S>(self: &Rc<Self>, io: Batch<S>, malformed: Malformed) -> Result<(), Lost>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Some(connection) = begin(&self.connection, io).await? else { return Ok(()) };
        let mut driver = Driver::new(self, connection, malformed)?;
        poll_fn(|cx| driver.poll(cx)).await
    }
}

/// Begins HTTP/2; `None` if the connection must be closed first.
async fn begin<IO>(
    Connection { open, limits, .. }: &Connection,
    io: IO,
) -> Result<Option<server::Connection<IO, Bytes>>, Lost>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    // The `h2` crate itself limits how many streams a client may have reset, by itself or by its errors.
    let mut handshake = server::Builder::new()
        .max_concurrent_streams(limits.http2_streams)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_header_list_size(u32::try_from(limits.request_header_bytes).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER)
        .handshake(io);
    poll_fn(|cx| match Pin::new(&mut handshake).poll(cx) {
        Poll::Ready(begun) => Poll::Ready(begun.map(Some).map_err(Lost::Http2)),
        // A client that is only beginning may still send a request during draining.
        Poll::Pending if open.poll_order(cx) == Order::Close => Poll::Ready(Ok(None)),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// A connection that has begun. Dropping it fails its streams.
struct Driver<'c, IO> {
    client: &'c Rc<Client>,
    connection: server::Connection<IO, Bytes>,
    pings: Pings,
    malformed: Malformed,
    draining: bool,
}

impl<'c, IO> Driver<'c, IO>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    fn new(
        client: &'c Rc<Client>,
        mut connection: server::Connection<IO, Bytes>,
        malformed: Malformed,
    ) -> Result<Self, Lost> {
        let pings = connection.ping_pong().ok_or(Lost::Closed)?;
        let pings = Pings::new(pings, &client.connection.worker.clock, SILENCE);
        Ok(Self { client, connection, pings, malformed, draining: false })
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        let open = &self.client.connection.open;
        loop {
            // Requests are accepted first, so that one that arrived before the order is still answered.
            while let Poll::Ready(request) = self.connection.poll_accept(cx) {
                let Some(request) = request else { return Poll::Ready(Ok(())) };
                let (request, mut respond) = request?;
                if self.malformed.take(respond.stream_id().as_u32()) {
                    respond.send_reset(Reason::PROTOCOL_ERROR);
                    continue;
                }
                Stream::begin(self.client, request, respond);
            }
            match open.poll_order(cx) {
                Order::Drain if !self.draining => {
                    self.draining = true;
                    self.connection.graceful_shutdown();
                    continue;
                }
                Order::Serve | Order::Drain => {}
                Order::Close => return Poll::Ready(Ok(())),
            }
            // A client that takes no bytes cannot be asked, and has a deadline of its own.
            if open.take_heard() || open.is_stalled() {
                self.pings.excuse();
            }
            match self.pings.poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(lost)) => {
                    // The client may still be there, so GOAWAY is sent, but nothing waits until the client takes it.
                    self.connection.abrupt_shutdown(Reason::NO_ERROR);
                    let _ = self.connection.poll_closed(cx);
                    return Poll::Ready(Err(lost));
                }
            }
        }
    }
}
