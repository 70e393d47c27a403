//! An HTTP/1.1 connection. Requests are answered in order, each before the next one is read.
//!
//! [`request`] and [`response`] are pure and define the meaning of the bytes; `wire` reads and writes them.
//! Everything runs in the connection's own task. There is no channel, and only the connection itself is shared: an
//! origin may still take the body of a request from it while the response is written.

pub mod request;
pub mod response;
mod splice;
mod wire;

use super::connection::{Client, Connection};
use super::io::{Carrier, Io};
use super::watch::Order;
use crate::base::with_causes;
use crate::http::h1::framing::Framing;
use crate::http::h1::pipe::{Pipe, Pipes};
use crate::http::h1::sending::{Sending, Unsent};
use crate::http::head::ResponseHead;
use crate::http::request_body::RequestBody;
use crate::proxy;
use crate::proxy::Interim;
use crate::proxy::body::ResponseBody;
use crate::proxy::error::ProxyError;
use crate::upstream::{DownloadError, Tunnel};
use http::{Method, Version};
use http_body::Body;
use request::{HeadLimits, Request};
use response::{Asked, Written};
use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite};
use wire::{Unread, Wire, Writing};

/// The state of a connection after a response.
enum Next {
    /// Another request may come.
    Request,
    /// The last response is sent.
    Part,
    /// The client is gone, or it must not assume that the response is complete.
    Drop,
    /// The connection carries another protocol from now on.
    Tunnel(Tunnel),
}

impl Client {
    /// Serves the connection to its end.
    pub(super) async fn http1<S>(self, io: Io<S>)
    where
        S: AsyncRead + AsyncWrite + Carrier + Unpin + 'static,
    {
        let wire = Rc::new(RefCell::new(Wire::new(io, &self.connection.worker.scratch)));
        loop {
            let next = match self.next_request(&wire).await {
                Ok(Some(request)) => self.exchange(&wire, request).await,
                Ok(None) => return self.part(&wire).await,
                Err(Unread::Refused(refused)) => self.refuse(&wire, &refused).await,
                Err(Unread::Io(error)) => return self.connection.ended(&error),
            };
            match next {
                Next::Request if wire.borrow().has_more() => self.connection.open.received(),
                Next::Request => {}
                Next::Part => return self.part(&wire).await,
                Next::Drop => return,
                Next::Tunnel(tunnel) => {
                    // The request's body is gone, so nothing else holds the connection.
                    let Some(wire) = Rc::into_inner(wire) else { return };
                    let (io, early) = wire.into_inner().into_parts();
                    return Box::pin(self.carry(tunnel, io, early)).await;
                }
            }
        }
    }

    /// Reads the next request; `None` if the connection must end before one.
    async fn next_request<S>(&self, wire: &RefCell<Wire<S>>) -> Result<Option<Request>, Unread>
    where
        S: AsyncRead + AsyncWrite + Carrier + Unpin,
    {
        let Connection { open, limits, .. } = &self.connection;
        let limits = HeadLimits {
            fields: limits.request_headers,
            bytes: limits.request_header_bytes,
            target: limits.target_bytes,
        };
        poll_fn(|cx| {
            let mut wire = wire.borrow_mut();
            if let Poll::Ready(request) = wire.poll_request(cx, limits) {
                return Poll::Ready(request);
            }
            match open.poll_order(cx) {
                Order::Serve => Poll::Pending,
                // A request that is being received when the connection must end is still answered.
                Order::Drain if wire.has_begun() => Poll::Pending,
                Order::Drain | Order::Close => Poll::Ready(Ok(None)),
            }
        })
        .await
    }

    /// Answers one request.
    async fn exchange<S>(&self, wire: &Rc<RefCell<Wire<S>>>, request: Request) -> Next
    where
        S: AsyncRead + AsyncWrite + Carrier + Unpin + 'static,
    {
        let Connection { worker, open, turned_away, .. } = &self.connection;
        let Request { head, framing, persistent, .. } = request;
        let _busy = open.begin(framing != Framing::Empty);
        let asked = Asked { version: head.version, to_head: head.method == Method::HEAD, persistent };
        let answer = if *turned_away {
            proxy::turn_away(worker, &self.peer, &head)
        } else {
            let body = match framing {
                Framing::Empty => RequestBody::Empty,
                _ => RequestBody::incoming(wire::RequestBody(Rc::clone(wire))),
            };
            let interim = Interim::default();
            let mut answer = pin!(proxy::handle(worker, &self.peer, head, body, &interim));
            let answer = poll_fn(|cx| {
                let answer = answer.as_mut().poll(cx);
                if let Some(heads) = interim.take() {
                    wire.borrow_mut().inform(&heads);
                }
                match answer {
                    Poll::Ready(answer) => return Poll::Ready(Some(answer)),
                    Poll::Pending if open.poll_order(cx) == Order::Close => return Poll::Ready(None),
                    Poll::Pending => {}
                }
                let mut wire = wire.borrow_mut();
                match wire.poll_interim(cx) {
                    Poll::Ready(Err(_)) => Poll::Ready(None),
                    Poll::Ready(Ok(())) | Poll::Pending => wire.poll_gone(cx).map(|()| None),
                }
            });
            match answer.await {
                Some(answer) => answer,
                None => return Next::Drop,
            }
        };
        self.respond(wire, asked, answer).await
    }

