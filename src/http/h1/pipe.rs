//! Pipes through which the kernel moves bodies from socket to socket, without copies in this process (splice(2)).

use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};
use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

/// The smallest rest of a body for which a pipe is worth its system calls.
pub const MIN_SPLICED_BYTES: u64 = 32 * 1024;
/// The number of pipes of a worker. Each needs two file descriptors, and the kernel may hold half a megabyte in each.
/// Bodies that find none are copied.
pub const MOST: usize = 16;
/// The maximum number of bytes to ask for at a time. A pipe never holds as many.
const ALL: u64 = 1 << 20;

/// The pipes of one worker. Cloning is cheap and returns the same pipes.
#[derive(Clone, Debug, Default)]
pub struct Pipes(Rc<RefCell<Spare>>);

#[derive(Debug, Default)]
struct Spare {
    empty: Vec<Ends>,
    in_use: usize,
}

#[derive(Debug)]
struct Ends {
    read: OwnedFd,
    write: OwnedFd,
}

impl Pipes {
    /// Returns an empty pipe, unless too many are in use.
    pub fn take(&self) -> Option<Pipe> {
        let mut spare = self.0.borrow_mut();
        if spare.in_use == MOST {
            return None;
        }
        let ends = spare.empty.pop().or_else(|| {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
            Some(Ends { read, write })
        })?;
        spare.in_use += 1;
        Some(Pipe { ends: Some(ends), held: 0, pipes: self.clone() })
    }
}

/// A pipe in use.
#[derive(Debug)]
pub struct Pipe {
    /// `None` only while the pipe is dropped.
    ends: Option<Ends>,
    /// The number of bytes in the pipe.
    held: usize,
    pipes: Pipes,
}

impl Pipe {
    /// Whether there are no bytes in the pipe.
    pub fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Moves at most this many bytes from a socket into the pipe, which must be empty: a full pipe could not be told
    /// from a socket without bytes. A result of 0 means the end of the stream.
    ///
    /// # Errors
    /// Returns the error of the socket, `WouldBlock` if it has no bytes.
    pub fn fill(&mut self, socket: impl AsFd, most: u64) -> io::Result<usize> {
        debug_assert!(self.is_empty());
        self.held = self
            .splice(|ends, flags| splice(socket, None, &ends.write, None, most.min(ALL) as usize, flags))?;
        Ok(self.held)
    }

    /// Moves bytes from the pipe into a socket, and returns how many.
    ///
    /// # Errors
    /// Returns the error of the socket, `WouldBlock` if it has no room.
    pub fn drain(&mut self, socket: impl AsFd) -> io::Result<usize> {
        let held = self.held;
        let moved = self.splice(|ends, flags| splice(&ends.read, None, socket, None, held, flags))?;
        self.held -= moved;
        Ok(moved)
    }

    fn splice(
        &self,
        call: impl FnOnce(&Ends, SpliceFlags) -> rustix::io::Result<usize>,
    ) -> io::Result<usize> {
        let ends = self.ends.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        Ok(call(ends, SpliceFlags::MOVE | SpliceFlags::NONBLOCK)?)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let mut spare = self.pipes.0.borrow_mut();
        spare.in_use -= 1;
        // A pipe with bytes of one response must never serve another one.
        if self.held == 0 {
            spare.empty.extend(self.ends.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    #[test]
    fn bytes_pass_through_and_a_pipe_with_bytes_is_not_used_again() {
        let pipes = Pipes::default();
        let (mut sender, from) = UnixStream::pair().unwrap();
        let (to, mut receiver) = UnixStream::pair().unwrap();
        from.set_nonblocking(true).unwrap();
        let mut pipe = pipes.take().unwrap();
        assert_eq!(pipe.fill(&from, 9).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        sender.write_all(b"0123456789").unwrap();
        assert_eq!(pipe.fill(&from, 4).unwrap(), 4);
        assert_eq!(pipe.drain(&to).unwrap(), 4);
        assert!(pipe.is_empty());
        let mut read = [0; 4];
        receiver.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"0123");
        drop(pipe);
        assert_eq!(pipes.0.borrow().empty.len(), 1);

        let mut pipe = pipes.take().unwrap();
        assert_eq!(pipe.fill(&from, 9).unwrap(), 6);
        drop(pipe);
        assert_eq!((pipes.0.borrow().empty.len(), pipes.0.borrow().in_use), (0, 0));
        drop(sender);
        assert_eq!(pipes.take().unwrap().fill(&from, 9).unwrap(), 0, "the end of the stream");
    }

    #[test]
    fn there_are_only_so_many() {
        let pipes = Pipes::default();
        let mut taken: Vec<_> = (0..MOST).map(|_| pipes.take().unwrap()).collect();
        assert!(pipes.take().is_none());
        taken.pop();
        assert!(pipes.take().is_some());
    }
}
