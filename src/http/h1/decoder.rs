//! Finds the end of a body.

use super::MAX_READ_BYTES;
use super::chunked::{ChunkedError, Decoded, Decoder};
use super::framing::Framing;
use crate::http::head::limits::HeadLimits;
use bytes::BytesMut;
use http::HeaderMap;

/// Takes a body off a read buffer.
#[derive(Debug)]
pub enum BodyDecoder {
    /// A body of which this many bytes are still to come.
    Length(u64),
    /// A body that ends with its last chunk.
    Chunked(Decoder),
    /// A body that ends with the connection.
    Close,
}

impl BodyDecoder {
    /// Creates the decoder of a body whose trailers have these limits.
    pub fn new(framing: Framing, limits: HeadLimits) -> Self {
        match framing {
            Framing::Empty => Self::Length(0),
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Decoder::new(limits)),
            Framing::Close => Self::Close,
        }
    }

    /// Takes the trailers that followed the body. A second call returns `None`.
    pub fn take_trailers(&mut self) -> Option<HeaderMap> {
        match self {
            Self::Chunked(decoder) => decoder.take_trailers(),
            Self::Length(_) | Self::Close => None,
        }
    }

    /// Whether there are trailers that have not been taken.
    pub fn has_trailers(&self) -> bool {
        matches!(self, Self::Chunked(decoder) if decoder.has_trailers())
    }

    /// Whether the whole body has been taken.
    pub fn is_end(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(decoder) => decoder.is_end(),
            Self::Close => false,
        }
    }

    /// The number of bytes still to come, if known.
    pub fn left(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            Self::Chunked(_) | Self::Close => None,
        }
    }

    /// Records that this many bytes of a body of known length were taken by another way.
    pub fn skip(&mut self, bytes: usize) {
        if let Self::Length(left) = self {
            *left = left.saturating_sub(bytes as u64);
        }
    }

    /// The room that the next read should have: one byte more than is still to come. A read that does not fill its
    /// room tells the runtime that the socket is empty, which saves the next attempt.
    pub fn room(&self, usual: usize) -> usize {
        match self {
            Self::Length(left) => {
                usize::try_from(*left).unwrap_or(MAX_READ_BYTES).saturating_add(1).min(MAX_READ_BYTES)
            }
            Self::Chunked(_) | Self::Close => usual,
        }
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// Returns an error if the chunked coding is invalid. Nothing after that can be trusted.
    pub fn decode(&mut self, buf: &mut BytesMut) -> Result<Decoded, ChunkedError> {
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