    /// Answers bytes that are not a valid request.
    async fn refuse<S>(&self, wire: &RefCell<Wire<S>>, refused: &ProxyError) -> Next
    where
        S: AsyncRead + AsyncWrite + Carrier + Unpin,
    {
        let Connection { worker, open, .. } = &self.connection;
        let _busy = open.begin(true);
        let asked = Asked { version: Version::HTTP_11, to_head: false, persistent: false };
        let answer = proxy::refuse(worker, &self.peer, refused, &Method::GET, asked.version);
        self.respond(wire, asked, answer).await
    }

    /// Writes a response.
    async fn respond<S>(
        &self,
        wire: &RefCell<Wire<S>>,
        mut asked: Asked,
        (head, mut body): (ResponseHead, ResponseBody),
    ) -> Next
    where
        S: AsyncRead + AsyncWrite + Carrier + Unpin,
    {
        let open = &self.connection.open;
        let tunnel = body.take_tunnel();
        // The ticket ends when the last byte is written and flushed out of TLS.
        let _ticket = body.take_ticket().map(|ticket| ticket.leaves_by(open.outlet()));
        if open.is_ending() {
            asked.persistent = false;
            open.ends();
        }
        let mut out = wire.borrow().write_buffer();
        let Written { framing, persistent } =
            response::encode(&mut out, &head, asked, body.size_hint().exact());
        if asked.persistent && !persistent {
            open.ends();
        }
        let pipes = wire.borrow().is_plain().then_some(&self.connection.worker.pipes);
        let mut sending = Sending::new(out, framing, Some(body));
        let mut pipe = None;
        let sent = poll_fn(|cx| {
            let before = wire.borrow_mut().poll_interim(cx);
            let sent = match before {
                Poll::Ready(Ok(())) => send(cx, &mut sending, (pipes, &mut pipe), wire),
                Poll::Ready(Err(error)) => Poll::Ready(Err(Unsent::Io(error))),
                Poll::Pending => Poll::Pending,
            };
            match sent {
                Poll::Ready(sent) => return Poll::Ready(Some(sent)),
                Poll::Pending if open.poll_order(cx) == Order::Close => return Poll::Ready(None),
                Poll::Pending => {}
            }
            wire.borrow_mut().poll_gone(cx).map(|()| None)
        });
        match sent.await {
            Some(Ok(())) => {}
            None => return Next::Drop,
            Some(Err(unsent)) => {
                self.broke_off(unsent);
                return Next::Drop;
            }
        }
        wire.borrow().keep(sending.into_buffer());
        if let Some(tunnel) = tunnel {
            return Next::Tunnel(tunnel);
        }
        let ends = poll_fn(|cx| {
            let mut wire = wire.borrow_mut();
            let ends = !persistent || open.poll_order(cx) >= Order::Drain || !wire.end_request(cx);
            Poll::Ready(ends)
        });
        if ends.await { Next::Part } else { Next::Request }
    }

    fn broke_off<E: std::error::Error + 'static>(&self, unsent: Unsent<E>) {
        match unsent {
            Unsent::Io(error) => self.connection.ended(&error),
            Unsent::Closed => self.connection.ended(&"the connection takes no more bytes"),
            Unsent::Body(error) => self.connection.ended(&with_causes(&error)),
            Unsent::Length => self.connection.ended(&"the response is not as long as its Content-Length"),
        }
    }

    /// Ends the sending, and gives the client time to read everything before the connection is closed.
    async fn part<S>(&self, wire: &RefCell<Wire<S>>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if !self.connection.open.parting() && !self.connection.tls {
            // The client learns of the end when the socket is closed, so a shutdown before that would be a needless
            // system call.
            return;
        }
        poll_fn(|cx| match wire.borrow_mut().poll_shutdown(cx) {
            Poll::Pending if self.connection.open.poll_order(cx) < Order::Close => Poll::Pending,
            Poll::Pending | Poll::Ready(_) => Poll::Ready(()),
        })
        .await;
    }
}

/// Sends a response, the rest of a large body by the kernel where that is possible.
fn send<S>(
    cx: &mut Context<'_>,
    sending: &mut Sending<ResponseBody>,
    (pipes, pipe): (Option<&Pipes>, &mut Option<Pipe>),
    wire: &RefCell<Wire<S>>,
) -> Poll<Result<(), Unsent<DownloadError>>>
where
    S: AsyncRead + AsyncWrite + Carrier + Unpin,
{
    if let Some(pipes) = pipes {
        if pipe.is_none() {
            ready!(sending.poll_until(cx, &mut Writing(wire), splice::is_worth_it))?;
            if sending.body().is_none() {
                return Poll::Ready(Ok(()));
            }
        }
        ready!(splice::poll(cx, sending, (pipes, pipe), wire))?;
    }
    sending.poll(cx, &mut Writing(wire))
}
