//! The listener: real connections on port 0.

use super::*;
use crate::admin::places::Room;
use crate::admin::serve::serve_in;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A running admin API; dropping it stops it.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    /// Stops the API, and returns the address, which is then free.
    pub(crate) async fn stop_and_wait(self) -> SocketAddr {
        let _ = self.stop.send(());
        self.task.await.unwrap();
        self.address
    }
}

pub(crate) async fn start(api: &Api) -> Server {
    start_in(api, Room::default()).await
}

async fn start_in(api: &Api, room: Room) -> Server {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let shutdown = async {
        let _ = stopped.await;
    };
    let task = tokio::spawn(serve_in(room, listener, api.state.clone(), shutdown));
    Server { address, stop, task }
}

/// Sends `bytes` and reads until the connection ends.
async fn exchange(server: &Server, bytes: &str) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    rest(&mut stream).await
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

async fn idle(server: &Server, count: usize) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        streams.push(TcpStream::connect(server.address).await.unwrap());
    }
    streams
}

/// Returns the head of a call of `cms` whose connection is to be closed.
fn call(request: &str, lines: &str) -> String {
    format!(
        "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {}\r\n{lines}\r\n",
        token("cms")
    )
}

fn purge(body: &str) -> String {
    call("POST /v1/sites/www/purges", &format!("Content-Length: {}\r\n", body.len())) + body
}

