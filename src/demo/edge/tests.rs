use super::*;
use std::sync::atomic::{AtomicU32, Ordering};

/// An edge in front of a fake shim, whose answers the test sets.
struct Bench {
    edge: SocketAddr,
    origin: Arc<Origin>,
}

#[derive(Default)]
struct Origin {
    answer: Mutex<Answer>,
    requests: Mutex<Vec<HeaderMap>>,
    calls: AtomicU32,
}

#[derive(Clone)]
struct Answer {
    status: u16,
    body: String,
    headers: Vec<(&'static str, String)>,
}

impl Default for Answer {
    fn default() -> Self {
        let headers =
            [("surrogate-control", "max-age=60"), ("cache-control", "max-age=5"), ("xkey", "page site")];
        Self { status: 200, body: "v1".to_owned(), headers: headers.map(|(n, v)| (n, v.to_owned())).to_vec() }
    }
}

impl Origin {
    fn answer(&self, request: &Request<Incoming>) -> Response<AnyBody> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.requests.lock().unwrap().push(request.headers().clone());
        let answer = self.answer.lock().unwrap().clone();
        let mut response = Response::builder().status(answer.status);
        for (name, value) in answer.headers {
            response = response.header(name, value);
        }
        response.body(http1::full(answer.body)).unwrap()
    }

    fn set(&self, change: impl FnOnce(&mut Answer)) {
        change(&mut self.answer.lock().unwrap());
    }
}

impl Bench {
    async fn start() -> Self {
        let origin = Arc::new(Origin::default());
        let shim = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let edge = listener.local_addr().unwrap();
        tokio::spawn(Edge::new(shim.local_addr().unwrap()).serve(listener));
        let answers = origin.clone();
        tokio::spawn(http1::serve(shim, move |request, _| {
            let answer = answers.answer(&request);
            async move { answer }
        }));
        Self { edge, origin }
    }

