//! Liveness of the peer of a connection, checked by PING with a time limit for the answer.

use crate::http::timer::{Clock, IdleTimeout};
use ::h2::{Ping, PingPong};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// The reason why a connection ended or never began.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// The peer does not send valid HTTP/2, or the connection failed.
    #[error("the HTTP/2 connection failed")]
    Http2(#[from] ::h2::Error),
    /// The peer closed the connection before it had begun.
    #[error("the other end closed the connection")]
    Closed,
    /// The peer does not answer a PING.
    #[error("the other end does not answer PING")]
    Silent,
}

/// The PINGs of a connection, one at a time.
pub struct Pings {
    pings: PingPong,
    /// Whether a PING is in flight.
    asked: bool,
    idle_timeout: IdleTimeout,
}

impl Pings {
    /// Creates the PINGs of a connection: one after this long a silence, with the same time for the answer.
    pub fn new(pings: PingPong, clock: &Rc<Clock>, silence: Duration) -> Self {
        Self { pings, asked: false, idle_timeout: IdleTimeout::new(clock, silence) }
    }

    /// Sends a PING now. The connection has to be polled for it to leave.
    ///
    /// # Errors
    /// Returns an error if the connection accepts no more PINGs.
    pub fn ask(&mut self) -> Result<(), Lost> {
        self.pings.send_ping(Ping::opaque())?;
        self.asked = true;
        self.idle_timeout.reset();
        Ok(())
    }

    /// Whether an answer is outstanding.
    pub fn is_asked(&self) -> bool {
        self.asked
    }

    /// Waits for the answer.
    pub fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        ready!(self.pings.poll_pong(cx))?;
        self.asked = false;
        self.idle_timeout.reset();
        Poll::Ready(Ok(()))
    }

    /// Postpones the next PING because the peer has shown activity. A PING in flight must still be answered.
    pub fn excuse(&mut self) {
        if !self.asked {
            self.idle_timeout.reset();
        }
    }

    /// Sends a PING when it is due. Ready after it was sent, so that the connection has to be polled, or when the
    /// peer is lost.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        if self.asked
            && let Poll::Ready(answer) = self.poll_answer(cx)
        {
            answer?;
        }
        ready!(self.idle_timeout.poll_expired(cx));
        if self.asked {
            return Poll::Ready(Err(Lost::Silent));
        }
        Poll::Ready(self.ask())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::h2::{client, server};
    use bytes::Bytes;
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::time::Instant;
    use tokio::io::{DuplexStream, duplex};

    const SILENCE: Duration = Duration::from_secs(20);

    /// A server that checks its client. The client answers as long as it exists.
    struct Case {
        start: Instant,
        clock: Rc<Clock>,
        server: server::Connection<DuplexStream, Bytes>,
        pings: Pings,
        client: Option<client::Connection<DuplexStream, Bytes>>,
        _sender: client::SendRequest<Bytes>,
    }

    impl Case {
        async fn new() -> Self {
            let (ours, theirs) = duplex(64 * 1024);
            let (server, client) = tokio::join!(server::handshake(ours), client::handshake(theirs));
            let ((sender, client), mut server) = (client.unwrap(), server.unwrap());
            let start = Instant::now();
            let clock = Clock::new(start);
            let pings = Pings::new(server.ping_pong().unwrap(), &clock, SILENCE);
            Self { start, clock, server, pings, client: Some(client), _sender: sender }
        }

        /// Advances the clock to this second. Returns whether a PING is outstanding, or an error if the client is
        /// lost.
        async fn at(&mut self, seconds: u64) -> Result<bool, ()> {
            self.clock.tick(self.start + Duration::from_secs(seconds));
            for _ in 0..10 {
                let turn = poll_fn(|cx| {
                    if let Some(client) = &mut self.client {
                        assert!(Pin::new(client).poll(cx).is_pending());
                    }
                    assert!(self.server.poll_closed(cx).is_pending());
                    Poll::Ready(match self.pings.poll(cx) {
                        Poll::Ready(Err(_)) => Err(()),
                        Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
                    })
                });
                turn.await?;
            }
            Ok(self.pings.is_asked())
        }
    }

    #[tokio::test]
    async fn who_answers_is_asked_again_and_again() {
        let mut case = Case::new().await;
        for round in 1..10 {
            assert_eq!(case.at(round * 21 - 2).await, Ok(false));
            assert_eq!(case.at(round * 21).await, Ok(false), "asked, and answered");
        }
    }

    #[tokio::test]
    async fn who_does_not_answer_is_lost() {
        let mut case = Case::new().await;
        let away = case.client.take();
        assert_eq!(case.at(0).await, Ok(false));
        assert_eq!(case.at(20).await, Ok(false));
        assert_eq!(case.at(21).await, Ok(true));
        // Activity does not replace the answer.
        case.pings.excuse();
        assert_eq!(case.at(41).await, Ok(true));
        assert_eq!(case.at(42).await, Err(()));
        drop(away);
    }

    #[tokio::test]
    async fn who_is_heard_is_not_asked() {
        let mut case = Case::new().await;
        let away = case.client.take();
        for round in 0..10 {
            assert_eq!(case.at(round * 15).await, Ok(false));
            case.pings.excuse();
            assert_eq!(case.at(round * 15).await, Ok(false));
        }
        assert_eq!(case.at(9 * 15 + 20).await, Ok(false));
        assert_eq!(case.at(9 * 15 + 21).await, Ok(true));
        drop(away);
    }
}
