//! The listener: real connections on port 0.

use super::*;
use crate::admin::serve::serve_at_most;
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
    /// The address where nobody listens any more.
    pub(crate) async fn stop_and_wait(self) -> SocketAddr {
        let _ = self.stop.send(());
        self.task.await.unwrap();
        self.address
    }
}

pub(crate) async fn start(api: &Api, max_connections: usize) -> Server {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let shutdown = async {
        let _ = stopped.await;
    };
    let task = tokio::spawn(serve_at_most(max_connections, listener, api.state.clone(), shutdown));
    Server { address, stop, task }
}

#[tokio::test]
async fn one_connection_too_many_gets_a_503() {
    let api = Api::new();
    let server = start(&api, 1).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 15];
    first.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");

    let mut second = TcpStream::connect(server.address).await.unwrap();
    let mut text = String::new();
    second.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 503 ") && text.contains("\r\nRetry-After: 1\r\n"), "{text}");
}

#[tokio::test]
async fn a_shutdown_answers_whoever_waits_and_then_ends() {
    let api = Api::new();
    let server = start(&api, 10).await;
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
