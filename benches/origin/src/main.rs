//! `bench-origin ADDRESS`: answers requests as cheaply as it can, on one thread.
//!
//! `/small/NUMBER` is a page of about 1 KiB, and `/large/NUMBER` one of about 100 KiB, behind fourteen fields. Every page
//! has its own ETag, Last-Modified, Content-Length, Link and body, and six tags of which three are its own. The Date moves
//! every second. Every other path gets the answer of Cloudflare's API when all is well, so that a proxy under test finds its
//! CDN healthy.

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SMALL: usize = 1024;
const LARGE: usize = 100 * 1024;
const API: &str = r#"{"success":true,"errors":[],"messages":[],"result":{"id":"bench","status":"active"}}"#;

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9100".to_owned());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(serve(stream));
        }
    })
}

/// Appends the response to a request for `path`.
fn respond(out: &mut Vec<u8>, path: &str) {
    let size = match path.get(..7) {
        Some("/small/") => SMALL,
        Some("/large/") => LARGE,
        _ => {
            let length = API.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
            out.extend_from_slice(head.as_bytes());
            return out.extend_from_slice(API.as_bytes());
        }
    };
    let number: u32 = path[7..].parse().unwrap_or_default();
    let size = length_of(size, number);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (date, modified) = (Date(now), Date(now - 86_400 - u64::from(number) * 61));
    write!(
        out,
        "HTTP/1.1 200 OK\r\n\
         Server: bench-origin\r\n\
         Date: {date}\r\n\
         Content-Type: text/html; charset=utf-8\r\n\
         Content-Length: {size}\r\n\
         Cache-Control: max-age=300\r\n\
         ETag: \"{number:x}-5f3e9c-400\"\r\n\
         Last-Modified: {modified}\r\n\
         Link: </assets/page-{number}.css>; rel=preload; as=style\r\n\
         Surrogate-Key: all pages product-42 product-{number} author-{} section-{}\r\n\
         Vary: Accept-Encoding\r\n\
         X-Content-Type-Options: nosniff\r\n\
         X-Frame-Options: SAMEORIGIN\r\n\
         Strict-Transport-Security: max-age=31536000\r\n\
         \r\n",
        number % 997,
        number % 101,
    )
    .expect("a vector takes everything");
    let end = out.len() + size;
    while out.len() < end {
        let part = path.len().min(end - out.len());
        out.extend_from_slice(&path.as_bytes()[..part]);
    }
}

/// The number of bytes of a page, which `bench-load` knows, too.
fn length_of(usual: usize, number: u32) -> usize {
    usual - 32 + number as usize % 64
}

/// A moment in the format of HTTP (RFC 9110 §5.6.7), in seconds since the epoch.
struct Date(u64);

impl std::fmt::Display for Date {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let (days, second) = (self.0 / 86_400, self.0 % 86_400);
        // The days of a year that begins in March (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
        let shifted = days + 719_468;
        let (era, of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        write!(
            f,
            "{}, {day:02} {} {} {:02}:{:02}:{:02} GMT",
            DAYS[(days % 7) as usize],
            MONTHS[month as usize - 1],
            era * 400 + year_of_era + later,
            second / 3_600,
            second / 60 % 60,
            second % 60
        )
    }
}

/// Requests follow each other; one with a body is read past its `Content-Length`.
async fn serve(mut stream: TcpStream) -> io::Result<()> {
    let (mut buf, mut out) = (vec![0; 16 * 1024], Vec::new());
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
            out.clear();
            respond(&mut out, path(&buf[..end]));
            stream.write_all(&out).await?;
            buf.copy_within(length..filled, 0);
            filled -= length;
        }
        filled += read_some(&mut stream, &mut buf[filled..]).await?;
    }
}

/// The path of a request; empty if it has none that these pages could have.
fn path(head: &[u8]) -> &str {
    let path = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    std::str::from_utf8(path).unwrap_or_default()
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
