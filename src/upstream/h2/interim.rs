//! The interim responses of one stream (RFC 9113 §8.1). The library keeps every one that comes until it is asked for, so they
//! are taken and bounded here whether anybody wants them or not.

use crate::http::h2::parts::measure;
use crate::http::head::ResponseHead;
use crate::http::head::limits::{HeadError, HeadLimits, MAX_INTERIM};
use ::h2::client::ResponseFuture;
use http::StatusCode;
use std::task::{Context, Poll};

/// Those that have come, and what may still come.
#[derive(Debug)]
pub(super) struct Interim {
    wanted: bool,
    count: u8,
    /// What is left for all of them.
    limits: HeadLimits,
    kept: Vec<ResponseHead>,
}

impl Interim {
    pub(super) fn new(wanted: bool, limits: HeadLimits) -> Self {
        Self { wanted, count: 0, limits, kept: Vec::new() }
    }

    /// Whether any has come.
    pub(super) fn has_come(&self) -> bool {
        self.count > 0
    }

    /// Whether any has come that was not taken.
    pub(super) fn is_any_left(&self) -> bool {
        !self.kept.is_empty()
    }

    /// Those that have arrived since this was asked before, but for 100: that answers an expectation, and we forward none
    /// (RFC 9110 §10.1.1).
    pub(super) fn take(&mut self) -> Vec<ResponseHead> {
        std::mem::take(&mut self.kept)
    }

    /// Takes those that are there. What else may have become of the stream, its final response tells.
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
                let headers = parts.headers.into();
                self.kept.push(ResponseHead { status: parts.status, reason: None, headers });
            }
        }
        Ok(())
    }
}
