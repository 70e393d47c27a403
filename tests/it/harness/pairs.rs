//! One request and its response through the shim, in any pair of HTTP versions: what each end sends, and what arrives
//! at the other end, part by part.

use super::h2_origin::http2;
use super::in_process::{config, site};
use super::scripted::{Origin, Served};
use super::wire::{LIMIT, Wire, header, status};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use origin_shim::config::Config;
use std::future::poll_fn;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

pub type Fields = &'static [(&'static str, &'static str)];

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Version {
    Http1,
    Http2,
}

pub use Version::{Http1, Http2};

/// Each version of a client with each version of an origin.
pub const PAIRS: [(Version, Version); 4] = [(Http1, Http1), (Http1, Http2), (Http2, Http1), (Http2, Http2)];

/// A part of a message.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    /// The head of a response.
    Head(u16, Fields),
    Data(&'static str),
    Trailers(Fields),
    /// The end of a body without trailers.
    End,
    /// A pause until the test ends it.
    Wait,
}

/// An origin that answers each request with these parts, and reports what it received.
pub struct Played {
    pub address: SocketAddr,
    received: Receiver<String>,
    gate: Sender<()>,
}

impl Played {
    pub fn start(version: Version, parts: &'static [Part]) -> Self {
        let (tell, received) = channel();
        let (gate, opened) = channel();
        let opened = Arc::new(Mutex::new(opened));
        let address = match version {
            Http1 => {
                let tell = Mutex::new(tell);
                let script = move |served: &mut Served| {
                    let tell = tell.lock().unwrap().clone();
                    http1_origin(served, parts, &tell, &opened);
                };
                Origin::playing(script).address
            }
            Http2 => http2_origin(parts, tell, opened),
        };
        Self { address, received, gate }
    }

    /// Returns the next complete request that reached the origin.
    pub fn received(&self) -> String {
        self.received.recv_timeout(LIMIT).unwrap()
    }

    /// Ends the pause of the origin.
    pub fn goes_on(&self) {
        self.gate.send(()).unwrap();
    }

    /// Returns a configuration with the site `www.example.com` in front of this origin.
    pub fn config(&self, version: Version) -> Config {
        match version {
            Http1 => config(vec![site(&[self.address])]),
            Http2 => http2(&[self.address]),
        }
    }
}

fn http1_origin(served: &mut Served, parts: &[Part], tell: &Sender<String>, gate: &Mutex<Receiver<()>>) {
    while let Some(head) = served.head() {
        let _ = tell.send(format!("{}{}", asked(&head), http1_body(&mut served.wire, &head)));
        for part in parts {
            let text = match part {
                Part::Head(status, fields) if *status < 200 => {
                    format!("HTTP/1.1 {status} x\r\n{}\r\n", lines(fields))
                }
                Part::Head(status, fields) => {
                    format!("HTTP/1.1 {status} x\r\n{}transfer-encoding: chunked\r\n\r\n", lines(fields))
                }
                Part::Data(data) => format!("{:x}\r\n{data}\r\n", data.len()),
                Part::Trailers(fields) => format!("0\r\n{}\r\n", lines(fields)),
                Part::End => "0\r\n\r\n".to_owned(),
                Part::Wait => {
                    let _ = gate.lock().unwrap().recv_timeout(LIMIT);
                    continue;
                }
            };
            served.wire.send(text);
        }
    }
}

fn lines(fields: Fields) -> String {
    fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
}

/// Returns a request's fields about trailers.
fn asked(head: &str) -> String {
    let said = |name: &str| header(head, name).map(|value| format!("{name}={value} ")).unwrap_or_default();
    ["connection", "te", "trailer"].map(said).concat()
}

/// Reads a body, and then its trailers.
fn http1_body(wire: &mut Wire, head: &str) -> String {
    if header(head, "transfer-encoding").is_none() {
        return wire.body(head);
    }
    let mut body = String::new();
    loop {
        let size = usize::from_str_radix(wire.line().trim(), 16).unwrap();
        if size == 0 {
            let mut trailers = String::new();
            loop {
                let line = wire.line();
                match line.trim_end() {
                    "" => return body + &trailers,
                    field => trailers += &format!(" +{}", field.replacen(": ", "=", 1)),
                }
            }
        }
        body += &wire.exactly(size);
        assert_eq!(wire.line(), "\r\n");
    }
}

fn map(fields: Fields) -> HeaderMap {
    let field = |(name, value): &(&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    fields.iter().map(field).collect()
}

fn text(sign: &str, fields: &HeaderMap) -> String {
    let field =
        |(name, value): (&HeaderName, &HeaderValue)| format!(" {sign}{name}={}", value.to_str().unwrap());
    fields.iter().filter(|(name, _)| !is_framing(name.as_str())).map(field).collect()
}

fn is_framing(name: &str) -> bool {
    matches!(name, "transfer-encoding" | "content-length" | "connection")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn http2_origin(parts: &'static [Part], tell: Sender<String>, gate: Arc<Mutex<Receiver<()>>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        runtime().block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (tell, gate) = (tell.clone(), Arc::clone(&gate));
                tokio::spawn(async move {
                    let mut connection = ::h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::spawn(http2_answer(request, respond, parts, tell.clone(), Arc::clone(&gate)));
                    }
                });
            }
        });
    });
    address
}

