use super::*;
use clap::Parser;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivatePkcs8KeyDer;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

const CANARY: &str = "canary-0123456789abcdef";

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: ExplainArgs,
}

fn config(origin: &str) -> Config {
    let text = format!(
        r#"
        [[sites]]
        name = "www"
        hosts = ["www.example.com"]
        origin = "{origin}"
        opt_in = {{ trust = "secret", secret = "env:SECRET" }}
        [[sites.rules]]
        path = "/assets/**"
        edge_ttl = "30d"
        tags = ["assets"]
        [[sites.cdns]]
        type = "fastly"
        service_id = "S1"
        auth_token = "env:TOKEN"
        [[sites]]
        name = "two"
        hosts = ["two.example.com"]
        origin = "http://o"
        opt_in = {{ trust = ["10.1.0.0/16"] }}
        mode = "observe"
        [[sites.cdns]]
        type = "akamai"
        endpoint = "a.akamaiapis.net"
        client_token = "env:TOKEN"
        client_secret = "env:TOKEN"
        access_token = "env:TOKEN"
        [[sites.cdns]]
        type = "cloudflare"
        zone_id = "z"
        api_token = "env:TOKEN"
        "#
    );
    Config::parse(&text, Path::new("shim.toml"), &|_| Some(CANARY.to_owned())).unwrap()
}

fn ask(origin: &str, arguments: &[&str]) -> Result<String, String> {
    let cli = Cli::try_parse_from([&["explain"], arguments].concat()).map_err(|error| error.to_string())?;
    let answer = explain(&cli.args, cli.args.url.as_ref().unwrap(), &config(origin))
        .map_err(|error| error.to_string());
    assert!(!format!("{answer:?}").contains(CANARY), "{answer:?}");
    answer
}

fn answer(arguments: &[&str]) -> String {
    ask("http://origin", arguments).unwrap()
}

#[test]
fn a_response_that_is_lengthened() {
    insta::assert_snapshot!(answer(&[
        "https://WWW.example.com:443/assets/a.css?x=1",
        "--response-header",
        "Cache-Control: max-age=60",
        "--response-header",
        "ETag: \"a\"",
    ]));
}

#[test]
fn a_response_to_a_visitor() {
    insta::assert_snapshot!(answer(&[
        "https://www.example.com/",
        "--visitor",
        "--response-header",
        "age: 5"
    ]));
}

#[test]
fn a_cdn_that_cannot_be_purged() {
    insta::assert_snapshot!(answer(&["https://www.example.com/", "--cdn", "fastly", "--unhealthy"]));
}

#[test]
fn a_site_that_observes_and_json() {
    let arguments = ["https://two.example.com/", "--cdn", "akamai", "--status", "404", "--json"];
    insta::assert_snapshot!(answer(&arguments));
}

#[test]
fn who_is_believed() {
    let check = |arguments: &[&str], reason: &str| {
        let text = answer(&[&["https://www.example.com/"], arguments].concat());
        assert!(text.contains(&format!("({reason})")), "{arguments:?}: {text}");
    };
    check(&[], "ttl-table");
    check(&["--header", "x-origin-shim-secret: guess"], "opt-in-untrusted");
    check(&["--header", "X-BYO-CDN-Type: akamai"], "cdn-in-dispute");
    check(&["--header", "Authorization: Basic x"], "authorization");
    check(&["--header", "Authorization: NTLM x"], "private");
    check(&["--method", "POST"], "method");

    let from = |peer: &str| answer(&["https://two.example.com/", "--cdn", "akamai", "--peer", peer]);
    assert!(from("10.1.2.3").contains("opt-in   yes"));
    assert!(from("10.2.2.3").contains("opt-in   no"));
}

#[test]
fn what_cannot_be_explained() {
    let check = |arguments: &[&str], part: &str| {
        let error = ask("http://origin", arguments).unwrap_err();
        assert!(error.contains(part), "{arguments:?}: {error}");
    };
    check(&["/a"], "must start with http://");
    check(&["https://other.example/"], "no site serves \"other.example\"");
    check(&["https://two.example.com/"], "several types: name the one that asks with --cdn");
    check(&["https://www.example.com/", "--cdn", "bunny"], "must be one of fastly, akamai");
    check(&["https://www.example.com/", "--header", "nonsense"], "a colon");
    check(&["https://www.example.com/", "--fetch", "--status", "404"], "cannot be used with");
}

