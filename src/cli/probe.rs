//! `origin-shim serve --probe`: checks whether the shim that runs with this configuration is alive. This is for
//! the health check of a container whose image has no shell and no curl. Only the program itself knows the
//! address of its admin API.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// The time limit for an answer; a shim that answers later is not alive.
const PATIENCE: Duration = Duration::from_secs(3);

/// Requests `/healthz` of the admin API that listens at `admin`; an error gives the reason why the shim is not
/// alive.
pub fn probe(admin: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&reachable(admin), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    if &status == b"HTTP/1.1 200" {
        Ok(())
    } else {
        Err(io::Error::other(format!("/healthz answered {}", String::from_utf8_lossy(&status))))
    }
}

/// Returns the loopback address for a listener on all addresses.
fn reachable(admin: SocketAddr) -> SocketAddr {
    let ip = match admin.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, admin.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    #[test]
    fn alive_is_only_who_answers_200() {
        fn check(answer: &'static str, alive: bool) {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let everywhere = SocketAddr::from(([0, 0, 0, 0], listener.local_addr().unwrap().port()));
            let server = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut asked = [0; 16];
                stream.read_exact(&mut asked).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
                asked
            });
            assert_eq!(probe(everywhere).is_ok(), alive, "{answer}");
            assert_eq!(&server.join().unwrap(), b"GET /healthz HTT");
        }
        check("HTTP/1.1 200 OK\r\n\r\n", true);
        check("HTTP/1.1 503 Service Unavailable\r\n\r\n", false);
        check("HTTP", false);
    }

    #[test]
    fn nobody_listening_is_not_alive() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(probe(address).is_err());
    }

    #[test]
    fn asks_where_it_can_be_reached() {
        fn check(listen: &str, asked: &str) {
            assert_eq!(reachable(listen.parse().unwrap()), asked.parse().unwrap());
        }
        check("127.0.0.1:9180", "127.0.0.1:9180");
        check("10.1.2.3:9180", "10.1.2.3:9180");
        check("0.0.0.0:9180", "127.0.0.1:9180");
        check("[::]:9180", "[::1]:9180");
    }
}
