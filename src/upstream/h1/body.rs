//! The body of a response, read from its connection on demand.

use super::connection::{Connection, Recycle};
use crate::http::h1::chunked::Decoded;
use crate::http::h1::decoder::BodyDecoder;
use crate::http::h1::framing::Framing;
use crate::http::h1::pipe::Pipe;
use crate::http::h1::sending::Sending;
use crate::http::head::limits::HeadLimits;
use crate::upstream::error::{Cause, ExchangeError, Phase};
use crate::upstream::stream::Stream;
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite};

/// The body of a response. After a clean end, the connection goes back through [`Recycle`]. If the body fails or
/// is dropped before its end, the connection is closed.
#[derive(Debug)]
pub struct ResponseBody<IO, B, P> {
    /// `None` when the body has ended.
    reading: Option<Reading<IO, P>>,
    /// The rest of the request that was not sent when the origin began to answer.
    upload: Option<Box<Sending<B>>>,
    /// The connection after 101: there is no body, and the connection no longer carries HTTP.
    switched: Option<Connection<IO>>,
}

/// A body in progress.
#[derive(Debug)]
pub(super) struct Reading<IO, P> {
    connection: Connection<IO>,
    pool: P,
    /// Whether the connection can serve another exchange after a clean end.
    reusable: bool,
    decoder: BodyDecoder,
}

impl<IO, P> Reading<IO, P> {
    pub(super) fn new(
        connection: Connection<IO>,
        pool: P,
        (framing, limits): (Framing, HeadLimits),
        reusable: bool,
    ) -> Self {
        Self { connection, pool, reusable, decoder: BodyDecoder::new(framing, limits) }
    }
}

impl<IO, B, P> ResponseBody<IO, B, P>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    P: Recycle<IO>,
{
    pub(super) fn new(reading: Reading<IO, P>, upload: Option<Box<Sending<B>>>) -> Self {
        let mut body = Self { reading: Some(reading), upload, switched: None };
        body.end_if_complete();
        body
    }

    pub(super) fn switched(connection: Connection<IO>) -> Self {
        Self { reading: None, upload: None, switched: Some(connection) }
    }

    /// Returns the connection after 101, and the bytes that followed the head.
    pub fn take_switched(&mut self) -> Option<(IO, BytesMut)> {
        self.switched.take().map(Connection::into_parts)
    }

    /// Releases the connection as soon as the last byte was taken, not only at the next call.
    fn end_if_complete(&mut self) {
        if let Some(mut reading) = self.reading.take_if(|reading| reading.decoder.is_end()) {
            self.upload = None;
            if reading.reusable && reading.connection.input().is_empty() {
                reading.pool.recycle(reading.connection.into_idle());
            }
        }
    }

    fn fail(&mut self, cause: Cause) -> Poll<Option<Result<Frame<Bytes>, ExchangeError>>> {
        Poll::Ready(Some(Err(self.error(cause))))
    }

    fn error(&mut self, cause: Cause) -> ExchangeError {
        self.upload = None;
        let reused = self.reading.take().is_some_and(|reading| reading.connection.is_reused());
        ExchangeError { phase: Phase::Body, reused, body_consumed: true, response_started: true, cause }
    }
}

impl<B, P: Recycle<Stream>> ResponseBody<Stream, B, P> {
    /// The number of bytes that the kernel could move: all that is left of a body of known length, if no byte of it
    /// was read ahead.
    pub fn spliceable_bytes(&self) -> u64 {
        match &self.reading {
            Some(reading)
                if self.upload.is_none()
                    && reading.connection.is_drained()
                    && reading.connection.io().is_plain() =>
            {
                reading.decoder.left().unwrap_or_default()
            }
            _ => 0,
        }
    }

    /// Moves bytes into an empty pipe, and returns how many, or 0 at the end.
    pub fn poll_splice(
        &mut self,
        cx: &mut Context<'_>,
        pipe: &mut Pipe,
    ) -> Poll<Result<usize, ExchangeError>> {
        let left = self.spliceable_bytes();
        let Some(reading) = self.reading.as_mut().filter(|_| left > 0) else { return Poll::Ready(Ok(0)) };
        Poll::Ready(match ready!(reading.connection.io_mut().poll_splice(cx, pipe, left)) {
            Err(error) => Err(self.error(Cause::Io(error))),
            Ok(0) => Err(self.error(Cause::Closed)),
            Ok(moved) => {
                reading.decoder.skip(moved);
                reading.connection.input().note_spliced();
                self.end_if_complete();
                Ok(moved)
            }
        })
    }
}

impl<IO, B, P> Body for ResponseBody<IO, B, P>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    P: Recycle<IO> + Unpin,
{
    type Data = Bytes;
    type Error = ExchangeError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        loop {
            let Some(reading) = &mut this.reading else { return Poll::Ready(None) };
            // If the upload fails now, the response is not affected: the origin has begun to answer without the
            // rest.
            if let Some(upload) = &mut this.upload
                && upload.poll(cx, reading.connection.io_mut()).is_ready()
            {
                this.upload = None;
            }
            match reading.decoder.decode(reading.connection.input().buffer()) {
                Err(error) => return this.fail(Cause::Chunked(error)),
                Ok(Decoded::Data(data)) => {
                    this.end_if_complete();
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Ok(Decoded::End) => {
                    let trailers = reading.decoder.take_trailers();
                    this.end_if_complete();
                    if let Some(trailers) = trailers {
                        return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                    }
                }
                Ok(Decoded::NeedMore) => {
                    let room = reading.decoder.room(reading.connection.input().usual_room());
                    match ready!(reading.connection.poll_fill(cx, room)) {
                        Err(error) => return this.fail(Cause::Io(error)),
                        Ok(0) if matches!(reading.decoder, BodyDecoder::Close) => {
                            this.reading = None;
                            this.upload = None;
                        }
                        Ok(0) => return this.fail(Cause::Closed),
                        Ok(_) => {}
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.reading.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.reading.as_ref().map_or(Some(0), |reading| reading.decoder.left());
        left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