#[test]
fn the_origin_can_be_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut head, mut buffer) = (Vec::new(), [0; 1024]);
        while !head.ends_with(b"\r\n\r\n") {
            let read = stream.read(&mut buffer).unwrap();
            head.extend_from_slice(&buffer[..read]);
        }
        stream.write_all(b"HTTP/1.1 301 Moved\r\nlocation: /b\r\ncontent-length: 0\r\n\r\n").unwrap();
        String::from_utf8(head).unwrap()
    });
    let text =
        ask(&origin, &["https://www.example.com/a?x=1", "--fetch", "-H", "accept-language: de"]).unwrap();
    assert!(text.starts_with("GET https://www.example.com/a?x=1 -> 301\n"), "{text}");
    assert!(text.contains(&format!("\norigin   {origin} (HTTP/1.1)\n")), "{text}");
    assert!(text.contains("outcome  lengthened"), "{text}");
    assert!(text.contains("    location: /b"), "{text}");

    let head = served.join().unwrap().to_ascii_lowercase();
    assert!(head.starts_with("get /a?x=1 http/1.1\r\n"), "{head}");
    for line in ["host: 127.0.0.1:", "x-push-invalidation: enabled", "accept-language: de"] {
        assert!(head.contains(line), "{line}: {head}");
    }
    assert!(!head.contains("x-origin-shim-secret") && !head.contains(CANARY), "{head}");
}

/// Starts an origin that answers one HTTP/2 request, which it returns; with `tls`, HTTP/2 is negotiated by TLS.
fn http2_origin(tls: Option<ServerConfig>) -> (SocketAddr, JoinHandle<http::request::Parts>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let (stream, _) = listener.accept().unwrap();
            stream.set_nonblocking(true).unwrap();
            let stream = tokio::net::TcpStream::from_std(stream).unwrap();
            match tls {
                Some(tls) => serve(TlsAcceptor::from(Arc::new(tls)).accept(stream).await.unwrap()).await,
                None => serve(stream).await,
            }
        })
    });
    (address, served)
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin) -> http::request::Parts {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    let (request, mut respond) = connection.accept().await.unwrap().unwrap();
    respond.send_response(http::Response::builder().status(204).body(()).unwrap(), true).unwrap();
    connection.graceful_shutdown();
    // The client may close the connection without notice.
    while let Some(Ok(_)) = connection.accept().await {}
    request.into_parts().0
}

#[test]
fn fetch_speaks_http_2_where_nobody_is_asked() {
    let (address, served) = http2_origin(None);
    let keys = format!("http://{address}\"\norigin_protocol = \"http2");
    let text = ask(&keys, &["https://www.example.com/a?x=1", "--fetch"]).unwrap();
    assert!(text.starts_with("GET https://www.example.com/a?x=1 -> 204\n"), "{text}");
    let head = served.join().unwrap();
    assert_eq!(head.uri.to_string(), format!("http://{address}/a?x=1"));
    assert!(!head.headers.contains_key("host"), "{head:?}");
}

#[test]
fn fetch_offers_http_2_where_the_shim_does() {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let files = tempfile::tempdir().unwrap();
    let ca = files.path().join("ca.pem");
    std::fs::write(&ca, made.cert.pem()).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let mut tls = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let (address, served) = http2_origin(Some(tls));
    let keys = format!(
        "https://{address}\"\norigin_protocol = \"http2\"\norigin_tls = {{ ca = \"{}\" }}\nmode = \"on",
        ca.display()
    );
    let text = ask(&keys, &["https://www.example.com/a", "--fetch", "--json"]).unwrap();
    let told: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(told["status"], 204, "{text}");
    let origin = serde_json::json!({ "url": format!("https://{address}"), "version": "HTTP/2.0" });
    assert_eq!(told["origin"], origin, "{text}");
    let head = served.join().unwrap();
    assert_eq!(head.uri.to_string(), format!("https://{address}/a"));
    assert!(!head.headers.contains_key("host"), "{head:?}");
}
