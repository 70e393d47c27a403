//! One request and its response, driven by the task that waits for the response.

use super::body::{Reading, ResponseBody};
use super::connection::{Connection, Recycle};
use super::head::{Head, HeadReader};
use crate::http::h1::framing::Framing;
use crate::http::h1::sending::{Sending, Unsent};
use crate::http::head::ResponseHead;
use crate::upstream::bound_auth;
use crate::upstream::error::{Cause, ExchangeError, Phase};
use bytes::Bytes;
use http::StatusCode;
use http_body::Body;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite};

/// A request that is being sent while its response is waited for. Dropping it closes the connection.
///
/// There are no timeouts here: the caller decides with [`is_sent`](Self::is_sent) which one applies.
#[derive(Debug)]
#[must_use = "nothing is sent before it is polled"]
pub struct Exchange<IO, B, P> {
    /// `None` when the exchange has ended.
    parts: Option<(Connection<IO>, P)>,
    /// `None` when the request was written, or cannot be written any further.
    upload: Option<Sending<B>>,
    sent: bool,
    write_error: Option<Cause>,
    head: HeadReader,
    close_asked: bool,
    body_consumed: bool,
    response_started: bool,
}

impl<IO, B, P> Exchange<IO, B, P>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    P: Recycle<IO>,
{
    pub(super) fn new(
        connection: Connection<IO>,
        pool: P,
        (upload, close_asked): (Sending<B>, bool),
        head: HeadReader,
    ) -> Self {
        Self {
            close_asked,
            parts: Some((connection, pool)),
            upload: Some(upload),
            sent: false,
            write_error: None,
            head,
            body_consumed: false,
            response_started: false,
        }
    }

    /// Whether the request was written completely, so that the origin must answer next.
    pub fn is_sent(&self) -> bool {
        self.sent
    }

    /// Whether any part of the request's body was taken, so that the body cannot be sent again.
    pub fn body_consumed(&self) -> bool {
        self.body_consumed
    }

    /// Whether any byte of a response has arrived.
    pub fn response_started(&self) -> bool {
        self.response_started
    }

    /// Whether interim responses have arrived that were not taken.
    pub fn has_interim(&self) -> bool {
        self.head.has_interim()
    }

    /// Returns the interim responses that have arrived since the last call.
    pub fn take_interim(&mut self) -> Vec<ResponseHead> {
        self.head.take_interim()
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, Cause>> {
        let Some((connection, _)) = &mut self.parts else { return Poll::Pending };
        if let Some(upload) = &mut self.upload {
            let progress = upload.poll(cx, connection.io_mut());
            self.body_consumed = upload.consumed();
            match progress {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => {
                    self.sent = true;
                    if let Some(upload) = self.upload.take() {
                        connection.input().lend(upload.into_buffer());
                    }
                }
                // An origin may answer and close before it has read everything. Its answer then takes precedence
                // over the write error.
                Poll::Ready(Err(unsent @ (Unsent::Io(_) | Unsent::Closed))) => {
                    self.write_error = Some(unsent.into());
                    self.upload = None;
                }
                Poll::Ready(Err(unsent)) => return Poll::Ready(Err(unsent.into())),
            }
        }
        loop {
            if let Some(head) = connection.decode_head(&mut self.head).map_err(Cause::Head)? {
                return Poll::Ready(Ok(head));
            }
            let room = connection.input().usual_room();
            match ready!(connection.poll_fill(cx, room)) {
                Ok(0) => return Poll::Ready(Err(self.write_error.take().unwrap_or(Cause::Closed))),
                Ok(_) => self.response_started = true,
                Err(error) => return Poll::Ready(Err(self.write_error.take().unwrap_or(Cause::Io(error)))),
            }
        }
    }

    fn respond(
        &mut self,
        head: Head,
        connection: Connection<IO>,
        pool: P,
    ) -> (ResponseHead, ResponseBody<IO, B, P>) {
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return (head.into(), ResponseBody::switched(connection));
        }
        // If the response begins before the end of the request, the state of the connection is uncertain.
        let reusable = head.persistent
            && head.framing != Framing::Close
            && self.sent
            && !self.close_asked
            && !bound_auth::is_in_response(head.status, &head.headers);
        // An origin that answers with an error does not want the rest. One that answers with success may still be
        // reading.
        let upload = self.upload.take().filter(|_| head.status.is_success()).map(Box::new);
        let body = Reading::new(connection, pool, (head.framing, self.head.limits()), reusable);
        (head.into(), ResponseBody::new(body, upload))
    }

    fn error(&self, connection: &Connection<IO>, cause: Cause) -> ExchangeError {
        ExchangeError {
            phase: if self.sent { Phase::Head } else { Phase::Request },
            reused: connection.is_reused(),
            body_consumed: self.body_consumed,
            response_started: self.response_started,
            cause,
        }
    }
}

impl<IO, B, P> Future for Exchange<IO, B, P>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    P: Recycle<IO> + Unpin,
{
    type Output = Result<(ResponseHead, ResponseBody<IO, B, P>), ExchangeError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let head = ready!(this.poll_head(cx));
        let Some((connection, pool)) = this.parts.take() else { return Poll::Pending };
        Poll::Ready(match head {
            Ok(head) => Ok(this.respond(head, connection, pool)),
            Err(cause) => Err(this.error(&connection, cause)),
        })
    }
}

impl From<Head> for ResponseHead {
    fn from(head: Head) -> Self {
        let Head { status, reason, headers, .. } = head;
        Self { status, reason, headers }
    }
}
