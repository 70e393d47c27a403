//! `GET /v1/events`: one listener, from its first event to its last.

use super::health::healths;
use super::{Event, HealthEvent, LaggedEvent, frame};
use crate::admin::caller::Caller;
use crate::admin::limits::{STREAMS, STREAMS_PER_ADDRESS, STREAMS_PER_TOKEN};
use crate::admin::problem::{Kind, Problem};
use crate::admin::shares::{Full, Share, Who};
use crate::admin::state::State;
use crate::config::Scope;
use axum::body::{Body, Bytes};
use axum::extract;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use http_body::Frame;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// The number of events on their way to one client; further ones wait in the ring.
const UNDER_WAY: usize = 16;
/// The time without an event after which a comment is sent, so that no intermediary takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// `GET /v1/events`
pub(in crate::admin) async fn events(
    extract::State(state): extract::State<Arc<State>>,
    extract::Extension(caller): extract::Extension<Caller>,
) -> Result<Response, Problem> {
    let place = state.limits.streams.take(Who::is(&caller)).map_err(|full| {
        let detail = match full {
            Full::Token => {
                format!("{STREAMS_PER_TOKEN} clients listen with token `{}` already.", caller.name())
            }
            Full::Address => format!("{STREAMS_PER_ADDRESS} clients listen from this address already."),
            Full::All => format!("{STREAMS} clients listen already."),
        };
        Problem::new(Kind::TooMany, detail)
    })?;
    // Earlier listeners get the current health now, as the new one does, so that the next change is the same for
    // all.
    let healths = healths(&state);
    state.events.healths(&healths);
    let (sender, frames) = mpsc::channel(UNDER_WAY);
    let listener = Listener { events: state.events.listen(), state, caller, healths, sender, _place: place };
    tokio::spawn(listener.run());
    let mut response = Response::new(Body::new(Frames(frames)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    Ok(response)
}

struct Listener {
    state: Arc<State>,
    caller: Caller,
    events: Receiver<Arc<Event>>,
    /// The health of every CDN when the listener connected.
    healths: Vec<HealthEvent>,
    sender: mpsc::Sender<Bytes>,
    _place: Share,
}

impl Listener {
    /// Runs until the client is gone, its token is not valid any more, or the process drains.
    async fn run(mut self) {
        let readiness = self.state.readiness.clone();
        tokio::select! {
            _ = self.tell_all() => {}
            () = readiness.draining() => {}
        }
    }

    async fn tell_all(&mut self) -> Option<()> {
        self.tell(Bytes::from_static(b"retry: 2000\n\n")).await?;
        for health in std::mem::take(&mut self.healths) {
            if self.caller.sees(&health.site) {
                self.tell(frame("health", &health)).await?;
            }
        }
        let mut told = Instant::now();
        loop {
            let next = tokio::select! {
                next = timeout_at(told + KEEP_ALIVE, self.events.recv()) => next,
                () = self.sender.closed() => return None,
            };
            // A stream may outlive a reload, but the rights of its token may not.
            self.caller = self.caller.renew(self.state.config.load_full())?;
            if !self.caller.may(Scope::Read) {
                return None;
            }
            match next {
                Err(_) => self.tell(Bytes::from_static(b": keep-alive\n\n")).await?,
                Ok(Ok(event)) if self.may_see(&event) => self.tell(event.frame.clone()).await?,
                // The event stays invisible to the caller, so the keep-alive must not be postponed either.
                Ok(Ok(_)) => continue,
                Ok(Err(RecvError::Lagged(missed))) => {
                    self.tell(frame("lagged", &LaggedEvent { missed })).await?;
                }
                Ok(Err(RecvError::Closed)) => return None,
            }
            told = Instant::now();
        }
    }

    fn may_see(&self, event: &Event) -> bool {
        match &event.site {
            Some(site) => self.caller.sees(site),
            None => self.caller.limited_to().is_none(),
        }
    }

    async fn tell(&self, frame: Bytes) -> Option<()> {
        self.sender.send(frame).await.ok()
    }
}

/// The body of the answer.
struct Frames(mpsc::Receiver<Bytes>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}
