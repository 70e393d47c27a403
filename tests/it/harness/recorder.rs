//! An origin that records every byte that reaches it, and checks of a request's effect on it.

use super::in_process::{Shim, config, site};
use super::wire::{get, header, status};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// An origin that answers every whole request with `ok`, and records every byte by connection.
pub struct Recorder {
    pub address: SocketAddr,
    connections: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Recorder {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let all = Arc::clone(&connections);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let all = Arc::clone(&all);
                let number = {
                    let mut all = all.lock().unwrap();
                    all.push(vec![]);
                    all.len() - 1
                };
                std::thread::spawn(move || record(stream.unwrap(), number, &all));
            }
        });
        Self { address, connections }
    }

    /// Returns the received bytes without the values that differ from run to run. `----` separates connections.
    pub fn bytes(&self) -> String {
        let connections = self.connections.lock().unwrap();
        let texts = connections.iter().map(|bytes| without_id(std::str::from_utf8(bytes).unwrap()));
        texts.collect::<Vec<_>>().join("----\n")
    }

    pub fn connections(&self) -> usize {
        self.connections.lock().unwrap().len()
    }
}

fn record(mut stream: TcpStream, number: usize, all: &Mutex<Vec<Vec<u8>>>) {
    let mut buffer = [0; 64 * 1024];
    let mut answered = 0;
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        let mut all = all.lock().unwrap();
        let bytes = &mut all[number];
        bytes.extend_from_slice(&buffer[..n]);
        while let Some(length) = whole_request(&bytes[answered..]) {
            answered += length;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    }
}

/// Returns the length of the first request, if it is complete.
pub fn whole_request(bytes: &[u8]) -> Option<usize> {
    let head = 4 + bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&bytes[..head]).unwrap();
    if let Some(length) = header(text, "content-length") {
        let whole = head + length.parse::<usize>().unwrap();
        return (bytes.len() >= whole).then_some(whole);
    }
    if header(text, "transfer-encoding").is_some() {
        let find = |from: usize, what: &[u8]| {
            let at = bytes[from..].windows(what.len()).position(|window| window == what)?;
            Some(from + at + what.len())
        };
        // The body ends with the last chunk, the trailers and an empty line. Without trailers this empty line follows
        // the last chunk directly.
        let last = find(head - 2, b"\r\n0\r\n")?;
        return find(last - 2, b"\r\n\r\n");
    }
    Some(head)
}

/// Replaces the value of `x-request-id`, which differs each time.
fn without_id(text: &str) -> String {
    let lines = text.split_inclusive('\n').map(|line| match line.strip_prefix("x-request-id: ") {
        Some(id) => {
            assert_eq!(id.trim_end().len(), 32, "{id}");
            "x-request-id: ID\r\n".to_owned()
        }
        None => line.to_owned(),
    });
    lines.collect()
}

/// Returns what the origin receives when a request with this request line and these header lines is forwarded: the
/// same lines and the forwarding headers.
pub fn forwarded(line: &str, headers: &str, body: &str) -> String {
    format!(
        "{line} HTTP/1.1\r\n{headers}host: origin.test\r\nvia: 1.1 origin-shim\r\ncdn-loop: origin-shim-test\r\n\
         x-request-id: ID\r\nx-forwarded-for: 127.0.0.1\r\nx-forwarded-host: www.example.com\r\n\
         x-forwarded-proto: http\r\nforwarded: for=127.0.0.1;host=www.example.com;proto=http\r\n\r\n{body}"
    )
}

/// Returns the lines of a head in alphabetical order, after the request line. The order of headers with different
/// names has no meaning.
pub fn sorted(head: &str) -> Vec<&str> {
    let mut lines: Vec<_> = head.lines().collect();
    if let Some((_, rest)) = lines.split_first_mut() {
        rest.sort_unstable();
    }
    lines
}

/// Starts a shim in front of a recorder.
pub fn recorded() -> (Recorder, Shim) {
    let origin = Recorder::start();
    let shim = Shim::start(&config(vec![site(&[origin.address])]));
    (origin, shim)
}

/// Sends these bytes and returns everything that the client gets before the end of the connection.
pub fn all_answers(shim: &Shim, bytes: impl AsRef<[u8]>) -> String {
    let mut client = shim.connect();
    client.send(bytes);
    client.rest()
}

/// Checks that the request is refused with this status, that the connection is closed, and that nothing reaches the
/// origin.
#[track_caller]
pub fn refused(request: impl AsRef<[u8]>, expected: u16) {
    let (origin, shim) = recorded();
    let shown = String::from_utf8_lossy(request.as_ref()).into_owned();
    let answer = all_answers(&shim, request);
    assert_eq!(status(&answer), expected, "{shown:?}: {answer}");
    assert_eq!(answer.matches("HTTP/1.").count(), 1, "{shown:?}: {answer}");
    assert_eq!(origin.connections(), 0, "{shown:?}: {}", origin.bytes());
}

/// Checks that the request is refused with this status, and that the connection stays usable.
#[track_caller]
pub fn refused_kindly(request: &str, expected: u16) {
    let (origin, shim) = recorded();
    let mut client = shim.connect();
    assert_eq!(status(&client.request(request).0), expected, "{request:?}");
    assert_eq!(origin.connections(), 0, "{request:?}: {}", origin.bytes());
    assert_eq!(client.request(&get("/after")).1, "ok");
}