#[tokio::test]
async fn strangers_make_room_for_the_next_one() {
    let api = Api::new();
    let server = start_in(&api, Room { strangers: 3, known: 3, per_token: 3 }).await;
    let mut strangers = idle(&server, 3).await;
    let answer = exchange(&server, &purge(r#"{"tags": ["t"]}"#)).await;
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    // Only the first stranger had to leave.
    assert_eq!(rest(&mut strangers.remove(0)).await, "");
    let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    for mut stranger in strangers {
        stranger.write_all(request.as_bytes()).await.unwrap();
        assert!(rest(&mut stranger).await.starts_with("HTTP/1.1 200 "));
    }
}

#[tokio::test]
async fn who_has_shown_a_token_keeps_the_connection() {
    let api = Api::new();
    let server = start_in(&api, Room { strangers: 2, known: 1, per_token: 1 }).await;
    let list = call("GET /v1/sites", "").replace("Connection: close\r\n", "");
    let mut known = TcpStream::connect(server.address).await.unwrap();
    for _ in 0..2 {
        known.write_all(list.as_bytes()).await.unwrap();
        let mut answer = vec![0; 64 << 10];
        let length = known.read(&mut answer).await.unwrap();
        assert!(answer[..length].starts_with(b"HTTP/1.1 200 "));
        // Each of these connections takes the place of an earlier one.
        drop(idle(&server, 10).await);
        assert!(exchange(&server, &call("GET /v1/sites", "")).await.starts_with("HTTP/1.1 200 "));
    }
}

/// Half-sent bodies of 8 MiB, more than there are turns, with the same token as the body that must be accepted.
#[tokio::test]
async fn half_sent_bodies_hold_up_nobody() {
    let api = Api::new();
    let server = start(&api).await;
    let head = call("POST /v1/sites/www/purges", &format!("Content-Length: {}\r\n", 8 << 20));
    let mut half_sent = Vec::new();
    for _ in 0..12 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        // This exceeds what is read without a turn. How much more the socket accepts depends on the system.
        stream.write_all(&[b' '; 128 << 10]).await.unwrap();
        half_sent.push(stream);
    }
    let tags: Vec<_> = (0..20_000).map(|number| format!("\"t{number}\"")).collect();
    let large = format!(r#"{{"tags": [{}]}}"#, tags.join(","));
    assert!(large.len() > 128 << 10);
    for body in [r#"{"tags": ["t"]}"#, &large] {
        let answer = exchange(&server, &purge(body)).await;
        assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    }
    // One of them lost its turn to a waiting body.
    let stalled = half_sent.into_iter().map(async |mut stream| rest(&mut stream).await);
    let mut stalled: Vec<_> = stalled.map(Box::pin).collect();
    let (first, ..) = futures_first(&mut stalled).await;
    assert!(first.starts_with("HTTP/1.1 408 ") && first.contains("while others waited"), "{first}");
}

/// Returns the result that is ready first.
async fn futures_first<F: Future<Output = String> + Unpin>(all: &mut [F]) -> (String, usize) {
    std::future::poll_fn(|context| {
        for (index, one) in all.iter_mut().enumerate() {
            if let std::task::Poll::Ready(text) = std::pin::Pin::new(one).poll(context) {
                return std::task::Poll::Ready((text, index));
            }
        }
        std::task::Poll::Pending
    })
    .await
}

#[tokio::test]
async fn no_reader_takes_all_event_streams() {
    let api = Api::new();
    let server = start(&api).await;
    let listen = async |token_name: &str| {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request = call("GET /v1/events", "").replace(&token("cms"), &token(token_name));
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        (String::from_utf8_lossy(&status[9..]).into_owned(), stream)
    };
    let mut open = Vec::new();
    for (token_name, expected) in [("cms", 8), ("root", 8), ("auditor", 0)] {
        for number in 0..10 {
            let (status, stream) = listen(token_name).await;
            assert_eq!(status, if number < expected { "200" } else { "429" }, "{token_name} {number}");
            open.push(stream);
        }
    }
    let mut refused = open.pop().unwrap();
    let why = rest(&mut refused).await;
    assert!(why.contains("16 clients listen from this address already."), "{why}");
    // A listener that leaves makes room.
    open.clear();
    while listen("auditor").await.0 != "200" {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_name_that_is_not_ours_reads_nothing() {
    let api = Api::new();
    let server = start(&api).await;
    let get = async |target: &str, host: &str| {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        exchange(&server, &request).await
    };
    for target in ["/metrics", "/readyz", "/healthz", "/", "/v1/openapi.json", "/v1/sites", "/nothing"] {
        let answer = get(target, "rebound.evil.test:9180").await;
        assert!(
            answer.starts_with("HTTP/1.1 421 ") && answer.contains("`admin.hosts`"),
            "{target}: {answer}"
        );
        assert!(
            answer.contains("urn:origin-shim:problem:misdirected") && answer.contains("no-store"),
            "{answer}"
        );
    }
    for host in
        ["localhost:9180", "127.0.0.1", "[::1]:80", "10.0.0.1", "admin.example.com", "ADMIN.example.com:80"]
    {
        assert!(get("/metrics", host).await.starts_with("HTTP/1.1 200 "), "{host}");
    }
    // A host in the target is checked, too.
    let answer = get("http://evil.test/metrics", "evil.test").await;
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
    // After a reload, a configured name is accepted.
    let mut next = config();
    next.admin.hosts.push("rebound.evil.test".to_owned());
    api.state.config.store(Arc::new(next));
    assert!(get("/metrics", "rebound.evil.test").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn what_the_data_plane_refuses_is_refused_here() {
    let api = Api::new();
    let server = start(&api).await;
    for (request, status) in [
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\nHost: localhost\n\n", 400),
        ("GET /healthz HTTP/1.1\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (
            "POST /v1/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        ("TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nExpect: x\r\n\r\n", 417),
    ] {
        let answer = exchange(&server, request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        assert!(answer.contains("urn:origin-shim:problem:refused"), "{answer}");
    }
    // Requests on one connection are answered in order, until the first one that is refused.
    let good = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let bad = good.replace("\r\nHost", "\nHost");
    let answers = exchange(&server, &format!("{good}{good}{bad}{good}")).await;
    let statuses: Vec<_> =
        answers.match_indices("HTTP/1.1 ").map(|(at, _)| &answers[at + 9..at + 12]).collect();
    assert_eq!(statuses, ["200", "200", "400"], "{answers}");
}

#[tokio::test]
async fn a_shutdown_answers_whoever_waits_and_then_ends() {
    let api = Api::new();
    let server = start(&api).await;
    let call = reqwest::Client::new()
        .post(format!("http://{}/v1/sites/www/purges", server.address))
        .bearer_auth(token("cms"))
        .header("prefer", "wait=300")
        .body(r#"{"tags": ["t"]}"#)
        .send();
    let call = tokio::spawn(call);
    api.store.looked.notified().await;
    let address = server.stop_and_wait().await;
    let reply = call.await.unwrap().unwrap();
    assert_eq!(reply.status().as_u16(), 202);
    assert!(TcpStream::connect(address).await.is_err());
}
