//! One request of an HTTP/2 connection and its response, in a task of their own.

use super::request::{self, Continue};
use super::response;
use super::sending::{Sending, Unsent};
use crate::base::with_causes;
use crate::http::head::limits::HeadLimits;
use crate::http::head::{RequestHead, ResponseHead};
use crate::http::request_body::RequestBody;
use crate::http::timer::IdleTimeout;
use crate::listen::connection::{Client, Connection};
use crate::listen::watch::{Busy, Order};
use crate::metrics::shard::Limit;
use crate::proxy;
use crate::proxy::Interim;
use crate::proxy::body::ResponseBody;
use ::h2::server::SendResponse;
use ::h2::{Reason, RecvStream};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, ready};

/// A request in flight. Its connection is busy until the request ends.
pub(super) struct Stream {
    client: Rc<Client>,
    respond: SendResponse<Bytes>,
    busy: Busy,
}

impl Stream {
    /// Has a request answered.
    pub(super) fn begin(client: &Rc<Client>, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        let (head, stream) = request.into_parts();
        let head = request::head(head);
        let limits = &client.connection.limits;
        let limits = HeadLimits { fields: limits.request_headers, bytes: limits.request_header_bytes };
        let (body, asked) = request::body(&head, stream, limits);
        let busy = client.connection.open.begin(!body.is_end_stream());
        let stream = Self { client: Rc::clone(client), respond, busy };
        // Boxed at once: this future is large, and a task moves its parts several times.
        tokio::task::spawn_local(Box::pin(stream.run(head, body, asked)));
    }

    async fn run(mut self, head: RequestHead, body: RequestBody, asked: Continue) {
        let client = Rc::clone(&self.client);
        let ended = match self.answer(&client, head, body, asked).await {
            Ok((head, mut body)) => {
                let outlet = client.connection.open.outlet();
                let ticket = body.take_ticket().map(|ticket| ticket.leaves_by(outlet));
                let sent = self.send(head, &mut body).await;
                // The `h2` crate may not have written all of its bytes yet.
                if let Some(ticket) = ticket {
                    self.busy.unwritten(ticket);
                }
                sent
            }
            Err(unsent) => Err(unsent),
        };
        if let Err(unsent) = ended {
            if matches!(unsent, Unsent::Stalled) {
                client.connection.worker.counters.limited(Limit::Write);
            }
            tracing::debug!(
                peer = %client.connection.address,
                error = with_causes(&unsent),
                "a response broke off"
            );
        }
    }

    /// Returns the response to a request, unless the client cancels the request first.
    async fn answer(
        &mut self,
        Client { connection, peer }: &Client,
        head: RequestHead,
        body: RequestBody,
        asked: Continue,
    ) -> Result<(ResponseHead, ResponseBody), Unsent> {
        let Connection { worker, open, turned_away, .. } = connection;
        if *turned_away {
            open.give(Order::Drain);
            return Ok(proxy::turn_away(worker, peer, &head));
        }
        // Boxed separately, so that its memory is free when the body begins, which may take long.
        let interim = Interim::default();
        let mut answer = Box::pin(proxy::handle(worker, peer, head, body, &interim));
        poll_fn(|cx| {
            let answer = answer.as_mut().poll(cx);
            for head in interim.take().into_iter().flatten() {
                // If the `h2` crate refuses an interim response, it is left out.
                let head = response::interim(head, &mut worker.maps.borrow_mut());
                let _ = self.respond.send_informational(head);
            }
            if let Poll::Ready(answer) = answer {
                return Poll::Ready(Ok(answer));
            }
            if asked.as_ref().is_some_and(|asked| asked.take()) {
                self.respond.send_informational(go_on())?;
            }
            // The client may have cancelled the request or be gone, and then needs no response from the origin.
            let reset = ready!(self.respond.poll_reset(cx))?;
            Poll::Ready(Err(Unsent::Http2(reset.into())))
        })
        .await
    }

    /// Sends a response.
    async fn send(&mut self, head: ResponseHead, body: &mut ResponseBody) -> Result<(), Unsent> {
        let Connection { worker, limits, .. } = &self.client.connection;
        let ends = body.is_end_stream();
        let size = body.size_hint().exact().filter(|_| !ends);
        let head = response::head(head, size, &mut worker.maps.borrow_mut());
        let stream = match self.respond.send_response(head, ends) {
            Ok(stream) => stream,
            Err(error) => {
                self.respond.send_reset(Reason::INTERNAL_ERROR);
                return Err(Unsent::Http2(error));
            }
        };
        if ends {
            return Ok(());
        }
        let mut sending = Sending::new(stream, body, IdleTimeout::new(&worker.clock, limits.write_timeout));
        poll_fn(|cx| sending.poll(cx)).await
    }
}

/// The interim response that a client waits for after `Expect: 100-continue`.
fn go_on() -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::CONTINUE;
    response
}
