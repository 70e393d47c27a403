//! `bench-pingora PLAIN TLS CERT KEY ORIGIN`: the job of `benches/compare.sh` on Pingora, with one thread.

use async_trait::async_trait;
use pingora::listeners::tls::TlsSettings;
use pingora::prelude::*;
use pingora::server::configuration::ServerConf;

const BROWSER_TTL: &str = "max-age=7200";
const EDGE_TTL: &str = "max-age=172800";

struct Job {
    origin: String,
}

#[async_trait]
impl ProxyHttp for Job {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(&self.origin, false, String::new())))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        (): &mut (),
    ) -> Result<()> {
        // HTTP/2 has its authority in the target.
        if let Some(authority) = request.uri.authority().map(ToString::to_string) {
            request.insert_header("Host", authority)?;
        }
        if let Some(address) = session.client_addr().and_then(|address| address.as_inet()) {
            request.insert_header("X-Forwarded-For", address.ip().to_string())?;
        }
        let tls = session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
        request.insert_header("X-Forwarded-Proto", if tls { "https" } else { "http" })
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        (): &mut (),
    ) -> Result<()> {
        let opted_in = session
            .req_header()
            .headers
            .get("x-push-invalidation")
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"enabled"));
        if opted_in {
            response.insert_header("Cache-Control", BROWSER_TTL)?;
            response.insert_header("Cloudflare-CDN-Cache-Control", EDGE_TTL)?;
            if let Some(tags) = response.remove_header("Surrogate-Key") {
                response.insert_header("Cache-Tag", tags)?;
            }
        }
        Ok(())
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [plain, tls, cert, key, origin] = &arguments[..] else {
        eprintln!("usage: bench-pingora PLAIN TLS CERT KEY ORIGIN");
        std::process::exit(2);
    };
    let configuration = ServerConf { threads: 1, upstream_keepalive_pool_size: 256, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, configuration);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Job { origin: origin.clone() });
    service.add_tcp(plain);
    let mut settings = TlsSettings::intermediate(cert, key)?;
    settings.enable_h2();
    service.add_tls_with_settings(tls, None, settings);
    server.add_service(service);
    server.run_forever()
}
