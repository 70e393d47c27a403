use super::*;
use crate::demo::edge::Edge;
use crate::demo::site::Site;
use http::{HeaderValue, Response};
use hyper::body::Incoming;
use std::sync::Arc;
use tokio::net::TcpListener;

/// The behaviour of a fake shim.
#[derive(Clone, Copy)]
enum Shim {
    Honest,
    /// A shim that reports a purge as done, but purges nothing.
    Lying,
    /// A shim that sets no long lifetime.
    Short,
}

/// Runs the whole sequence with a fake shim between the real edge and the real site.
async fn play(shim: Shim) -> Result<(), DemoError> {
    let mut listeners = Vec::new();
    for _ in 0..4 {
        listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
    }
    let [edge, proxy, origin, admin] = <[TcpListener; 4]>::try_from(listeners).unwrap();
    let addresses = Addresses {
        edge: edge.local_addr().unwrap(),
        bare_edge: edge.local_addr().unwrap(),
        shim: proxy.local_addr().unwrap(),
        origin: origin.local_addr().unwrap(),
        admin: admin.local_addr().unwrap(),
    };
    tokio::spawn(Arc::new(Site::default()).serve(origin, Arc::default()));
    tokio::spawn(Edge::new(addresses.shim).serve(edge));
    tokio::spawn(http1::serve(proxy, move |request, _| forward(request, addresses.origin, shim)));
    tokio::spawn(http1::serve(admin, move |request, _| administer(request, addresses.edge, shim)));
    let script = Script { addresses, token: "secret" };
    script.wait_until_ready().await?;
    script.run().await
}

async fn forward(request: Request<Incoming>, origin: SocketAddr, shim: Shim) -> Response<AnyBody> {
    let mut answer = http1::send(origin, request).await.unwrap().map(BodyExt::boxed);
    let headers = answer.headers_mut();
    http1::remove_hop_by_hop(headers);
    let lifetime = if matches!(shim, Shim::Short) { "max-age=60" } else { TWO_DAYS };
    headers.insert("surrogate-control", HeaderValue::from_static(lifetime));
    let tags = headers.remove("surrogate-key").unwrap();
    headers.insert("xkey", tags);
    answer
}

async fn administer(request: Request<Incoming>, edge: SocketAddr, shim: Shim) -> Response<AnyBody> {
    assert_eq!(request.headers()["authorization"], "Bearer secret");
    if request.method() == http::Method::GET {
        return http1::text(StatusCode::OK, r#"{"cdns": [{"healthy": true}]}"#);
    }
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let purge: serde_json::Value = serde_json::from_slice(&body).unwrap();
    if !matches!(shim, Shim::Lying) {
        let purge = Request::builder()
            .method("PURGE")
            .uri("/")
            .header("host", edge.to_string())
            .header("xkey-purge", purge["tags"][0].as_str().unwrap());
        let answer = http1::send(edge, purge.body(http1::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    http1::text(StatusCode::OK, r#"{"state": "done"}"#)
}

#[tokio::test]
async fn passes_where_everything_works() {
    play(Shim::Honest).await.unwrap();
}

#[tokio::test]
async fn fails_at_the_step_that_went_wrong() {
    async fn check(shim: Shim, step: &str) {
        let error = play(shim).await.unwrap_err().to_string();
        assert!(error.starts_with(step), "{error}");
    }
    check(Shim::Lying, "6. a visitor, after the purge: expected X-Cache: MISS, got HIT").await;
    check(Shim::Short, "what the shim tells the edge: expected Surrogate-Control: max-age=172800").await;
}
