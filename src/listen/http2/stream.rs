//! One request of an HTTP/2 connection and its response, in a task of its own.

use super::sending::{Sending, Unsent};
use super::{body, response};
use crate::head::{Known, RequestHead, ResponseHead};
use crate::listen::connection::{Client, Connection};
use crate::listen::watch::{Busy, Order};
use crate::metrics::shard::Limit;
use crate::proxy::body::ResponseBody;
use crate::proxy::clock::Patience;
use crate::proxy::h1::framing::content_length;
use crate::proxy::h2::parts::Parts;
use crate::proxy::{self, RequestBody, error};
use ::h2::server::SendResponse;
use ::h2::{Reason, RecvStream};
use bytes::Bytes;
use http::{Method, Request};
use http_body::Body;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

/// A request under way. Its connection is busy until it ends.
pub(super) struct Stream {
    client: Rc<Client>,
    respond: SendResponse<Bytes>,
    busy: Busy,
}

impl Stream {
    /// Has a request answered.
    pub(super) fn begin(client: &Rc<Client>, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        let (head, stream) = request.into_parts();
        let head = RequestHead::from(head);
        let body = request_body(&head, stream);
        let busy = client.connection.open.begin(!body.is_end_stream());
        let stream = Self { client: Rc::clone(client), respond, busy };
        // Boxed at once: a task moves what it is made of several times, and this is large.
        tokio::task::spawn_local(Box::pin(stream.run(head, body)));
    }

    async fn run(mut self, head: RequestHead, body: RequestBody) {
        let Client { connection, peer } = &*self.client;
        let Connection { worker, open, turned_away, .. } = connection;
        let (head, mut body) = if *turned_away {
            open.give(Order::Drain);
            proxy::turn_away(worker, peer, &head)
        } else {
            // In a box of its own: its memory is free again when the body begins, and that may be long.
            let mut answer = Box::pin(proxy::handle(worker, peer, head, body));
            let answer = poll_fn(|cx| match answer.as_mut().poll(cx) {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                // The client may want it no more, or be gone: then nobody needs the origin's answer.
                Poll::Pending => self.respond.poll_reset(cx).map(|_| None),
            });
            match answer.await {
                Some(answer) => answer,
                None => return,
            }
        };
        let sent = self.send(head, &mut body).await;
        // What was handed over may not be written yet.
        if let Some(ticket) = body.take_ticket() {
            self.busy.unwritten(ticket);
        }
        if let Err(unsent) = sent {
            if matches!(unsent, Unsent::Stalled) {
                self.client.connection.worker.counters.limited(Limit::Write);
            }
            tracing::debug!(
                peer = %self.client.connection.address,
                error = error::chain(&unsent),
                "a response broke off"
            );
        }
    }

    /// Sends a response.
    async fn send(&mut self, head: ResponseHead, body: &mut ResponseBody) -> Result<(), Unsent> {
        let Connection { worker, limits, .. } = &self.client.connection;
        let ends = body.is_end_stream();
        let size = body.size_hint().exact().filter(|_| !ends);
        let head = response::head(&head, size, &mut worker.maps.borrow_mut());
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
        let mut sending = Sending::new(stream, body, Patience::new(&worker.clock, limits.write_timeout));
        poll_fn(|cx| sending.poll(cx)).await
    }
}

/// The body of a request. A tunnel has none, and none is granted.
fn request_body(head: &RequestHead, stream: RecvStream) -> RequestBody {
    if stream.is_end_stream() || head.method == Method::CONNECT {
        return RequestBody::Empty;
    }
    // The library has seen to it that there is one at most, and holds the body to it.
    let length = head.headers.all(Known::ContentLength).next();
    let length = length.and_then(|length| content_length(length.as_bytes()));
    RequestBody::incoming(body::RequestBody(Parts::new(stream, length)))
}
