//! Gathers all that an HTTP/2 connection writes in one turn, that is, in one poll of its task, into one write. The h2
//! crate flushes after every DATA frame, and each of these flushes would be a TLS record and a system call of its own.
//! The batch also prevents needless reads.

use bytes::{Buf, BytesMut};
use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most that is gathered: a full TLS record (RFC 8446 §5.1).
const ROOM: usize = 16 * 1024;

/// A stream that keeps written bytes until the end of a turn. Clones share one state: the connection of the `h2` crate
/// has one clone, and the task that drives the connection has the other.
#[derive(Debug)]
pub(super) struct Batch<S>(Rc<RefCell<Inner<S>>>);

#[derive(Debug)]
struct Inner<S> {
    stream: S,
    /// Usually empty between two turns, so that idle connections use no memory for it. Bytes remain only if the
    /// client does not take them.
    gathered: BytesMut,
    /// Whether a read in this turn has found nothing, so that there is nothing to read before the next turn. The `h2`
    /// crate tries to read again for every request.
    dry: bool,
}

impl<S> Clone for Batch<S> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<S: AsyncWrite + Unpin> Batch<S> {
    pub(super) fn new(stream: S) -> Self {
        Self(Rc::new(RefCell::new(Inner { stream, gathered: BytesMut::new(), dry: false })))
    }

    /// Runs a future that writes to this stream, and sends its output after each of its turns.
    ///
    /// # Errors
    ///
    /// Fails if the output cannot be sent.
    pub(super) async fn during<T>(&self, writer: impl Future<Output = T>) -> io::Result<T> {
        let mut writer = pin!(writer);
        poll_fn(|cx| {
            self.0.borrow_mut().dry = false;
            let result = writer.as_mut().poll(cx);
            match (result, self.0.borrow_mut().poll_send(cx)) {
                // The future has ended, so a failure no longer matters to anyone.
                (Poll::Ready(result), _) => Poll::Ready(Ok(result)),
                (Poll::Pending, Poll::Ready(Err(error))) => Poll::Ready(Err(error)),
                (Poll::Pending, _) => Poll::Pending,
            }
        })
        .await
    }
}

impl<S: AsyncWrite + Unpin> Inner<S> {
    /// Sends what was gathered and what the stream itself holds back.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.gathered.has_remaining() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.gathered))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.gathered.advance(sent),
            }
        }
        self.gathered = BytesMut::new();
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_gather(&mut self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let length = parts.iter().map(|part| part.len()).sum();
        if self.gathered.len() + length > ROOM {
            ready!(self.poll_send(cx))?;
        }
        if length > ROOM {
            return Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        }
        if self.gathered.is_empty() {
            self.gathered.reserve(ROOM);
        }
        parts.iter().for_each(|part| self.gathered.extend_from_slice(part));
        Poll::Ready(Ok(length))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Batch<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.borrow_mut();
        if inner.dry {
            return Poll::Pending;
        }
        let read = Pin::new(&mut inner.stream).poll_read(cx, buf);
        inner.dry = read.is_pending();
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Batch<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_gather(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_gather(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Sends nothing: [`Batch::during`] sends at the end of the turn.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.borrow_mut();
        ready!(inner.poll_send(cx))?;
        Pin::new(&mut inner.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    /// A batch into a pipe with room for `room` bytes, and the pipe's other end.
    fn batch(room: usize) -> (Batch<DuplexStream>, DuplexStream) {
        let (near, far) = tokio::io::duplex(room);
        (Batch::new(near), far)
    }

    fn arrived(far: &mut DuplexStream) -> Vec<u8> {
        let mut bytes = [0; 64 * 1024];
        let mut buf = ReadBuf::new(&mut bytes);
        let _ = Pin::new(far).poll_read(&mut Context::from_waker(Waker::noop()), &mut buf);
        buf.filled().to_vec()
    }

    #[tokio::test]
    async fn a_turns_writes_go_out_together_at_its_end() {
        let (batch, mut far) = batch(1024);
        let mut writer = batch.clone();
        let turn = async {
            for part in [b"one", b"two"] {
                writer.write_all(part).await.unwrap();
                writer.flush().await.unwrap();
            }
            arrived(&mut far)
        };
        assert_eq!(batch.during(turn).await.unwrap(), b"");
        assert_eq!(arrived(&mut far), b"onetwo");
        assert_eq!(batch.0.borrow().gathered.capacity(), 0);
    }

    #[tokio::test]
    async fn what_is_found_dry_is_not_read_again_in_the_same_turn() {
        let (batch, mut far) = batch(1024);
        let mut reader = batch.clone();
        let (mut turns, mut bytes) = (0, [0; 8]);
        let reading = batch.during(poll_fn(|cx| {
            turns += 1;
            let mut buf = ReadBuf::new(&mut bytes);
            let first = Pin::new(&mut reader).poll_read(cx, &mut buf);
            assert_eq!(first.is_pending(), turns == 1);
            let _ = Pin::new(&mut far).poll_write(cx, b"late");
            let again = Pin::new(&mut reader).poll_read(cx, &mut buf);
            if turns == 1 {
                assert!(again.is_pending());
                return Poll::Pending;
            }
            Poll::Ready(buf.filled().len())
        }));
        assert_eq!(reading.await.unwrap(), 8);
    }

    #[tokio::test]
    async fn whatever_the_sizes_every_byte_goes_out_in_its_order() {
        let (batch, mut far) = batch(1000);
        let sizes = [1, ROOM - 1, 1, 2, ROOM, ROOM + 1, 3 * ROOM, 5];
        let whole: Vec<u8> = (0..sizes.iter().sum::<usize>()).map(|n| (n % 251) as u8).collect();
        let mut writer = batch.clone();
        let mut left = whole.as_slice();
        let writing = batch.during(async move {
            for size in sizes {
                let (part, rest) = left.split_at(size);
                writer.write_all(part).await.unwrap();
                left = rest;
            }
            writer.shutdown().await.unwrap();
        });
        let mut read = Vec::new();
        let (written, _) = tokio::join!(writing, far.read_to_end(&mut read));
        written.unwrap();
        assert!(read == whole);
    }

    #[tokio::test]
    async fn what_cannot_be_sent_ends_it() {
        let (batch, far) = batch(8);
        drop(far);
        let mut writer = batch.clone();
        let failed = batch.during(async {
            writer.write_all(b"one").await.unwrap();
            std::future::pending::<()>().await;
        });
        assert_eq!(failed.await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
