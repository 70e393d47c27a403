//! The interim responses of one stream (RFC 9113 §8.1). The `h2` crate keeps each of them until it is taken. So they
//! are taken and bounded here, whether they are wanted or not.

use crate::http::h2::parts::measure;
use crate::http::head::limits::{HeadError, HeadLimits, MAX_INTERIM};
use crate::http::head::{Headers, ResponseHead};
use ::h2::client::ResponseFuture;
use http::StatusCode;
use std::task::{Context, Poll};

/// The interim responses that have arrived, and the limits for further ones.
#[derive(Debug)]
pub(super) struct Interim {
    wanted: bool,
    count: u8,
    /// The limits. The bytes are what is left for all further responses.
    limits: HeadLimits,
    kept: Vec<ResponseHead>,
}

impl Interim {
    pub(super) fn new(wanted: bool, limits: HeadLimits) -> Self {
        Self { wanted, count: 0, limits, kept: Vec::new() }
    }

    /// Whether any interim response has arrived.
    pub(super) fn has_come(&self) -> bool {
        self.count > 0
    }

    /// Whether interim responses have arrived that were not taken.
    pub(super) fn is_any_left(&self) -> bool {
        !self.kept.is_empty()
    }

    /// Returns the interim responses that have arrived since the last call. 100 is not among them, because it
    /// answers an expectation, and we forward none (RFC 9110 §10.1.1).
    pub(super) fn take(&mut self) -> Vec<ResponseHead> {
        std::mem::take(&mut self.kept)
    }

    /// Takes the interim responses that have arrived. A failure of the stream is reported with the final response.
    pub(super) fn poll(
        &mut self,
        response: &mut ResponseFuture,
        cx: &mut Context<'_>,
    ) -> Result<(), HeadError> {
        while let Poll::Ready(Some(Ok(interim))) = response.poll_informational(cx) {
            self.count += 1;
            if self.count > MAX_INTERIM {
                return Err(HeadError::TooManyInterim);
            }
            self.limits.bytes -= measure(interim.headers(), self.limits)?;
            if self.wanted && interim.status() != StatusCode::CONTINUE {
                let (parts, ()) = interim.into_parts();
                let headers = Headers::from(&parts.headers);
                self.kept.push(ResponseHead { status: parts.status, reason: None, headers });
            }
        }
        Ok(())
    }
}
