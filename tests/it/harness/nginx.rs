//! nginx as the origin: files that a test can change, with validators, a short lifetime and tags.

use super::process::Process;
use super::{free_address, listens};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// The tags that nginx sends in `Surrogate-Key`, by path.
const TAGS: [(&str, &str); 4] = [
    ("/", "home product-42"),
    ("/products/42.html", "products product-42"),
    ("/products/43.html", "products product-43"),
    ("/blog/first.html", "blog"),
];

/// A running nginx.
pub struct Nginx {
    /// The address that it listens on.
    pub address: SocketAddr,
    _process: Process,
    dir: TempDir,
}

impl Nginx {
    /// Starts it with a home page, two products and a post.
    pub fn start() -> Self {
        Self::listening("", "")
    }

    /// As [`Self::start`], in HTTP/2 without TLS, and with at most this number of requests on a connection.
    pub fn start_http2(requests: usize) -> Self {
        Self::listening("http2", &format!("keepalive_requests {requests};"))
    }

    fn listening(protocol: &str, directives: &str) -> Self {
        for _ in 0..5 {
            match Self::try_start(protocol, directives) {
                Ok(nginx) => return nginx,
                // Another process took the port in between.
                Err(output) => assert!(output.contains("Address already in use"), "{output}"),
            }
        }
        panic!("no port for nginx");
    }

    fn try_start(protocol: &str, directives: &str) -> Result<Self, String> {
        let dir = TempDir::new().unwrap();
        let address = free_address();
        fs::create_dir(dir.path().join("www")).unwrap();
        let config = dir.path().join("nginx.conf");
        fs::write(&config, configuration(address, protocol, directives)).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-p").arg(dir.path()).arg("-e").arg(dir.path().join("error.log")).arg("-c").arg(&config);
        let mut process = Process::start("nginx", command, dir.path());
        process.wait_until(|| listens(address))?;
        let nginx = Self { address, _process: process, dir };
        nginx.publish("/index.html", "home 1");
        for path in ["/products/42.html", "/products/43.html", "/blog/first.html"] {
            nginx.publish(path, &format!("{path} 1"));
        }
        Ok(nginx)
    }

    /// Writes a page. Each version is a second newer than the last one, since nginx makes its validators from the
    /// time in seconds and the length.
    pub fn publish(&self, path: &str, body: &str) {
        let file = self.file(path);
        let last = fs::metadata(&file).and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        let floor = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        // Renamed into place, so that no reader sees half a page.
        let new = file.with_extension("new");
        fs::write(&new, body).unwrap();
        File::options()
            .write(true)
            .open(&new)
            .unwrap()
            .set_modified(last.max(floor) + Duration::from_secs(1))
            .unwrap();
        fs::rename(new, file).unwrap();
    }

    /// Makes a file of `bytes` zeros that takes no room on the disk.
    pub fn publish_zeros(&self, path: &str, bytes: u64) {
        File::create(self.file(path)).unwrap().set_len(bytes).unwrap();
    }

    fn file(&self, path: &str) -> PathBuf {
        self.dir.path().join("www").join(path.trim_start_matches('/'))
    }
}

fn configuration(address: SocketAddr, protocol: &str, directives: &str) -> String {
    let tags: String = TAGS.iter().map(|(path, tags)| format!("    {path} \"{tags}\";\n")).collect();
    // One process, which is the one that the test ends. `absolute_redirect off`: a redirect must not name the port.
    format!(
        "daemon off;
master_process off;
pid nginx.pid;
error_log error.log;
events {{ worker_connections 2048; }}
http {{
  access_log off;
  client_body_temp_path client; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  types {{ text/html html; application/octet-stream bin; }}
  map $request_uri $tags {{
    default \"\";
{tags}  }}
  sendfile on;
  absolute_redirect off;
  gzip on;
  # By default nginx compresses nothing for a request that came through a proxy (`Via`).
  gzip_proxied any;
  gzip_min_length 1;
  gzip_vary on;
  server {{
    listen {address} {protocol} backlog=1024;
    {directives}
    root www;
    add_header Cache-Control \"max-age=1\";
    add_header Surrogate-Key $tags;
    location /cookie {{ add_header Set-Cookie \"id=1\"; add_header Set-Cookie \"id=2\"; return 200 cookie; }}
    location /private {{ add_header Cache-Control \"private, max-age=60\"; return 200 private; }}
    location /gone {{ return 410; }}
    location /moved {{ return 301 /; }}
    location /error {{ return 500; }}
    location /forbidden {{ return 403; }}
  }}
}}
"
    )
}
