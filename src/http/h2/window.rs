//! The room in the send window of a stream, in either direction.

use ::h2::SendStream;
use bytes::Bytes;
use std::task::{Context, Poll, ready};

/// Waits until the window of `stream` has room, and returns for how many of `bytes`, at least one. Returns `None`
/// if the stream has ended.
///
/// # Errors
/// Returns an error if the stream or its connection failed.
pub fn poll_room(
    stream: &mut SendStream<Bytes>,
    bytes: usize,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<usize, ::h2::Error>>> {
    stream.reserve_capacity(bytes);
    while stream.capacity() == 0 {
        match ready!(stream.poll_capacity(cx)) {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => return Poll::Ready(None),
        }
    }
    Poll::Ready(Some(Ok(stream.capacity().min(bytes))))
}
