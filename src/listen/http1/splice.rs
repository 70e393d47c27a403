//! The rest of a large body, moved by the kernel from the origin's socket to the client's.

use super::wire::Wire;
use crate::http::h1::pipe::{MIN_SPLICED_BYTES, Pipe, Pipes};
use crate::http::h1::sending::{Sending, Unsent};
use crate::listen::io::Carrier;
use crate::proxy::body::ResponseBody;
use crate::upstream::DownloadError;
use std::cell::RefCell;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite};

/// Whether the rest of a body is worth a pipe.
pub(super) fn is_worth_it(body: &ResponseBody) -> bool {
    body.spliceable_bytes() >= MIN_SPLICED_BYTES
}

/// Moves the rest of the body of a message, of which everything taken so far has been written. A pipe is held only
/// while there are bytes in it. If there is none to be had, the body is left for copying, and otherwise the message
/// only has to be flushed afterwards.
pub(super) fn poll<S>(
    cx: &mut Context<'_>,
    sending: &mut Sending<ResponseBody>,
    (pipes, pipe): (&Pipes, &mut Option<Pipe>),
    wire: &RefCell<Wire<S>>,
) -> Poll<Result<(), Unsent<DownloadError>>>
where
    S: AsyncRead + AsyncWrite + Carrier + Unpin,
{
    loop {
        if let Some(pipe) = pipe {
            while !pipe.is_empty() {
                if ready!(wire.borrow_mut().poll_drain(cx, pipe)).map_err(Unsent::Io)? == 0 {
                    return Poll::Ready(Err(Unsent::Closed));
                }
            }
        }
        let empty = pipe.take();
        let Some(body) = sending.body() else { return Poll::Ready(Ok(())) };
        let Some(mut empty) = empty.or_else(|| pipes.take()) else { return Poll::Ready(Ok(())) };
        let moved = ready!(body.poll_splice(cx, &mut empty)).map_err(Unsent::Body)?;
        *pipe = Some(empty);
        sending.note_spliced(moved)?;
    }
}
