//! Whether the other end of a connection is still there: it is asked (PING), and has a while to answer.

use super::Lost;
use crate::proxy::clock::{Clock, Patience};
use ::h2::{Ping, PingPong};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// The questions of a connection, one at a time.
pub struct Pings {
    pings: PingPong,
    /// One is under way.
    asked: bool,
    patience: Patience,
}

impl Pings {
    /// The other end is asked after so long a silence, and has as long to answer.
    pub fn new(pings: PingPong, clock: &Rc<Clock>, silence: Duration) -> Self {
        Self { pings, asked: false, patience: Patience::new(clock, silence) }
    }

    /// Asks now. The connection has to be polled for the question to leave.
    ///
    /// # Errors
    /// When the connection takes none any more.
    pub fn ask(&mut self) -> Result<(), Lost> {
        self.pings.send_ping(Ping::opaque())?;
        self.asked = true;
        self.patience.rewarded();
        Ok(())
    }

    /// Whether an answer is being waited for.
    pub fn is_asked(&self) -> bool {
        self.asked
    }

    /// Waits for the answer.
    pub fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        ready!(self.pings.poll_pong(cx))?;
        self.asked = false;
        self.patience.rewarded();
        Poll::Ready(Ok(()))
    }

    /// There is no reason to ask for a while. What was asked is to be answered all the same.
    pub fn excuse(&mut self) {
        if !self.asked {
            self.patience.rewarded();
        }
    }

    /// Asks when it is time to. Ready when that was done, so that the connection has to be polled, or when the other end is
    /// lost.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        if self.asked
            && let Poll::Ready(answer) = self.poll_answer(cx)
        {
            answer?;
        }
        ready!(self.patience.poll_lost(cx));
        if self.asked {
            return Poll::Ready(Err(Lost::Silent));
        }
        Poll::Ready(self.ask())
    }
}