    async fn send(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Response<String> {
        let mut request = Request::builder().method(method).uri(target).header("host", "www.example.com");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = http1::send(self.edge, request.body(http1::empty()).unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Response::from_parts(parts, String::from_utf8(body.to_vec()).unwrap())
    }

    /// Requests a page; returns status, cache result and body.
    async fn get(&self, target: &str, headers: &[(&str, &str)]) -> String {
        let answer = self.send("GET", target, headers).await;
        let cache = answer.headers()["x-cache"].to_str().unwrap();
        format!("{} {cache} {}", answer.status().as_u16(), answer.body())
    }
}

#[tokio::test]
async fn keeps_a_page_and_hides_the_edge_headers() {
    let bench = Bench::start().await;
    assert_eq!(
        bench.get("/a", &[("x-push-invalidation", "no"), ("x-byo-cdn-type", "fastly")]).await,
        "200 MISS v1"
    );
    assert_eq!(bench.get("/a", &[]).await, "200 HIT v1");
    assert_eq!(bench.get("/a?x=1", &[]).await, "200 MISS v1");

    let asked = bench.origin.requests.lock().unwrap()[0].clone();
    let sent =
        |name: &str| asked.get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>().join("|");
    assert_eq!(sent("x-push-invalidation"), "enabled");
    assert_eq!(sent("x-byo-cdn-type"), "varnish");
    assert_eq!(sent("x-forwarded-for"), "127.0.0.1");

    let answer = bench.send("GET", "/a", &[]).await;
    assert!(!answer.headers().contains_key("surrogate-control") && !answer.headers().contains_key("xkey"));
    assert_eq!(answer.headers()["cache-control"], "max-age=5");
}

#[tokio::test]
async fn a_purged_page_is_fetched_again() {
    for (method, target, purge) in [
        ("PURGE", "/", vec![("xkey-purge", "other page")]),
        ("PURGE", "/", vec![("xkey-softpurge", "page")]),
        ("PURGE", "/a", vec![("x-purge-mode", "hard")]),
        ("BAN", "/", vec![("x-ban-host", "www.example.com"), ("x-ban-prefix", "/a")]),
        ("BAN", "/", vec![("x-ban-everything", "1")]),
    ] {
        let bench = Bench::start().await;
        bench.get("/a", &[]).await;
        bench.origin.set(|answer| answer.body = "v2".to_owned());
        assert_eq!(bench.get("/a", &[]).await, "200 HIT v1");
        let purged = bench.send(method, target, &purge).await;
        assert_eq!((purged.status().as_u16(), purged.body().as_str()), (200, "Purged\n"), "{purge:?}");
        assert_eq!(bench.get("/a", &[]).await, "200 MISS v2", "{purge:?}");
    }
}

#[tokio::test]
async fn a_refused_purge_says_so_and_never_reaches_the_shim() {
    let bench = Bench::start().await;
    assert_eq!(bench.send("PURGE", "/", &[]).await.status(), 400);
    assert_eq!(
        bench.send("PURGE", "/", &[("xkey-purge", "a"), ("x-forwarded-for", "192.0.2.1")]).await.status(),
        403
    );
    assert_eq!(bench.origin.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_softly_purged_page_is_served_once_more_and_not_kept_by_browsers() {
    let bench = Bench::start().await;
    bench.origin.set(|answer| answer.headers[0].1 = "max-age=60, stale-while-revalidate=60".to_owned());
    bench.get("/a", &[]).await;
    bench.origin.set(|answer| answer.body = "v2".to_owned());
    bench.send("PURGE", "/", &[("xkey-softpurge", "page")]).await;

    let stale = bench.send("GET", "/a", &[]).await;
    assert_eq!(
        (stale.body().as_str(), stale.headers()["cache-control"].to_str().unwrap()),
        ("v1", "no-cache")
    );
    // The background fetch may end later.
    while bench.get("/a", &[]).await != "200 HIT v2" {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn errors_do_not_replace_pages_that_may_be_served_on_errors() {
    let bench = Bench::start().await;
    bench.origin.set(|answer| answer.headers[0].1 = "max-age=60, stale-if-error=60".to_owned());
    bench.get("/a", &[]).await;
    bench.origin.set(|answer| {
        answer.status = 503;
        answer.headers[0].1 = "no-store".to_owned();
    });
    bench.send("PURGE", "/", &[("xkey-softpurge", "page")]).await;
    assert_eq!(bench.get("/a", &[]).await, "200 HIT v1");
    bench.send("PURGE", "/", &[("xkey-purge", "page")]).await;
    assert_eq!(bench.get("/a", &[]).await, "503 MISS v1", "what was purged hard is gone");
}

#[tokio::test]
async fn personal_requests_and_answers_are_not_kept() {
    let bench = Bench::start().await;
    for personal in [("cookie", "a=b"), ("authorization", "Basic eA=="), ("range", "bytes=0-1")] {
        for _ in 0..2 {
            assert_eq!(bench.get("/a", &[personal]).await, "200 MISS v1");
        }
    }
    bench.origin.set(|answer| answer.headers.push(("set-cookie", "a=b".to_owned())));
    for _ in 0..2 {
        assert_eq!(bench.get("/a", &[]).await, "200 MISS v1");
    }
    let posts = bench.origin.calls.load(Ordering::SeqCst);
    bench.send("POST", "/a", &[]).await;
    assert_eq!(bench.origin.calls.load(Ordering::SeqCst), posts + 1);
}

#[tokio::test]
async fn a_long_body_passes_without_being_kept() {
    let bench = Bench::start().await;
    bench.origin.set(|answer| answer.body = "x".repeat(MAX_OBJECT_BYTES as usize + 1));
    for _ in 0..2 {
        let answer = bench.send("GET", "/a", &[]).await;
        assert_eq!(answer.headers()["x-cache"], "MISS");
        assert_eq!(answer.body().len() as u64, MAX_OBJECT_BYTES + 1);
    }
}

#[tokio::test]
async fn the_visitors_copy_is_confirmed_from_the_cache() {
    let bench = Bench::start().await;
    bench.origin.set(|answer| answer.headers.push(("etag", "\"v1\"".to_owned())));
    // The fetch must return the whole page although the visitor's request is conditional.
    assert_eq!(bench.get("/a", &[("if-none-match", "\"v1\"")]).await, "200 MISS v1");
    assert!(!bench.origin.requests.lock().unwrap()[0].contains_key("if-none-match"));
    assert_eq!(bench.get("/a", &[("if-none-match", "\"v0\", W/\"v1\"")]).await, "304 HIT ");
    assert_eq!(bench.get("/a", &[("if-none-match", "\"v0\"")]).await, "200 HIT v1");

    let head = bench.send("HEAD", "/a", &[]).await;
    assert_eq!((head.headers()["content-length"].to_str().unwrap(), head.body().as_str()), ("2", ""));
}

#[tokio::test]
async fn without_a_shim_the_edge_answers_502() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (shim, edge) = (gone.local_addr().unwrap(), listener.local_addr().unwrap());
    drop(gone);
    tokio::spawn(Edge::new(shim).serve(listener));
    let request = Request::builder().uri("/").header("host", "www.example.com").body(http1::empty()).unwrap();
    let answer = http1::send(edge, request).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.headers()["cache-control"].to_str().unwrap()),
        (502, "no-store")
    );
}
