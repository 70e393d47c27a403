//! A peer that writes HTTP/2 frame by frame, including frames that no real peer writes. It can be a client or an
//! origin.

use super::wire::LIMIT;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 0x1;
pub const ACK: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;

/// The bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

pub type Headers = Vec<(&'static str, String)>;

/// The pseudo-headers of a request.
pub fn request(method: &str, path: &str, authority: &str) -> Headers {
    vec![
        (":method", method.to_owned()),
        (":scheme", "http".to_owned()),
        (":path", path.to_owned()),
        (":authority", authority.to_owned()),
    ]
}

/// A header block of literals without indexing and without Huffman coding (RFC 7541 §6.2.2).
pub fn block(headers: &Headers) -> Vec<u8> {
    let mut bytes = vec![];
    for (name, value) in headers {
        bytes.push(0);
        for text in [name.as_bytes(), value.as_bytes()] {
            integer(&mut bytes, text.len());
            bytes.extend(text);
        }
    }
    bytes
}

/// RFC 7541 §5.1, with a prefix of 7 bits.
fn integer(bytes: &mut Vec<u8>, mut n: usize) {
    if n < 127 {
        return bytes.push(n as u8);
    }
    bytes.push(127);
    n -= 127;
    while n >= 128 {
        bytes.push((n % 128 + 128) as u8);
        n /= 128;
    }
    bytes.push(n as u8);
}

/// A received frame.
#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// The transport of a connection.
pub trait Wired: Read + Write {
    /// Ends the connection.
    fn shutdown(&self) -> bool;
}

impl Wired for TcpStream {
    fn shutdown(&self) -> bool {
        TcpStream::shutdown(self, std::net::Shutdown::Both).is_ok()
    }
}

impl Wired for rustls::StreamOwned<rustls::ServerConnection, TcpStream> {
    fn shutdown(&self) -> bool {
        Wired::shutdown(&self.sock)
    }
}

impl Wired for rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
    fn shutdown(&self) -> bool {
        Wired::shutdown(&self.sock)
    }
}

/// One end of a connection.
pub struct Client {
    stream: Box<dyn Wired>,
    frames: HashMap<u32, Vec<Frame>>,
}

impl Client {
    /// Connects, and sends the preface and settings. They permit no table for header compression, so that each block
    /// can be read by itself.
    pub fn connect(address: SocketAddr) -> Self {
        Self::with_settings(address, &[0, 1, 0, 0, 0, 0])
    }