async fn http2_answer(
    request: Request<::h2::RecvStream>,
    mut respond: ::h2::server::SendResponse<Bytes>,
    parts: &[Part],
    tell: Sender<String>,
    gate: Arc<Mutex<Receiver<()>>>,
) {
    let (head, mut body) = request.into_parts();
    let said = |name: &str| {
        let value = head.headers.get(name)?.to_str().unwrap();
        Some(format!("{name}={value} "))
    };
    let said = ["connection", "te", "trailer"].map(|name| said(name).unwrap_or_default()).concat();
    let Some(body) = http2_body(&mut body).await else { return };
    let _ = tell.send(said + &body);
    let mut stream = None;
    for part in parts {
        match (part, &mut stream) {
            (Part::Head(status, fields), _) => {
                let mut response = Response::new(());
                *response.status_mut() = StatusCode::from_u16(*status).unwrap();
                *response.headers_mut() = map(fields);
                if *status < 200 {
                    respond.send_informational(response).unwrap();
                } else {
                    stream = Some(respond.send_response(response, false).unwrap());
                }
            }
            (Part::Data(data), Some(stream)) => {
                stream.send_data(Bytes::from_static(data.as_bytes()), false).unwrap()
            }
            (Part::Trailers(fields), Some(stream)) => stream.send_trailers(map(fields)).unwrap(),
            (Part::End, Some(stream)) => stream.send_data(Bytes::new(), true).unwrap(),
            (Part::Wait, _) => {
                let gate = Arc::clone(&gate);
                let waiting = move || gate.lock().unwrap().recv_timeout(LIMIT).is_ok();
                tokio::task::spawn_blocking(waiting).await.unwrap();
            }
            (_, None) => panic!("no head before {part:?}"),
        }
    }
}

/// Reads a body, and then its trailers. Returns `None` if it breaks off.
async fn http2_body(body: &mut ::h2::RecvStream) -> Option<String> {
    let mut whole = String::new();
    while let Some(part) = body.data().await {
        let part = part.ok()?;
        body.flow_control().release_capacity(part.len()).unwrap();
        whole += std::str::from_utf8(&part).unwrap();
    }
    let trailers = body.trailers().await.ok()?;
    Some(whole + &trailers.map(|trailers| text("+", &trailers)).unwrap_or_default())
}

/// Sends a request with these fields and parts, or a GET if there are no parts. The channel reports the parts of the
/// response as they arrive: heads, and then the body with its trailers.
pub fn request(
    version: Version,
    address: SocketAddr,
    fields: Fields,
    parts: &'static [Part],
) -> Receiver<String> {
    let (tell, parts_of_response) = channel();
    std::thread::spawn(move || match version {
        Http1 => http1_request(address, fields, parts, &tell),
        Http2 => runtime().block_on(http2_request(address, fields, parts, &tell)),
    });
    parts_of_response
}

/// Returns all parts of a response.
pub fn whole(response: &Receiver<String>) -> Vec<String> {
    std::iter::from_fn(|| response.recv_timeout(LIMIT).ok()).collect()
}

fn http1_request(address: SocketAddr, fields: Fields, parts: &[Part], tell: &Sender<String>) {
    let mut wire = Wire::connect(address);
    let (method, framing) = match parts {
        [] => ("GET", ""),
        _ => ("POST", "transfer-encoding: chunked\r\n"),
    };
    wire.send(format!("{method} / HTTP/1.1\r\nhost: www.example.com\r\n{}{framing}\r\n", lines(fields)));
    for part in parts {
        wire.send(match part {
            Part::Data(data) => format!("{:x}\r\n{data}\r\n", data.len()),
            Part::Trailers(fields) => format!("0\r\n{}\r\n", lines(fields)),
            Part::End => "0\r\n\r\n".to_owned(),
            Part::Head(..) | Part::Wait => panic!("{part:?} is no part of a request"),
        });
    }
    loop {
        let head = wire.head();
        let fields = head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let fields = fields.filter(|(name, _)| !is_framing(name));
        let fields: String = fields.map(|(name, value)| format!(" {name}={value}")).collect();
        tell.send(format!("{}{fields}", status(&head))).unwrap();
        if status(&head) >= 200 {
            tell.send(http1_body(&mut wire, &head)).unwrap();
            return;
        }
    }
}

async fn http2_request(address: SocketAddr, fields: Fields, parts: &[Part], tell: &Sender<String>) {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = ::h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let method = if parts.is_empty() { "GET" } else { "POST" };
    let mut request = Request::builder().method(method).uri("http://www.example.com/").body(()).unwrap();
    *request.headers_mut() = map(fields);
    let (mut response, mut stream) = sender.send_request(request, parts.is_empty()).unwrap();
    for part in parts {
        match part {
            Part::Data(data) => stream.send_data(Bytes::from_static(data.as_bytes()), false).unwrap(),
            Part::Trailers(fields) => stream.send_trailers(map(fields)).unwrap(),
            Part::End => stream.send_data(Bytes::new(), true).unwrap(),
            Part::Head(..) | Part::Wait => panic!("{part:?} is no part of a request"),
        }
    }
    while let Some(Ok(interim)) = poll_fn(|cx| response.poll_informational(cx)).await {
        tell.send(format!("{}{}", interim.status().as_u16(), text("", interim.headers()))).unwrap();
    }
    let Ok(response) = response.await else { return };
    let (head, mut body) = response.into_parts();
    tell.send(format!("{}{}", head.status.as_u16(), text("", &head.headers))).unwrap();
    if let Some(body) = http2_body(&mut body).await {
        tell.send(body).unwrap();
    }
}
