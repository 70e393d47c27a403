//! The body of a request as it is read from its connection, independent of the protocol.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The error of a body that did not arrive completely. Its concrete type depends on the connection.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request.
pub enum RequestBody {
    /// There is no body.
    Empty,
    /// A body that its connection reads. Boxed because few requests have one.
    Incoming(Pin<Box<dyn Body<Data = Bytes, Error = BoxError>>>),
}

impl RequestBody {
    /// Wraps the body that a connection reads.
    pub fn incoming(body: impl Body<Data = Bytes, Error = BoxError> + 'static) -> Self {
        Self::Incoming(Box::pin(body))
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RequestBody").field(&self.size_hint()).finish()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Incoming(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Incoming(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Incoming(body) => body.size_hint(),
        }
    }
}
