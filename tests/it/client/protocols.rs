//! HTTP/2 with prior knowledge, TLS with ALPN and SNI, and https origins.

use crate::harness::in_process::{Shim, config, site};
use crate::harness::scripted::Origin;
use crate::harness::wire::{LIMIT, Wire, get, header, status};
use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use origin_shim::config::{Certificate, Config};
use origin_shim::upstream::Roots;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Opens an HTTP/2 connection over any stream.
async fn h2<S>(stream: S) -> hyper::client::conn::http2::SendRequest<Full<Bytes>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn request(method: &str, uri: &str, body: &'static str) -> Request<Full<Bytes>> {
    Request::builder().method(method).uri(uri).body(Full::new(Bytes::from(body))).unwrap()
}

#[test]
fn http2_with_prior_knowledge() {
    let origin = Origin::playing(|served| {
        while let Some((_, body)) = served.request() {
            served.wire.send(format!(
                "HTTP/1.1 200 OK\r\nconnection: x-hop\r\nx-hop: 1\r\nx-end: 1\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            ));
        }
    });
    let shim = Shim::before(&origin);
    block_on(async {
        let mut client = h2(TcpStream::connect(shim.address()).await.unwrap()).await;
        let response =
            client.send_request(request("PUT", "http://www.example.com/a?b", "body")).await.unwrap();
        assert_eq!(response.version(), Version::HTTP_2);
        assert_eq!(response.headers().get("x-hop"), None);
        let names: Vec<_> = response.headers().keys().map(|name| name.as_str()).collect();
        assert_eq!(names, ["x-end", "content-length"]);
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "body");

        let received = origin.received();
        assert!(received.starts_with("PUT /a?b HTTP/1.1\r\n"), "{received}");
        assert_eq!(header(&received, "host"), Some("origin.test"));
        assert_eq!(header(&received, "via"), Some("2.0 origin-shim"));
        assert_eq!(header(&received, "x-forwarded-host"), Some("www.example.com"));
        assert_eq!(header(&received, "content-length"), Some("4"));

        // A body of unknown length is sent in chunks. An empty body is sent with a length of zero.
        let head = request("POST", "http://www.example.com/", "").map(|_| Full::new(Bytes::new()));
        client.send_request(head).await.unwrap();
        assert_eq!(header(&origin.received(), "content-length"), Some("0"));

        // A request for another host on the same connection is routed by its own host.
        let response = client.send_request(request("GET", "http://other.test/", "")).await.unwrap();
        assert_eq!(response.status(), 421);
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers().get("connection"), None);
        let response = client.send_request(request("HEAD", "http://other.test/", "")).await.unwrap();
        assert_eq!(response.status(), 421);
        assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
    });
}

#[test]
fn many_streams_share_one_http2_connection() {
    let origin = Origin::ok();
    let shim = Shim::before(&origin);
    block_on(async {
        let client = h2(TcpStream::connect(shim.address()).await.unwrap()).await;
        let requests: Vec<_> = (0..50)
            .map(|_| {
                let mut client = client.clone();
                tokio::spawn(async move {
                    let response = client.send_request(request("GET", "http://www.example.com/", "")).await;
                    response.unwrap().into_body().collect().await.unwrap().to_bytes()
                })
            })
            .collect();
        for request in requests {
            assert_eq!(request.await.unwrap(), "ok");
        }
    });
    shim.counts("origin_shim_requests_in_flight 0");
}

/// The worker caches which field names occur together. Values of one response never appear in another.
#[test]
fn heads_of_http2_are_told_apart() {
    let answers = [
        ("/a", "etag: 1\r\nx-a: 1\r\n"),
        ("/b", "etag: 2\r\nx-a: 2\r\n"),
        ("/c", "x-a: 3\r\netag: 3\r\n"),
        ("/d", "set-cookie: a\r\netag: 4\r\nset-cookie: b\r\n"),
        ("/e", "set-cookie: c\r\netag: 5\r\n"),
    ];
    let origin = Origin::playing(move |served| {
        while let Some((head, _)) = served.request() {
            let (_, lines) = answers.iter().find(|(path, _)| head.contains(path)).unwrap();
            served.wire.send(format!("HTTP/1.1 200 OK\r\n{lines}content-length: 2\r\n\r\nok"));
        }
    });
    let shim = Shim::before(&origin);
    block_on(async {
        let mut client = h2(TcpStream::connect(shim.address()).await.unwrap()).await;
        for (path, lines) in answers.iter().cycle().take(6 * answers.len()) {
            let uri = format!("http://www.example.com{path}");
            let response = client.send_request(request("GET", &uri, "")).await.unwrap();
            let mut got: Vec<_> = response
                .headers()
                .iter()
                .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
                .collect();
            let mut expected: Vec<_> = lines.lines().map(str::to_owned).collect();
            expected.push("content-length: 2".to_owned());
            got.sort();
            expected.sort();
            assert_eq!(got, expected, "{path}");
        }
    });
}

