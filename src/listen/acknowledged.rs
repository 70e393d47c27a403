//! Reads from the kernel what became of the bytes sent to a client (`TCP_INFO`). `SIOCOUTQ` would return how many
//! bytes are left, but not since when there are none. A response would then count as arrived only when a purge asks
//! for the first time, so every page that was served before would have to be purged twice.

use crate::guard::in_flight::outlet::Sent;
use std::os::fd::BorrowedFd;

/// The number of bytes of the kernel's answer that are read. The answer has only ever grown at its end.
const LENGTH: usize = 140;
/// The offsets of the fields: the state of the connection, the milliseconds since the last acknowledgement, the
/// number of acknowledged bytes (since Linux 4.1), and the number of segments sent.
const STATE: usize = 0;
const QUIET: usize = 56;
const ACKNOWLEDGED: usize = 120;
const SEGMENTS: usize = 136;

/// The state of a closed connection.
const CLOSED: u8 = 7;

/// Returns the state of a connection to which bytes were given; `None` if the kernel does not report it.
pub(super) fn ask(socket: BorrowedFd<'_>) -> Option<Sent> {
    sent(&info(socket)?)
}

fn sent(info: &[u8; LENGTH]) -> Option<Sent> {
    let number = |at: usize| info[at..].first_chunk().copied().map(u32::from_ne_bytes);
    // A connection that was given bytes has sent a segment. A kernel that reports otherwise (gVisor's) cannot be
    // trusted.
    if number(SEGMENTS)? == 0 {
        return None;
    }
    Some(Sent {
        acknowledged: u64::from_ne_bytes(*info[ACKNOWLEDGED..].first_chunk()?),
        quiet_ms: number(QUIET)?.into(),
        over: info[STATE] == CLOSED,
    })
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no crate that we use has a safe function for TCP_INFO, nor for SIOCOUTQ")]
fn info(socket: BorrowedFd<'_>) -> Option<[u8; LENGTH]> {
    use std::os::fd::AsRawFd;

    let mut info = [0; LENGTH];
    let mut length = LENGTH as libc::socklen_t;
    // SAFETY: the descriptor is open because it is borrowed. The kernel writes at most `length` bytes to `info`,
    // which is the size of `info`, and any bytes are valid there. It writes their number to `length`. It keeps
    // neither pointer.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    (result == 0 && length as usize == LENGTH).then_some(info)
}

/// Other systems have no such interface here.
#[cfg(not(target_os = "linux"))]
fn info(_: BorrowedFd<'_>) -> Option<[u8; LENGTH]> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    /// Returns a connection's server end and client end.
    fn accepted() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener.accept().unwrap().0, client)
    }

    #[track_caller]
    fn until(stream: &TcpStream, what: impl Fn(Sent) -> bool) -> Sent {
        let since = Instant::now();
        loop {
            let sent = ask(stream.as_fd()).unwrap();
            if what(sent) {
                return sent;
            }
            assert!(since.elapsed() < Duration::from_secs(10), "{sent:?}");
            sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn every_byte_is_counted_and_nothing_else() {
        let (mut server, mut client) = accepted();
        server.write_all(&[0; 1_000]).unwrap();
        let sent = until(&server, |sent| sent.acknowledged == 1_000);
        assert!(!sent.over);
        sleep(Duration::from_millis(100));
        assert!((90..2_000).contains(&until(&server, |_| true).quiet_ms));
        // Bytes from the client do not count as acknowledged bytes of ours.
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
        assert_eq!(until(&server, |_| true).acknowledged, 1_000);
        // A client that is gone resets what still arrives.
        drop(client);
        until(&server, |sent| {
            let _ = (&server).write(b"to nobody");
            sent.over
        });
    }

    #[test]
    fn what_the_client_does_not_read_is_not_acknowledged() {
        let (server, mut client) = accepted();
        server.set_nonblocking(true).unwrap();
        let mut given = 0;
        while let Ok(n) = (&server).write(&[0; 64 * 1024]) {
            given += n as u64;
        }
        sleep(Duration::from_millis(50));
        let before = until(&server, |_| true);
        assert!(before.acknowledged < given, "{before:?} of {given}");
        client.read_exact(&mut vec![0; given as usize]).unwrap();
        assert_eq!(until(&server, |sent| sent.acknowledged >= given).acknowledged, given);
    }

    #[test]
    fn an_answer_that_cannot_be_believed_is_none() {
        let mut info = [0; LENGTH];
        info[ACKNOWLEDGED] = 5;
        assert_eq!(sent(&info), None);
        info[SEGMENTS] = 1;
        info[QUIET] = 7;
        assert_eq!(sent(&info), Some(Sent { acknowledged: 5, quiet_ms: 7, over: false }));
        info[STATE] = CLOSED;
        assert!(sent(&info).unwrap().over);
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(ask(file.as_fd()), None);
    }
}
