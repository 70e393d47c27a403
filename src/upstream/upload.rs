//! A client's body on its way to an origin: streamed frame by frame, with limits on its length, on the time until
//! its next part, and on its rate.

use crate::config::Limits;
use crate::http::request_body::{BoxError, RequestBody};
use crate::http::timer::{Clock, IdleTimeout};
use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use http_body::{Body, Frame, SizeHint};
use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// The reasons why a client's body did not arrive completely.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// No part of the body arrived for too long.
    #[error("it stalled")]
    Stalled,
    /// Too little of the body arrived for too long.
    #[error("it is too slow")]
    TooSlow,
    /// The body is longer than the limit.
    #[error("it is too large")]
    TooLarge,
    /// The client disconnected, or the body's framing is broken.
    #[error("it cannot be read")]
    Client(#[source] BoxError),
}

/// The progress of a client's body, for the code that waits for the origin meanwhile.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Whether the next part has not arrived, so that the client must send next.
    pub(super) awaited: Cell<bool>,
    /// The number of parts that were handed on.
    pub(super) parts: Cell<u64>,
}

/// Selects the trailers of a request that are forwarded to its origin. Also receives the names that `Connection`
/// nominates.
pub type TrailerFilter = fn(HeaderMap, &[HeaderName]) -> Option<HeaderMap>;

/// A client's body on its way to an origin.
#[derive(Debug)]
pub struct Upload {
    incoming: Metered,
    idle_timeout: IdleTimeout,
    progress: Rc<Progress>,
    /// The names that `Connection` nominates.
    nominated: Vec<HeaderName>,
    filter: TrailerFilter,
}

impl Upload {
    /// Creates the body of a request under these limits. Returns `None` if it has no body. `filter` selects the
    /// trailers that are forwarded, and receives the names that `Connection` nominates.
    pub fn new(
        incoming: RequestBody,
        clock: &Rc<Clock>,
        limits: &Limits,
        (nominated, filter): (&[HeaderName], TrailerFilter),
    ) -> Option<Self> {
        (!incoming.is_end_stream()).then(|| Self {
            incoming: Metered::new(incoming, limits),
            idle_timeout: IdleTimeout::new(clock, limits.body_timeout),
            progress: Rc::default(),
            nominated: nominated.to_vec(),
            filter,
        })
    }

    /// Returns the progress of the body.
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
                ready!(this.idle_timeout.poll_expired(cx));
                return Poll::Ready(Some(Err(UploadError::Stalled)));
            }
        };
        this.idle_timeout.reset();
        this.progress.awaited.set(false);
        this.progress.parts.set(this.progress.parts.get() + 1);
        Poll::Ready(match frame {
            Some(Ok(frame)) => match frame.into_trailers() {
                // Trailers end the body even if none of them is forwarded.
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
        // The client is not waited for any more.
        self.progress.awaited.set(false);
    }
}

/// A client's body that fails when it breaks a limit.
#[derive(Debug)]
struct Metered {
    incoming: RequestBody,
    /// The number of bytes that may still come, if that is limited.
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

/// Enforces a minimum rate on a body, over windows of waiting time. Time in which the origin accepted nothing is
/// not charged to the client. Fast parts before do not excuse slow ones now.
#[derive(Debug)]
struct Pace {
    /// Bytes per second, or 0 for any rate.
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

    /// Records that the client must send next.
    fn awaited(&mut self, now: impl Fn() -> Instant) {
        if self.rate > 0 && self.since.is_none() {
            self.since = Some(now());
        }
    }

    /// Records that bytes have arrived. Returns whether they came fast enough.
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

    /// Whether all parts of a body were fast enough, given the seconds of waiting for each part and its bytes.
    fn paced(rate: u32, parts: &[(u64, u64)]) -> bool {
        let start = Instant::now();
        let mut seconds = 0;
        let mut pace = Pace::new(rate, Duration::from_secs(30));
        parts.iter().all(|(wait, bytes)| {
            if *wait > 0 {
                pace.awaited(|| start + Duration::from_secs(seconds));
                // Polling again does not restart the waiting time.
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