    /// As [`Self::connect`], with these settings.
    pub fn with_settings(address: SocketAddr, settings: &[u8]) -> Self {
        let mut client = Self::silent(address);
        client.send([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, settings)].concat());
        client
    }

    /// Connects, and sends nothing yet.
    pub fn silent(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream)
    }

    /// The side of the server of a connection, with these settings. Reads the preface of the client first.
    pub fn serving(stream: TcpStream, settings: &[u8]) -> Self {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut stream = stream;
        let mut preface = [0; 24];
        let _ = stream.read_exact(&mut preface);
        let mut server = Self::over(stream);
        server.send(frame(SETTINGS, 0, 0, settings));
        server
    }

    /// One end of an open connection.
    pub fn over(stream: impl Wired + 'static) -> Self {
        Self::over_any(Box::new(stream))
    }

    /// As [`Self::over`], with any transport.
    pub fn over_any(stream: Box<dyn Wired>) -> Self {
        Self { stream, frames: HashMap::new() }
    }

    /// Waits for the next request. Returns its stream, and true if it has no body; none at the end of the connection.
    pub fn next_request(&mut self) -> Option<(u32, bool)> {
        loop {
            let frame = self.next_answering()?;
            if frame.kind == HEADERS {
                return Some((frame.stream, frame.flags & END_STREAM != 0));
            }
        }
    }

    /// Reads the next frame, and answers PING and SETTINGS.
    pub fn next_answering(&mut self) -> Option<Frame> {
        let frame = self.next()?;
        if matches!(frame.kind, PING | SETTINGS) && frame.flags & ACK == 0 {
            let payload = if frame.kind == PING { &frame.payload[..] } else { &[] };
            self.send(self::frame(frame.kind, ACK, 0, payload));
        }
        Some(frame)
    }

    /// Ends the connection.
    pub fn shutdown(&mut self) -> bool {
        self.stream.shutdown()
    }

    /// Sends the head of a response.
    pub fn respond(&mut self, stream: u32, headers: &[(&'static str, &str)], ends: bool) {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.request(stream, &headers, ends);
    }

    /// Sends the bytes. Returns false if that failed: the peer does not read when a write blocks.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Sends a request as HEADERS and as many CONTINUATION frames as it takes.
    pub fn request(&mut self, stream: u32, headers: &Headers, ends: bool) -> bool {
        let block = block(headers);
        let parts: Vec<_> = block.chunks(16_000).collect();
        let mut bytes = vec![];
        for (index, part) in parts.iter().enumerate() {
            let end_headers = if index + 1 == parts.len() { END_HEADERS } else { 0 };
            let (kind, end_stream) = match index {
                0 => (HEADERS, if ends { END_STREAM } else { 0 }),
                _ => (CONTINUATION, 0),
            };
            bytes.extend(frame(kind, end_headers | end_stream, stream, part));
        }
        self.send(bytes)
    }

    /// Reads the next frame. Returns none at the end of the connection.
    pub fn next(&mut self) -> Option<Frame> {
        let mut header = [0; 9];
        match self.stream.read_exact(&mut header) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("still open and silent"),
            Err(_) => return None,
            Ok(()) => {}
        }
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
        Some(Frame { kind: header[3], flags: header[4], stream, payload })
    }

    /// Reads until a frame of this stream is wanted. Frames of other streams are kept until a test asks for them.
    pub fn next_of(&mut self, stream: u32, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        loop {
            let kept = self.frames.entry(stream).or_default();
            if let Some(at) = kept.iter().position(&wanted) {
                return Some(kept.remove(at));
            }
            let frame = self.next()?;
            self.frames.entry(frame.stream).or_default().push(frame);
        }
    }

    /// Waits for the response on a stream. Returns its status.
    pub fn status(&mut self, stream: u32) -> u16 {
        let wanted = |frame: &Frame| matches!(frame.kind, HEADERS | RST_STREAM | GOAWAY);
        let frame = self.next_of(stream, wanted).unwrap_or_else(|| panic!("no response on stream {stream}"));
        assert_eq!(frame.kind, HEADERS, "{frame:?}");
        status_of(&frame.payload)
    }

    /// Waits until a stream is reset. Returns the error code.
    pub fn reset(&mut self, stream: u32) -> u32 {
        let frame = self.next_of(stream, |frame| frame.kind == RST_STREAM).unwrap();
        u32::from_be_bytes(frame.payload.try_into().unwrap())
    }

    /// Sends a PING and waits for its answer. The peer has then read everything that was sent before.
    pub fn settle(&mut self) {
        self.send(frame(PING, 0, 0, b"settled?"));
        let answer = |frame: &Frame| frame.kind == PING && frame.flags & ACK != 0;
        self.next_of(0, answer).unwrap();
    }

    /// Answers PINGs until the end of the connection. A server that drains waits for the answer to the PING that
    /// follows its first GOAWAY.
    pub fn answer_pings_until_the_end(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some(frame) = self.next() {
            match frame.kind {
                PING if frame.flags & ACK == 0 => {
                    self.send(self::frame(PING, ACK, 0, &frame.payload));
                }
                GOAWAY => code = Some(u32::from_be_bytes(frame.payload[4..8].try_into().unwrap())),
                _ => {}
            }
        }
        code
    }

    /// Reads to the end of the connection. Returns the error code of the GOAWAY, if one came.
    pub fn ended(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some(frame) = self.next() {
            if frame.kind == GOAWAY {
                code = Some(u32::from_be_bytes(frame.payload[4..8].try_into().unwrap()));
            }
        }
        code
    }
}

/// The `:status` at the start of a header block: an entry of the static table, or its name and a literal.
pub fn status_of(block: &[u8]) -> u16 {
    // A change of the dynamic table's size may come first.
    let start = block.iter().position(|b| b & 0xe0 != 0x20).unwrap();
    match block[start] {
        0x88..=0x8e => [200, 204, 206, 304, 400, 404, 500][usize::from(block[start] - 0x88)],
        0x08 | 0x48 | 0x18 => {
            let length = usize::from(block[start + 1] & 0x7f);
            let text = &block[start + 2..start + 2 + length];
            if block[start + 1] & 0x80 == 0 {
                return std::str::from_utf8(text).unwrap().parse().unwrap();
            }
            digits(text).parse().unwrap()
        }
        other => panic!("no status in {other:#x} of {block:?}"),
    }
}

/// Digits in the Huffman code of RFC 7541 Appendix B: `0` to `2` take five bits, the others six.
fn digits(coded: &[u8]) -> String {
    let bits: Vec<u8> = coded.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let number = |bits: &[u8]| bits.iter().fold(0, |n, bit| n << 1 | bit);
    let (mut text, mut at) = (String::new(), 0);
    while at + 5 <= bits.len() {
        let short = number(&bits[at..at + 5]);
        if short <= 2 {
            text.push(char::from(b'0' + short));
            at += 5;
            continue;
        }
        let Some(six) = bits.get(at..at + 6) else { break };
        // 0x19 is `3`.
        let long = number(six);
        if !(0x19..=0x1f).contains(&long) {
            break;
        }
        text.push(char::from(b'3' + (long - 0x19)));
        at += 6;
    }
    text
}
