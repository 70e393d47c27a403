//! A client's body on its way to an origin: streamed frame by frame, with limits on its length, on the time until its
//! next part, and on its rate.

use crate::config::Limits;
use crate::http::request_body::{BoxError, RequestBody};
use crate::http::timer::{Clock, Patience};
use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use http_body::{Body, Frame, SizeHint};
use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// Why a client's body did not arrive whole.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// No part of it for too long.
    #[error("it stalled")]
    Stalled,
    /// Too little of it for too long.
    #[error("it is too slow")]
    TooSlow,
    /// More of it than the limit.
    #[error("it is too large")]
    TooLarge,
    /// The client went away, or its framing is broken.
    #[error("it cannot be read")]
    Client(#[source] BoxError),
}

/// How far a client's body has come, for those who wait for the origin meanwhile.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// It is the client's turn: the next part has not arrived.
    pub(super) awaited: Cell<bool>,
    /// Parts handed on.
    pub(super) parts: Cell<u64>,
}

/// Which of a request's trailers go on to its origin.
pub type TrailerFilter = fn(HeaderMap, &[HeaderName]) -> Option<HeaderMap>;

/// A client's body on its way to an origin.
#[derive(Debug)]
pub struct Upload {
    incoming: Metered,
    patience: Patience,
    progress: Rc<Progress>,
    /// The fields that `Connection` nominates.
    nominated: Vec<HeaderName>,
    filter: TrailerFilter,
}

impl Upload {
    /// The body of a request under these limits; `None` if it has no body. Of its trailers, `filter` chooses those that
    /// go on; it is told what `Connection` nominates.
    pub fn new(
        incoming: RequestBody,
        clock: &Rc<Clock>,
        limits: &Limits,
        (nominated, filter): (&[HeaderName], TrailerFilter),
    ) -> Option<Self> {
        (!incoming.is_end_stream()).then(|| Self {
            incoming: Metered::new(incoming, limits),
            patience: Patience::new(clock, limits.body_timeout),
            progress: Rc::default(),
            nominated: nominated.to_vec(),
            filter,
        })
    }

    /// How far it has come.
    pub(super) fn progress(&self) -> Rc<Progress> {
        Rc::clone(&self.progress)
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let this = &mut *self;
        let frame = match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                this.progress.awaited.set(true);
                ready!(this.patience.poll_lost(cx));
                return Poll::Ready(Some(Err(UploadError::Stalled)));
            }
        };
        this.patience.rewarded();
        this.progress.awaited.set(false);
        this.progress.parts.set(this.progress.parts.get() + 1);
        Poll::Ready(match frame {
            Some(Ok(frame)) => match frame.into_trailers() {
                // They are the end, even where none of them goes on.
                Ok(trailers) => (this.filter)(trailers, &this.nominated).map(Frame::trailers).map(Ok),
                Err(frame) => Some(Ok(frame)),
            },
            other => other,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // Nobody waits for the client any more.
        self.progress.awaited.set(false);
    }
}

/// A client's body that fails when it breaks a limit.
#[derive(Debug)]
struct Metered {
    incoming: RequestBody,
    /// Bytes that may still come, where that is limited.
    left: Option<u64>,
    pace: Pace,
}

impl Metered {
    /// The body of a request under these limits.
    fn new(incoming: RequestBody, limits: &Limits) -> Self {
        let left = (limits.request_body_bytes > 0).then_some(limits.request_body_bytes);
        Self { incoming, left, pace: Pace::new(limits.body_min_rate, limits.body_timeout) }
    }

    fn take(&mut self, bytes: u64) -> Result<(), UploadError> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(bytes).ok_or(UploadError::TooLarge)?;
        }
        if self.pace.arrived(bytes, Instant::now) { Ok(()) } else { Err(UploadError::TooSlow) }
    }
}

impl Body for Metered {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let this = &mut *self;
        let Poll::Ready(part) = Pin::new(&mut this.incoming).poll_frame(cx) else {
            this.pace.awaited(Instant::now);
            return Poll::Pending;
        };
        Poll::Ready(match part {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                Some(this.take(bytes).map(|()| frame))
            }
            Some(Err(error)) => Some(Err(UploadError::Client(error))),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// Holds a body to a rate, over windows of waiting: time in which the origin took nothing is not the client's. What came
/// fast before does not excuse what comes slowly now.
#[derive(Debug)]
struct Pace {
    /// Bytes per second; 0: any.
    rate: u32,
    window: Duration,
    bytes: u64,
    waited: Duration,
    since: Option<Instant>,
}

impl Pace {
    fn new(rate: u32, window: Duration) -> Self {
        Self { rate, window, bytes: 0, waited: Duration::ZERO, since: None }
    }

    /// The client has its turn.
    fn awaited(&mut self, now: impl Fn() -> Instant) {
        if self.rate > 0 && self.since.is_none() {
            self.since = Some(now());
        }
    }

    /// Something came. Whether it is fast enough.
    fn arrived(&mut self, bytes: u64, now: impl Fn() -> Instant) -> bool {
        self.bytes = self.bytes.saturating_add(bytes);
        let Some(since) = self.since.take() else { return true };
        self.waited += now().saturating_duration_since(since);
        if self.waited < self.window {
            return true;
        }
        let enough = self.bytes as f64 >= f64::from(self.rate) * self.waited.as_secs_f64();
        (self.bytes, self.waited) = (0, Duration::ZERO);
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parts of a body: how long each was waited for in seconds, and its bytes. Whether all were fast enough.
    fn paced(rate: u32, parts: &[(u64, u64)]) -> bool {
        let start = Instant::now();
        let mut seconds = 0;
        let mut pace = Pace::new(rate, Duration::from_secs(30));
        parts.iter().all(|(wait, bytes)| {
            if *wait > 0 {
                pace.awaited(|| start + Duration::from_secs(seconds));
                // Asking again is no new turn.
                pace.awaited(|| start + Duration::from_secs(seconds + wait / 2));
            }
            seconds += wait;
            pace.arrived(*bytes, || start + Duration::from_secs(seconds))
        })
    }

    #[test]
    fn bodies_have_a_pace() {
        assert!(paced(100, &[(1, 1), (1, 1), (27, 1)]), "no window has passed");
        assert!(!paced(100, &[(1, 1), (1, 1), (28, 1)]));
        assert!(paced(100, &[(29, 2900), (1, 100)]));
        assert!(!paced(100, &[(29, 2900), (1, 99)]));
        assert!(paced(100, &[(0, 1), (0, 1)]), "what is there at once was not waited for");
        assert!(!paced(100, &[(30, 1_000_000), (30, 1)]), "each window for itself");
        assert!(paced(0, &[(30, 1), (30, 1)]), "no rate");
    }
}
