//! TLS: which clients are asked for a certificate, what a verified one permits, and reloads.

use crate::harness::authority::Authority;
use crate::harness::in_process::{Shim, cdn, config, site};
use crate::harness::recorder::Recorder;
use crate::harness::wire::{LIMIT, get_with, header};
use origin_shim::config::{Certificate, Config, Trust};
use origin_shim::rewrite::CdnType;
use rcgen::{ExtendedKeyUsagePurpose, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

const NAME: &str = "www.example.com";

/// A shim with a TLS listener, and everything that its clients need.
struct Secure {
    shim: Shim,
    origin: Recorder,
    config: Config,
    servers: Authority,
    edges: Authority,
    dir: TempDir,
}

impl Secure {
    fn start() -> Self {
        let (dir, origin) = (TempDir::new().unwrap(), Recorder::start());
        let (servers, edges) = (Authority::new(), Authority::new());
        let mut www = site(&[origin.address]);
        www.cdns = vec![cdn(CdnType::Fastly)];
        www.trust = Trust::ClientCertificate;
        let mut config = config(vec![www]);
        config.server.tls_listen = vec![([127, 0, 0, 1], 0).into()];
        config.server.certificates = vec![server_files(&dir, "one", &servers)];
        config.server.client_ca = Some(file(&dir, "edges.pem", &edges.pem()));
        let shim = Shim::start(&config);
        shim.health.cell("www", "fastly").set(true);
        Self { shim, origin, config, servers, edges, dir }
    }

    /// Connects with a certificate of this authority, or without one.
    fn connect(&self, authority: Option<&Authority>, versions: Versions) -> std::io::Result<Session> {
        let usage = ExtendedKeyUsagePurpose::ClientAuth;
        self.connect_with(authority.map(|authority| authority.sign("edge.test", usage)), versions)
    }

    fn connect_with(
        &self,
        own: Option<(rcgen::Certificate, KeyPair)>,
        versions: Versions,
    ) -> std::io::Result<Session> {
        let mut roots = RootCertStore::empty();
        roots.add(self.servers.issuer.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
                builder.with_client_auth_cert(vec![CertificateDer::from(certificate)], key).unwrap()
            }
        };
        let stream = TcpStream::connect(self.shim.plane.addresses().tls[0])?;
        stream.set_read_timeout(Some(LIMIT))?;
        let connection =
            ClientConnection::new(Arc::new(config), ServerName::try_from(NAME).unwrap()).unwrap();
        let mut session = Session(StreamOwned::new(connection, stream));
        // In TLS 1.3 a client hears that its certificate is refused only when it reads.
        session.get("/first").map(|_| session)
    }
}

type Versions = &'static [&'static rustls::SupportedProtocolVersion];
const BOTH: [Versions; 2] = [&[&rustls::version::TLS12], &[&rustls::version::TLS13]];

struct Session(StreamOwned<ClientConnection, TcpStream>);

impl Session {
    /// The head of the answer to an opted-in request.
    fn get(&mut self, path: &str) -> std::io::Result<String> {
        let request = get_with(path, "x-push-invalidation: enabled\r\n");
        self.0.write_all(request.as_bytes())?;
        let mut answer = vec![];
        while !answer.ends_with(b"\r\n\r\nok") {
            let mut byte = [0];
            self.0.read_exact(&mut byte)?;
            answer.push(byte[0]);
        }
        Ok(String::from_utf8(answer).unwrap())
    }

    fn is_believed(&mut self) -> bool {
        self.get("/").unwrap().contains("surrogate-control: max-age=172800")
    }
}

