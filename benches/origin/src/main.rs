//! `bench-origin ADDRESS`: answers every request with fixed bytes, as cheaply as possible, on one thread.
//!
//! `/small` has 1 KiB and `/large` 100 KiB of body behind twelve header fields. All other paths return the
//! success response of Cloudflare's API, so that a proxy under test finds its CDN healthy.

use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SMALL: usize = 1024;
const LARGE: usize = 100 * 1024;
const API: &str = r#"{"success":true,"errors":[],"messages":[],"result":{"id":"bench","status":"active"}}"#;

struct Responses {
    small: &'static [u8],
    large: &'static [u8],
    api: &'static [u8],
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9100".to_owned());
    let responses = Box::leak(Box::new(Responses {
        small: page(SMALL).leak().as_bytes(),
        large: page(LARGE).leak().as_bytes(),
        api: format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{API}",
            API.len()
        )
        .leak()
        .as_bytes(),
    }));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(serve(stream, responses));
        }
    })
}

fn page(size: usize) -> String {
    format!(
        "HTTP/1.1 200 OK\r\n\
         Server: bench-origin\r\n\
         Date: Tue, 24 Nov 2026 10:00:00 GMT\r\n\
         Content-Type: text/html; charset=utf-8\r\n\
         Content-Length: {size}\r\n\
         Cache-Control: max-age=300\r\n\
         ETag: \"5f3e9c-400\"\r\n\
         Last-Modified: Mon, 23 Nov 2026 10:00:00 GMT\r\n\
         Surrogate-Key: product-42\r\n\
         Vary: Accept-Encoding\r\n\
         X-Content-Type-Options: nosniff\r\n\
         X-Frame-Options: SAMEORIGIN\r\n\
         Strict-Transport-Security: max-age=31536000\r\n\
         \r\n{}",
        "x".repeat(size)
    )
}

/// Answers requests one after the other. A request body is skipped by its `Content-Length`.
async fn serve(mut stream: TcpStream, responses: &'static Responses) -> io::Result<()> {
    let mut buf = vec![0; 16 * 1024];
    let mut filled = 0;
    loop {
        while let Some(end) = buf[..filled].windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let body = content_length(&buf[..end]);
            let length = end + 4 + body;
            if length > buf.len() {
                return Ok(());
            }
            while filled < length {
                filled += read_some(&mut stream, &mut buf[filled..]).await?;
            }
            let response = match &buf[..end] {
                head if head.starts_with(b"GET /small") => responses.small,
                head if head.starts_with(b"GET /large") => responses.large,
                _ => responses.api,
            };
            stream.write_all(response).await?;
            buf.copy_within(length..filled, 0);
            filled -= length;
        }
        filled += read_some(&mut stream, &mut buf[filled..]).await?;
    }
}

async fn read_some(stream: &mut TcpStream, buf: &mut [u8]) -> io::Result<usize> {
    match stream.read(buf).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        length => Ok(length),
    }
}

fn content_length(head: &[u8]) -> usize {
    const NAME: &[u8] = b"content-length:";
    // Only calls of the API have one.
    if head.starts_with(b"GET") {
        return 0;
    }
    head.split(|byte| *byte == b'\n')
        .find(|line| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)))
        .and_then(|line| std::str::from_utf8(&line[NAME.len()..]).ok()?.trim().parse().ok())
        .unwrap_or(0)
}
