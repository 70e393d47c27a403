//! The body of a response, read from its connection as it is asked for.

use super::connection::{Connection, Recycle};
use crate::http::h1::chunked::Decoded;
use crate::http::h1::decoder::BodyDecoder;
use crate::http::h1::framing::Framing;
use crate::http::h1::sending::Sending;
use crate::http::head::limits::HeadLimits;
use crate::upstream::error::{Cause, ExchangeError, Phase};
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite};

/// The body of a response. When it has ended well, the connection goes back to where it came from; dropped before that, or
/// broken off, it closes the connection.
#[derive(Debug)]
pub struct ResponseBody<IO, B, P> {
    /// `None` once the body has ended.
    reading: Option<Reading<IO, P>>,
    /// What the origin has not yet read of the request when it began to answer.
    upload: Option<Box<Sending<B>>>,
    /// After 101: there is no body, and the connection is no longer HTTP's.
    switched: Option<Connection<IO>>,
}

/// A body under way.
#[derive(Debug)]
pub(super) struct Reading<IO, P> {
    connection: Connection<IO>,
    pool: P,
    /// Whether the connection is good for another exchange after a clean end.
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

    /// After 101: the connection, and what followed the head on it.
    pub fn take_switched(&mut self) -> Option<(IO, BytesMut)> {
        self.switched.take().map(Connection::into_parts)
    }

    /// The connection is done with as soon as the last byte was taken, not only when that is asked for once more.
    fn end_if_complete(&mut self) {
        if let Some(mut reading) = self.reading.take_if(|reading| reading.decoder.is_end()) {
            self.upload = None;
            if reading.reusable && reading.connection.input().is_empty() {
                reading.pool.recycle(reading.connection.into_idle());
            }
        }
    }

    fn fail(&mut self, cause: Cause) -> Poll<Option<Result<Frame<Bytes>, ExchangeError>>> {
        self.upload = None;
        let reused = self.reading.take().is_some_and(|reading| reading.connection.is_reused());
        let error =
            ExchangeError { phase: Phase::Body, reused, body_consumed: true, response_started: true, cause };
        Poll::Ready(Some(Err(error)))
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
            // An upload that fails now fails nothing but itself: the origin has begun to answer without it.
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
