//! HTTP/1.1: one request at a time on a connection.

use super::page::{Order, Pages};
use super::{Measured, Pace};
use std::io;
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub async fn run<S>(mut stream: S, pages: &Pages, mut order: Order, mut pace: Pace) -> io::Result<Measured>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut measured = Measured::default();
    let mut buffer = vec![0; 256 * 1024];
    while let Some(began) = pace.next().await {
        let number = order.next();
        stream.write_all(pages.request(number)).await?;
        stream.flush().await?;
        let mut filled = 0;
        let (end, length) = loop {
            filled += read(&mut stream, &mut buffer[filled..]).await?;
            if let Some(end) = head_end(&buffer[..filled]) {
                break (end, body_length(pages.path(number), &buffer[..end])?);
            }
        };
        while filled < end + length {
            filled += read(&mut stream, &mut buffer[filled..]).await?;
        }
        if filled > end + length {
            return Err(io::Error::other(format!("{}: more than its response", pages.path(number))));
        }
        pages.check(number, &buffer[end..filled])?;
        measured.microseconds.push(u32::try_from(Instant::now().duration_since(began).as_micros()).unwrap_or(u32::MAX));
    }
    Ok(measured)
}

async fn read(stream: &mut (impl AsyncRead + Unpin), room: &mut [u8]) -> io::Result<usize> {
    match stream.read(room).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        length => Ok(length),
    }
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4)
}

fn body_length(path: &str, head: &[u8]) -> io::Result<usize> {
    const NAME: &[u8] = b"content-length:";
    if !head.starts_with(b"HTTP/1.1 200") {
        let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        return Err(io::Error::other(format!("{path}: {}", String::from_utf8_lossy(line))));
    }
    head.split(|byte| *byte == b'\n')
        .find(|line| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)))
        .and_then(|line| std::str::from_utf8(&line[NAME.len()..]).ok()?.trim().parse().ok())
        .ok_or_else(|| io::Error::other(format!("{path}: no Content-Length")))
}
