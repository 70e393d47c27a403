//! The body of a response, read from its connection as it is asked for.

use super::chunked::{ChunkedError, Decoded, Decoder};
use super::error::{Cause, Error, Phase};
use super::head::Framing;
use super::upload::Upload;
use super::{Connection, MAX_READ_BYTES, Recycle};
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
    upload: Option<Box<Upload<B>>>,
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
    pub(super) fn new(connection: Connection<IO>, pool: P, framing: Framing, reusable: bool) -> Self {
        let decoder = match framing {
            Framing::Empty => BodyDecoder::Length(0),
            Framing::Length(length) => BodyDecoder::Length(length),
            Framing::Chunked => BodyDecoder::Chunked(Decoder::default()),
            Framing::Close => BodyDecoder::Close,
        };
        Self { connection, pool, reusable, decoder }
    }
}

/// Finds the end of a body.
#[derive(Debug)]
enum BodyDecoder {
    /// This many bytes are still to come.
    Length(u64),
    Chunked(Decoder),
    Close,
}

impl BodyDecoder {
    fn is_end(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(decoder) => decoder.is_end(),
            Self::Close => false,
        }
    }

    /// Room that the next read should have. One byte more than is to come, since a read that does not fill its room
    /// tells the runtime that the socket is empty, which saves the next attempt.
    fn room(&self, usual: usize) -> usize {
        match self {
            Self::Length(left) => {
                usize::try_from(*left).unwrap_or(MAX_READ_BYTES).saturating_add(1).min(MAX_READ_BYTES)
            }
            Self::Chunked(_) | Self::Close => usual,
        }
    }

    fn decode(&mut self, buf: &mut BytesMut) -> Result<Decoded, ChunkedError> {
        match self {
            Self::Chunked(decoder) => decoder.decode(buf),
            Self::Length(0) => Ok(Decoded::End),
            _ if buf.is_empty() => Ok(Decoded::NeedMore),
            Self::Length(left) => {
                let length = usize::try_from(*left).map_or(buf.len(), |left| left.min(buf.len()));
                *left -= length as u64;
                Ok(Decoded::Data(buf.split_to(length).freeze()))
            }
            Self::Close => Ok(Decoded::Data(buf.split().freeze())),
        }
    }
}

impl<IO, B, P> ResponseBody<IO, B, P>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    P: Recycle<IO>,
{
    pub(super) fn new(reading: Reading<IO, P>, upload: Option<Box<Upload<B>>>) -> Self {
        let mut body = Self { reading: Some(reading), upload };
        body.end_if_complete();
        body
    }

    /// The connection is done with as soon as the last byte was taken, not only when that is asked for once more.
    fn end_if_complete(&mut self) {
        if let Some(reading) = self.reading.take_if(|reading| reading.decoder.is_end()) {
            self.upload = None;
            if reading.reusable && reading.connection.has_nothing_left() {
                reading.pool.recycle(reading.connection.into_idle());
            }
        }
    }

    fn fail(&mut self, cause: Cause) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.upload = None;
        let reused = self.reading.take().is_some_and(|reading| reading.connection.is_reused());
        let error = Error { phase: Phase::Body, reused, body_consumed: true, response_started: true, cause };
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
    type Error = Error;

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
            match reading.decoder.decode(reading.connection.buffer()) {
                Err(error) => return this.fail(Cause::Chunked(error)),
                Ok(Decoded::Data(data)) => {
                    this.end_if_complete();
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Ok(Decoded::End) => this.end_if_complete(),
                Ok(Decoded::NeedMore) => {
                    let room = reading.decoder.room(reading.connection.usual_room());
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
        match self.reading.as_ref().map(|reading| &reading.decoder) {
            None => SizeHint::with_exact(0),
            Some(BodyDecoder::Length(left)) => SizeHint::with_exact(*left),
            Some(BodyDecoder::Chunked(_) | BodyDecoder::Close) => SizeHint::default(),
        }
    }
}
