//! An origin whose answers a test decides, and that records the requests.

use super::PATIENCE;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// The head of a request.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The request line.
    pub line: String,
    /// Lower-case names and their values.
    pub headers: Vec<(String, String)>,
}

impl Asked {
    /// The first line of a header; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

/// The connection of one request, its head already read.
pub struct Exchange {
    /// The head.
    pub asked: Asked,
    /// For the body of the request.
    pub reader: BufReader<TcpStream>,
    /// For the answer.
    pub writer: TcpStream,
}

impl Exchange {
    /// Answers with a whole body and ends the connection.
    pub fn answer(&mut self, status: u16, headers: &[(String, String)], body: &str) {
        let mut head =
            format!("HTTP/1.1 {status} Said\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        // Whoever asked may have gone.
        let _ = self.writer.write_all((head + "\r\n" + body).as_bytes());
    }

    /// Reads and forgets `length` bytes of the request's body.
    pub fn swallow(&mut self, length: u64) -> u64 {
        std::io::copy(&mut (&mut self.reader).take(length), &mut std::io::sink()).unwrap()
    }
}

/// Starts an origin; each connection is one exchange, on a thread of its own.
pub fn serve(handler: impl Fn(Exchange) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let handler = Arc::new(handler);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handler = handler.clone();
            thread::spawn(move || {
                if let Some(exchange) = read(stream) {
                    handler(exchange);
                }
            });
        }
    });
    address
}

fn read(stream: TcpStream) -> Option<Exchange> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    let mut asked = Asked::default();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        match line.split_once(':') {
            _ if asked.line.is_empty() => asked.line = line.to_owned(),
            Some((name, value)) => asked.headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
            None => return Some(Exchange { asked, reader, writer }),
        }
    }
}

/// One page that says the same at every path until the test changes it.
#[derive(Clone, Default)]
pub struct Page(Arc<Mutex<PageState>>);

#[derive(Default)]
struct PageState {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
    asked: Vec<Asked>,
}

impl Page {
    /// Starts an origin that serves it.
    pub fn serve(&self) -> SocketAddr {
        let page = self.clone();
        serve(move |mut exchange| {
            let (status, headers, body) = {
                let mut state = page.0.lock().unwrap();
                state.asked.push(exchange.asked.clone());
                (state.status, state.headers.clone(), state.body.clone())
            };
            exchange.answer(status, &headers, &body);
        })
    }

    /// Sets the response from now on.
    pub fn set(&self, status: u16, headers: &[(&str, &str)], body: &str) {
        let mut state = self.0.lock().unwrap();
        state.status = status;
        state.headers =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        state.body = body.to_owned();
    }

    /// The requests since the last call.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.0.lock().unwrap().asked)
    }
}