fn file(dir: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn server_files(dir: &TempDir, name: &str, authority: &Authority) -> Certificate {
    let (certificate, key) = authority.sign(NAME, ExtendedKeyUsagePurpose::ServerAuth);
    Certificate {
        cert: file(dir, &format!("{name}.pem"), &certificate.pem()),
        key: file(dir, &format!("{name}.key"), &key.serialize_pem()),
    }
}

#[test]
fn only_a_verified_certificate_is_believed_and_none_is_needed() {
    let secure = Secure::start();
    for versions in BOTH {
        assert!(secure.connect(Some(&secure.edges), versions).unwrap().is_believed());
        let mut stranger = secure.connect(None, versions).unwrap();
        assert!(!stranger.is_believed());
        // A certificate of another authority is a lie, and so is one that is for servers.
        let before = secure.origin.bytes();
        assert!(secure.connect(Some(&Authority::new()), versions).is_err());
        let for_servers = secure.edges.sign("edge.test", ExtendedKeyUsagePurpose::ServerAuth);
        assert!(secure.connect_with(Some(for_servers), versions).is_err());
        assert_eq!(secure.origin.bytes(), before);
    }
    // Without TLS there is no certificate.
    let (head, _) = secure.shim.request(&get_with("/", "x-push-invalidation: enabled\r\n"));
    assert_eq!(header(&head, "surrogate-control"), None);
    // The origin hears the opt-in of those who are believed alone.
    let believed = secure.origin.bytes().matches("x-push-invalidation: enabled").count();
    assert_eq!(believed, 2 * BOTH.len());
}

#[test]
fn r44_reloads_swap_certificates_and_authorities_and_drop_no_connection() {
    let secure = Secure::start();
    let mut open = secure.connect(Some(&secure.edges), rustls::ALL_VERSIONS).unwrap();
    let newcomers = Authority::new();
    let mut config = secure.config.clone();
    config.server.client_ca = Some(file(&secure.dir, "new.pem", &newcomers.pem()));
    config.server.certificates = vec![server_files(&secure.dir, "two", &secure.servers)];
    secure.shim.plane.reload(&config).unwrap();
    assert!(open.is_believed(), "a connection keeps what it began with");
    assert!(secure.connect(Some(&secure.edges), rustls::ALL_VERSIONS).is_err());
    assert!(secure.connect(Some(&newcomers), rustls::ALL_VERSIONS).unwrap().is_believed());

    // What is bad changes nothing, and each kind of bad is named.
    let empty = file(&secure.dir, "empty.pem", "nothing");
    for (authority, message) in
        [(empty, "there is no certificate in "), ("/nonexistent.pem".into(), "cannot read ")]
    {
        let mut bad = secure.config.clone();
        bad.server.client_ca = Some(authority);
        bad.sites.clear();
        let refused = secure.shim.plane.reload(&bad).unwrap_err();
        let source = std::error::Error::source(&refused).unwrap().to_string();
        assert!(source.contains(message), "{source}");
        assert!(secure.connect(Some(&newcomers), rustls::ALL_VERSIONS).unwrap().is_believed());
    }
    // Nobody is asked any more: trust is gone with the authority.
    let mut config = secure.config.clone();
    config.server.client_ca = None;
    secure.shim.plane.reload(&config).unwrap();
    assert!(!secure.connect(Some(&newcomers), rustls::ALL_VERSIONS).unwrap().is_believed());
    assert!(open.is_believed());
}

/// A ticket does not carry trust over the removal of the authority that it rests on.
#[test]
fn r44_a_session_does_not_outlive_its_authority() {
    let secure = Secure::start();
    let mut roots = RootCertStore::empty();
    roots.add(secure.servers.issuer.der().clone()).unwrap();
    let (certificate, key) = secure.edges.sign("edge.test", ExtendedKeyUsagePurpose::ClientAuth);
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![CertificateDer::from(certificate)], key)
        .unwrap();
    let client = Arc::new(client);
    let session = || {
        let stream = TcpStream::connect(secure.shim.plane.addresses().tls[0]).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let connection =
            ClientConnection::new(Arc::clone(&client), ServerName::try_from(NAME).unwrap()).unwrap();
        let mut session = Session(StreamOwned::new(connection, stream));
        session.get("/first").map(|_| session)
    };
    session().unwrap();
    let mut resumed = session().unwrap();
    assert_eq!(resumed.0.conn.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
    assert!(resumed.is_believed());
    let mut config = secure.config.clone();
    config.server.client_ca = Some(file(&secure.dir, "new.pem", &Authority::new().pem()));
    secure.shim.plane.reload(&config).unwrap();
    assert!(session().is_err(), "its certificate is no longer one");
}

/// The cipher order of the server holds, whatever the client prefers.
#[test]
fn the_strongest_cipher_is_taken() {
    let secure = Secure::start();
    let mut roots = RootCertStore::empty();
    roots.add(secure.servers.issuer.der().clone()).unwrap();
    for versions in BOTH {
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites.reverse();
        let client = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        let stream = TcpStream::connect(secure.shim.plane.addresses().tls[0]).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let name = ServerName::try_from(NAME).unwrap();
        let connection = ClientConnection::new(Arc::new(client), name).unwrap();
        let mut session = Session(StreamOwned::new(connection, stream));
        session.get("/").unwrap();
        let taken = format!("{:?}", session.0.conn.negotiated_cipher_suite().unwrap().suite());
        assert!(taken.ends_with("_AES_256_GCM_SHA384"), "{taken}");
    }
}