#[test]
fn a_truncated_body_resets_the_http2_stream_and_not_its_connection() {
    let origin = Origin::playing(|served| {
        let (head, _) = served.request().unwrap();
        if head.starts_with("GET /short") {
            served.wire.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
        } else {
            served.wire.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
        served.wire.shutdown();
    });
    let shim = Shim::before(&origin);
    block_on(async {
        let mut client = h2(TcpStream::connect(shim.address()).await.unwrap()).await;
        let response = client.send_request(request("GET", "http://www.example.com/short", "")).await.unwrap();
        assert!(response.into_body().collect().await.is_err());
        let response = client.send_request(request("GET", "http://www.example.com/", "")).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
    });
}

#[test]
fn http2_connections_drain() {
    let origin = Origin::ok();
    let shim = Shim::before(&origin);
    block_on(async {
        let stream = TcpStream::connect(shim.address()).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http2::handshake::<_, _, Empty<Bytes>>(
            TokioExecutor::new(),
            TokioIo::new(stream),
        )
        .await
        .unwrap();
        let connection = tokio::spawn(connection);
        let get = Request::get("http://www.example.com/").body(Empty::new()).unwrap();
        sender.send_request(get).await.unwrap().into_body().collect().await.unwrap();
        shim.plane.drain(LIMIT);
        // The connection ends cleanly after a GOAWAY.
        connection.await.unwrap().unwrap();
    });
    shim.plane.join().unwrap();
}

#[test]
fn the_first_bytes_may_come_one_by_one() {
    let origin = Origin::ok();
    let shim = Shim::before(&origin);
    let mut client = shim.connect();
    // `P`, `PR` and `PRI` could all be the start of HTTP/2. Here they are the start of a method.
    for part in ["P", "R", "I", "X / HTTP/1.1\r\nhost: www.example.com\r\n", "\r\n"] {
        client.send(part);
        std::thread::yield_now();
    }
    assert_eq!(client.response().1, "ok");
    assert!(origin.received().starts_with("PRIX / HTTP/1.1\r\n"));
}

/// Certificates on disk, each for one name, and a client that trusts them.
struct Certificates {
    _directory: tempfile::TempDir,
    files: Vec<Certificate>,
    roots: RootCertStore,
}

impl Certificates {
    fn of(names: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut roots = RootCertStore::empty();
        let files = names.iter().enumerate().map(|(index, name)| {
            let made = rcgen::generate_simple_self_signed([(*name).to_owned()]).unwrap();
            let file = |suffix: &str| directory.path().join(format!("{index}.{suffix}"));
            let files = Certificate { cert: file("pem"), key: file("key") };
            std::fs::write(&files.cert, made.cert.pem()).unwrap();
            std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
            roots.add(made.cert.der().clone()).unwrap();
            files
        });
        let files = files.collect();
        Self { _directory: directory, files, roots }
    }

    fn client(
        &self,
        alpn: &[&str],
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

async fn tls(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    name: &'static str,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::clone(config)).connect(ServerName::try_from(name).unwrap(), stream).await
}

fn tls_config(origin: &Origin, certificates: &Certificates) -> Config {
    let mut config = config(vec![site(&[origin.address])]);
    config.server.tls_listen = vec![([127, 0, 0, 1], 0).into()];
    config.server.certificates = certificates.files.clone();
    config
}

#[test]
fn alpn_chooses_the_protocol_and_sni_the_certificate() {
    let origin = Origin::ok();
    let certificates = Certificates::of(&["first.test", "www.example.com"]);
    let shim = Shim::start(&tls_config(&origin, &certificates));
    let address = shim.plane.addresses().tls[0];
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        block_on(async {
            let config = certificates.client(&["h2", "http/1.1"], &[version]);
            let stream = tls(address, &config, "www.example.com").await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            let mut client = h2(stream).await;
            let response = client.send_request(request("GET", "https://www.example.com/", "")).await.unwrap();
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
            let received = origin.received();
            assert_eq!(header(&received, "x-forwarded-proto"), Some("https"));

            for alpn in [&["http/1.1"][..], &[]] {
                let config = certificates.client(alpn, &[version]);
                let stream = tls(address, &config, "www.example.com").await.unwrap();
                let (mut client, connection) =
                    hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
                tokio::spawn(connection);
                let get = Request::get("/").header("host", "www.example.com");
                let response = client.send_request(get.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
                assert_eq!(response.version(), Version::HTTP_11);
                assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
                origin.received();
            }
        });
    }
    block_on(async {
        // A name without a certificate gets the first certificate, and its client refuses it.
        let config = certificates.client(&[], &[&rustls::version::TLS13]);
        assert!(tls(address, &config, "unknown.test").await.is_err());
        assert!(tls(address, &config, "first.test").await.is_ok());
    });
}

#[test]
fn certificates_are_reloaded_and_bad_ones_change_nothing() {
    let origin = Origin::ok();
    let (old, new) = (Certificates::of(&["old.test"]), Certificates::of(&["new.test"]));
    let mut config = tls_config(&origin, &old);
    let shim = Shim::start(&config);
    let address = shim.plane.addresses().tls[0];
    let served = |certificates: &Certificates, name| {
        let client = certificates.client(&[], &[&rustls::version::TLS13]);
        block_on(async { tls(address, &client, name).await.is_ok() })
    };
    assert!(served(&old, "old.test"));

    // One invalid file among valid ones: nothing changes, not even the sites.
    let mut bad = config.clone();
    bad.server.certificates = new.files.clone();
    bad.server.certificates.push(Certificate { cert: "/nonexistent".into(), key: "/nonexistent".into() });
    bad.sites.clear();
    assert!(shim.plane.reload(&bad).is_err());
    assert!(served(&old, "old.test"));
    assert_eq!(shim.request(&get("/")).1, "ok");

    config.server.certificates = new.files.clone();
    shim.plane.reload(&config).unwrap();
    assert!(served(&new, "new.test"));
}

#[test]
fn a_tls_handshake_has_a_limit() {
    let origin = Origin::ok();
    let certificates = Certificates::of(&["www.example.com"]);
    let mut config = tls_config(&origin, &certificates);
    config.server.limits.handshake_timeout = std::time::Duration::from_millis(50);
    let shim = Shim::start(&config);
    let mut silent = Wire::connect(shim.plane.addresses().tls[0]);
    assert_eq!(silent.rest(), "");
}

/// Starts a TLS server with one certificate that answers one HTTP/1.1 request per connection.
fn https_origin(certificates: &Certificates) -> SocketAddr {
    use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
    let files = &certificates.files[0];
    let cert = CertificateDer::from_pem_file(&files.cert).unwrap();
    let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let config = Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream.unwrap());
            let mut head = Vec::new();
            let mut byte = [0];
            use std::io::{Read, Write};
            while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                head.push(byte[0]);
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecure");
            let _ = stream.flush();
        }
    });
    address
}

#[test]
fn https_origins_are_checked() {
    let certificates = Certificates::of(&["localhost"]);
    let mut client = (*certificates.client(&["http/1.1"], rustls::ALL_VERSIONS)).clone();
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    let address = https_origin(&certificates);
    let shim = |host: &str| {
        let mut www = site(&[address]);
        www.origins[0].tls = true;
        www.origins[0].host = host.into();
        Shim::with_roots(&config(vec![www]), Roots::given(Arc::new(client.clone())))
    };
    assert_eq!(shim("localhost").request(&get("/")).1, "secure");
    // This shim uses a name of the same server that the certificate does not cover.
    let shim = shim("127.0.0.1");
    let (head, _) = shim.request(&get("/"));
    assert_eq!(status(&head), 502);
    assert_eq!(header(&head, "proxy-status"), Some("origin-shim; error=tls_protocol_error"));
    shim.counts(r#"origin_shim_origin_errors_total{site="www",kind="tls"} 1"#);
}
