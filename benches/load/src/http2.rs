//! HTTP/2: several requests at a time on a connection.

use super::page::{Order, Pages};
use super::{Measured, Options, Pace};
use bytes::BytesMut;
use std::cell::RefCell;
use std::io;
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite};

/// Windows that no response of a benchmark fills.
const WINDOW: u32 = 16 * 1024 * 1024;

pub async fn run<S>(stream: S, options: &Options, pages: &Pages, order: Order, pace: Pace) -> io::Result<Measured>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let handshake = h2::client::Builder::new()
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .enable_push(false)
        .handshake(stream);
    let (sender, connection) = handshake.await.map_err(io::Error::other)?;
    let driver = tokio::task::spawn_local(connection);
    let (order, measured) = (RefCell::new(order), RefCell::new(Measured::default()));
    let streams = (0..options.streams).map(|number| {
        let pace = pace.of_stream(number, options.streams);
        one_at_a_time(sender.clone(), options, pages, &order, &measured, pace)
    });
    let mut result = Ok(());
    for ended in join_all(streams).await {
        result = result.and(ended);
    }
    driver.abort();
    result.map(|()| measured.into_inner())
}

async fn one_at_a_time(
    mut sender: h2::client::SendRequest<bytes::Bytes>,
    options: &Options,
    pages: &Pages,
    order: &RefCell<Order>,
    measured: &RefCell<Measured>,
    mut pace: Pace,
) -> io::Result<()> {
    let mut body = BytesMut::new();
    while let Some(began) = pace.next().await {
        let number = order.borrow_mut().next();
        let scheme = if options.tls { "https" } else { "http" };
        let mut request = http::Request::get(format!("{scheme}://{}{}", options.host, pages.path(number)));
        for (name, value) in &options.fields {
            request = request.header(name, value);
        }
        let request = request.body(()).map_err(io::Error::other)?;
        sender = sender.ready().await.map_err(io::Error::other)?;
        let (response, _) = sender.send_request(request, true).map_err(io::Error::other)?;
        let (head, mut stream) = response.await.map_err(io::Error::other)?.into_parts();
        if head.status != 200 {
            return Err(io::Error::other(format!("{}: {}", pages.path(number), head.status)));
        }
        body.clear();
        while let Some(part) = stream.data().await {
            let part = part.map_err(io::Error::other)?;
            stream.flow_control().release_capacity(part.len()).map_err(io::Error::other)?;
            body.extend_from_slice(&part);
        }
        pages.check(number, &body)?;
        let took = u32::try_from(Instant::now().duration_since(began).as_micros()).unwrap_or(u32::MAX);
        measured.borrow_mut().microseconds.push(took);
    }
    Ok(())
}

/// Waits for all of these, which share this task.
async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut pending = false;
        for (future, output) in &mut futures {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    futures.into_iter().filter_map(|(_, output)| output).collect()
}
