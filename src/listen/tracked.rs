//! A response's body in HTTP/2, as far as its connection needs to know of it.

use super::watch::Busy;
use crate::proxy::body::{DownloadError, ResponseBody};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// How far an HTTP/2 client has taken a response.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Parts handed on.
    pub(super) parts: Cell<u64>,
    /// It is the client's turn: the last part was handed on, and the next has not been asked for.
    pub(super) offered: Cell<bool>,
}

/// A response body during which its connection is busy.
pub(super) struct Tracked {
    body: ResponseBody,
    taken: Rc<Taken>,
    busy: Busy,
}

impl Tracked {
    pub(super) fn new(body: ResponseBody, taken: Rc<Taken>, busy: Busy) -> Self {
        // A client without a window for it does not even ask for the first part.
        taken.offered.set(true);
        Self { body, taken, busy }
    }
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = DownloadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, DownloadError>>> {
        let part = Pin::new(&mut self.body).poll_frame(cx);
        self.taken.parts.set(self.taken.parts.get() + u64::from(part.is_ready()));
        self.taken.offered.set(part.is_ready());
        part
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        if let Some(ticket) = self.body.take_ticket() {
            self.busy.unwritten(ticket);
        }
    }
}
