//! `bench-load --address ADDRESS --pages N [options]`: asks for pages in a pseudo-random order for some time, and prints
//! one line: requests, and the median and 99th percentile of their time in microseconds.
//!
//! All requests are made before the time begins. The body of each response must be the page's own, byte for byte; the
//! first wrong one ends the run with exit code 1. On one thread, so that it costs one core at most.

mod http1;
mod http2;
mod page;

use page::Pages;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// What to do.
struct Options {
    address: SocketAddr,
    /// Distinct pages; 1: one hot page.
    pages: u32,
    /// The first segment of the path: `small` or `large`.
    kind: String,
    host: String,
    /// Field lines that each request has.
    fields: Vec<(String, String)>,
    connections: u32,
    /// Requests at a time on one connection, in HTTP/2.
    streams: u32,
    tls: bool,
    http2: bool,
    duration: Duration,
    /// Requests per second over all connections; none: as many as can be.
    rate: Option<f64>,
    seed: u64,
}

/// What each connection reports.
#[derive(Default)]
struct Measured {
    microseconds: Vec<u32>,
}

/// When a connection's requests are due.
struct Pace {
    ends: Instant,
    interval: Option<Duration>,
    next: Instant,
}

impl Pace {
    /// Returns the share of one of a connection's streams.
    fn of_stream(&self, number: u32, streams: u32) -> Self {
        let offset = self.interval.unwrap_or_default() * number;
        let interval = self.interval.map(|interval| interval * streams);
        Self { interval, next: self.next + offset, ..*self }
    }

    /// Waits until the next request is due. Returns when its time begins, or `None` at the end of the run. A request that is
    /// late because the one before took long counts from when it was due.
    async fn next(&mut self) -> Option<Instant> {
        let now = Instant::now();
        if now >= self.ends {
            return None;
        }
        let Some(interval) = self.interval else { return Some(now) };
        let due = self.next;
        self.next += interval;
        if due > now {
            tokio::time::sleep_until(due.into()).await;
        }
        (due < self.ends).then_some(due)
    }
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("bench-load: {problem}");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let result = tokio::task::LocalSet::new().block_on(&runtime, run(Arc::new(options)));
    match result {
        Ok(mut all) => {
            all.sort_unstable();
            let at = |share: f64| all.get((all.len() as f64 * share) as usize).copied().unwrap_or_default();
            println!("requests {} p50 {} p99 {}", all.len(), at(0.5), at(0.99));
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("bench-load: {problem}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Arc<Options>) -> io::Result<Vec<u32>> {
    let pages = Arc::new(Pages::new(&options));
    let started = Instant::now();
    let tasks: Vec<_> = (0..options.connections)
        .map(|number| {
            let (options, pages) = (Arc::clone(&options), Arc::clone(&pages));
            let per_connection = options.rate.map(|rate| Duration::from_secs_f64(f64::from(options.connections) / rate));
            let offset = per_connection.unwrap_or_default() * number / options.connections;
            let ends = started + options.duration;
            let pace = Pace { ends, interval: per_connection, next: started + offset };
            tokio::task::spawn_local(async move { connection(&options, &pages, number, pace).await })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.map_err(io::Error::other)??.microseconds);
    }
    Ok(all)
}

async fn connection(options: &Options, pages: &Pages, number: u32, pace: Pace) -> io::Result<Measured> {
    let order = page::Order::new(options.pages, options.seed + u64::from(number));
    let stream = TcpStream::connect(options.address).await?;
    stream.set_nodelay(true)?;
    match (options.tls, options.http2) {
        (false, false) => http1::run(stream, pages, order, pace).await,
        (false, true) => http2::run(stream, options, pages, order, pace).await,
        (true, http2) => {
            let name = ServerName::try_from(options.host.clone()).map_err(io::Error::other)?;
            let stream = TlsConnector::from(Arc::new(tls_config(http2)?)).connect(name, stream).await?;
            match http2 {
                false => http1::run(stream, pages, order, pace).await,
                true => http2::run(stream, options, pages, order, pace).await,
            }
        }
    }
}

/// TLS 1.3 with one cipher, so that every proxy does the same cryptography. Whose certificate it is does not matter.
fn tls_config(http2: bool) -> io::Result<rustls::ClientConfig> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites = vec![rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384];
    provider.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::X25519];
    let verifier = Arc::new(Anybody(provider.signature_verification_algorithms));
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    Ok(config)
}

#[derive(Debug)]
struct Anybody(rustls::crypto::WebPkiSupportedAlgorithms);

impl rustls::client::danger::ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &rustls::pki_types::CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &rustls::pki_types::CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.supported_schemes()
    }
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        address: ([127, 0, 0, 1], 0).into(),
        pages: 100_000,
        kind: "small".to_owned(),
        host: "www.example.com".to_owned(),
        fields: vec![],
        connections: 64,
        streams: 8,
        tls: false,
        http2: false,
        duration: Duration::from_secs(2),
        rate: None,
        seed: 1,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{name} needs a value"));
        let wrong = |value: &str| format!("{name}: {value:?} is not a valid value");
        fn number<T: std::str::FromStr>(value: String, wrong: impl Fn(&str) -> String) -> Result<T, String> {
            value.parse().map_err(|_| wrong(&value))
        }
        match name.as_str() {
            "--address" => options.address = number(value()?, wrong)?,
            "--pages" => options.pages = number(value()?, wrong)?,
            "--kind" => options.kind = value()?,
            "--host" => options.host = value()?,
            "--field" => {
                let line = value()?;
                let (name, value) = line.split_once(": ").ok_or_else(|| wrong(&line))?;
                options.fields.push((name.to_ascii_lowercase(), value.to_owned()));
            }
            "--connections" => options.connections = number(value()?, wrong)?,
            "--streams" => options.streams = number(value()?, wrong)?,
            "--tls" => options.tls = true,
            "--http2" => options.http2 = true,
            "--seconds" => options.duration = Duration::from_secs_f64(number(value()?, wrong)?),
            "--rate" => options.rate = Some(number(value()?, wrong)?),
            "--seed" => options.seed = number(value()?, wrong)?,
            _ => return Err(format!("unknown option {name}")),
        }
    }
    if options.address.port() == 0 || options.pages == 0 || options.connections == 0 {
        return Err("--address is needed, and --pages and --connections are at least 1".to_owned());
    }
    Ok(options)
}
