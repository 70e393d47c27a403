//! A client that changes nothing: one connection per request, and every header as it was received.

use super::PATIENCE;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// A response, header for header.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Lower-case names, and values as sent, in order.
    pub headers: Vec<(String, String)>,
    /// The body, without its framing.
    pub body: Vec<u8>,
}

impl Answer {
    /// Returns the first line of a header, or an empty text if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// Returns the body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Returns the body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self))
    }
}

/// A request of a test. `Host` and `Connection: close` are added.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// The `Host`.
    pub host: &'a str,
    /// The request target.
    pub target: &'a str,
    /// Further headers.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    /// Returns a GET of the test site.
    pub fn get(target: &'a str) -> Self {
        Self { method: "GET", host: super::HOST, target, headers: &[], body: b"" }
    }

    /// Replaces the method.
    pub fn method(self, method: &'a str) -> Self {
        Self { method, ..self }
    }

    /// Replaces the further headers.
    pub fn headers(self, headers: &'a [(&'a str, &'a str)]) -> Self {
        Self { headers, ..self }
    }

    /// Sends the request. A test that gets no response fails.
    pub fn send(self, to: SocketAddr) -> Answer {
        self.try_send(to).unwrap_or_else(|error| panic!("no answer from {to} to {self:?}: {error}"))
    }

    /// Sends the request.
    pub fn try_send(self, to: SocketAddr) -> io::Result<Answer> {
        let mut download = self.open(to)?;
        let mut body = Vec::new();
        download.read_to_end(&mut body)?;
        Ok(Answer { body, ..download.head })
    }

    /// Sends the request and reads only the head of the response.
    pub fn open(self, to: SocketAddr) -> io::Result<Download> {
        let mut stream = TcpStream::connect(to)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut head = format!(
            "{} {} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n",
            self.method, self.target, self.host
        );
        for (name, value) in self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !self.body.is_empty() {
            head += &format!("content-length: {}\r\n", self.body.len());
        }
        stream.write_all((head + "\r\n").as_bytes())?;
        stream.write_all(self.body)?;
        Download::new(BufReader::new(stream), self.method == "HEAD")
    }
}

/// A response whose body is still to be read.
pub struct Download {
    /// The head. Its body is empty.
    pub head: Answer,
    reader: BufReader<TcpStream>,
    framing: Framing,
}

enum Framing {
    Length(u64),
    Chunk { left: u64, ended: bool },
    UntilClose,
}

impl Download {
    /// Reads the head of a response.
    pub fn new(mut reader: BufReader<TcpStream>, to_head: bool) -> io::Result<Self> {
        let status_line = line(&mut reader)?;
        let status = status_line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .ok_or_else(|| bad(&status_line))?;
        let mut headers = Vec::new();
        loop {
            let line = line(&mut reader)?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| bad(&line))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let head = Answer { status, headers, body: Vec::new() };
        let framing = if to_head || status == 304 || status == 204 {
            Framing::Length(0)
        } else if head.header("transfer-encoding").eq_ignore_ascii_case("chunked") {
            Framing::Chunk { left: 0, ended: false }
        } else if let Ok(length) = head.header("content-length").parse() {
            Framing::Length(length)
        } else {
            Framing::UntilClose
        };
        Ok(Self { head, reader, framing })
    }
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Framing::Chunk { left, ended } = &mut self.framing
            && *left == 0
            && !*ended
        {
            let size = line(&mut self.reader)?;
            let size = size.split(';').next().unwrap_or_default();
            *left = u64::from_str_radix(size, 16).map_err(|_| bad(size))?;
            *ended = *left == 0;
            if *ended {
                line(&mut self.reader)?;
            }
        }
        let left = match &self.framing {
            Framing::Length(left) | Framing::Chunk { left, .. } => *left,
            Framing::UntilClose => u64::MAX,
        };
        let count = (&mut self.reader).take(left).read(buffer)?;
        if count == 0 && left > 0 && left < u64::MAX && !buffer.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{left} bytes are missing")));
        }
        match &mut self.framing {
            Framing::Length(left) => *left -= count as u64,
            Framing::Chunk { left, .. } if *left > 0 => {
                *left -= count as u64;
                if *left == 0 {
                    line(&mut self.reader)?;
                }
            }
            Framing::Chunk { .. } | Framing::UntilClose => {}
        }
        Ok(count)
    }
}

fn line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed"));
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not HTTP: {what:?}"))
}
