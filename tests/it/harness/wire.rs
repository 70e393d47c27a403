//! HTTP/1 on raw TCP, so that a test sees bytes and not what a library makes of them. Every read has a time limit: a
//! test that would hang fails instead.

use socket2::{Domain, Socket, Type};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// The time limit of each read.
pub const LIMIT: Duration = Duration::from_secs(20);

/// One end of a connection.
pub struct Wire {
    reader: BufReader<TcpStream>,
}

impl Wire {
    pub fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { reader: BufReader::new(stream) }
    }

    pub fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).unwrap())
    }

    /// Writes the bytes. The next read notices it if the peer is gone.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.reader.get_mut().write_all(bytes.as_ref());
    }

    /// Writes the bytes. Returns false if the peer takes none any more.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.reader.get_mut().write_all(bytes).is_ok()
    }

    /// A handle of the same connection, to write from another thread.
    pub fn another_end(&self) -> TcpStream {
        self.reader.get_ref().try_clone().unwrap()
    }

    /// Reads a head with its empty line, or everything up to the end of the connection.
    pub fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match self.reader.read_until(b'\n', &mut head) {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        String::from_utf8(head).unwrap()
    }

    /// Reads some bytes. Returns none at the end of the connection.
    pub fn some(&mut self) -> Option<Vec<u8>> {
        let bytes = self.reader.fill_buf().unwrap_or_default().to_vec();
        self.reader.consume(bytes.len());
        (!bytes.is_empty()).then_some(bytes)
    }

    /// Returns true if bytes can be read now.
    pub fn has_more(&mut self) -> bool {
        if !self.reader.buffer().is_empty() {
            return true;
        }
        let stream = self.reader.get_ref();
        stream.set_nonblocking(true).unwrap();
        let more = stream.peek(&mut [0]).is_ok_and(|n| n > 0);
        stream.set_nonblocking(false).unwrap();
        more
    }

    pub fn exactly(&mut self, n: usize) -> String {
        let mut bytes = vec![0; n];
        self.reader.read_exact(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        line
    }

    /// Reads one chunk and returns its data, which is empty at the end of the body.
    pub fn chunk(&mut self) -> String {
        let size = usize::from_str_radix(self.line().trim(), 16).unwrap();
        let data = self.exactly(size);
        assert_eq!(self.line(), "\r\n");
        data
    }

    /// Reads a body as `head` delimits it.
    pub fn body(&mut self, head: &str) -> String {
        if let Some(length) = header(head, "content-length") {
            return self.exactly(length.parse().unwrap());
        }
        let mut body = String::new();
        if header(head, "transfer-encoding").is_some() {
            loop {
                match self.chunk() {
                    chunk if chunk.is_empty() => break,
                    chunk => body.push_str(&chunk),
                }
            }
        }
        body
    }

    /// Reads everything up to the end of the connection. A reset is an end, too.
    pub fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        match self.reader.read_to_end(&mut rest) {
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock) => panic!("still open"),
            _ => String::from_utf8(rest).unwrap(),
        }
    }

    /// Reads the head and the body of a response.
    pub fn response(&mut self) -> (String, String) {
        let head = self.head();
        let body = self.body(&head);
        (head, body)
    }

    pub fn request(&mut self, request: &str) -> (String, String) {
        self.send(request);
        self.response()
    }

    pub fn shutdown(&mut self) {
        let _ = self.reader.get_mut().shutdown(Shutdown::Both);
    }
}

/// The value of a header in the text of a head.
pub fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().skip(1).find_map(|line| {
        let (n, value) = line.split_once(':')?;
        n.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

pub fn status(head: &str) -> u16 {
    head.split(' ').nth(1).unwrap_or_else(|| panic!("no status in {head:?}")).parse().unwrap()
}

/// A GET of this path for the host `www.example.com`.
pub fn get(path: &str) -> String {
    get_with(path, "")
}

/// As [`get`], with more header lines, each with its line end.
pub fn get_with(path: &str, lines: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: www.example.com\r\n{lines}\r\n")
}

/// An address where nobody listens. Its port stays bound until the tests end, so that nobody else gets it.
pub fn nowhere() -> SocketAddr {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    std::mem::forget(socket);
    address
}
