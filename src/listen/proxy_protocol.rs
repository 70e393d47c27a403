//! The PROXY protocol, versions 1 and 2 (haproxy.org/download/2.9/doc/proxy-protocol.txt): before the client's
//! first byte, a load balancer names its client. The parser is strict: a connection that begins otherwise is not
//! from that load balancer, and a guess would let clients choose their address.

use super::socket::ClientSocket;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest line of version 1, including its end (§2.1).
const V1_BYTES: usize = 107;
const V1_START: &[u8] = b"PROXY ";
const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The length of the fixed part of version 2.
const V2_FIXED: usize = 16;
/// The maximum length of the addresses and everything after them. Senders' own extensions take a few hundred
/// bytes.
const V2_REST: usize = 4096;

/// A parsed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The client; `None` if the header does not name one, because the sender connects for itself (as in its health
    /// checks) or does not know the client's address.
    pub client: Option<IpAddr>,
    /// The length of the header in bytes.
    pub length: usize,
}

/// The bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a PROXY protocol header: {0}")]
pub struct Malformed(&'static str);

/// Parses a header at the start of `bytes`. Returns `None` while they could still become one.
///
/// # Errors
///
/// Fails if the bytes cannot become a header, whatever follows.
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    if starts(bytes, V2_START) {
        version_2(bytes)
    } else if starts(bytes, V1_START) {
        version_1(bytes)
    } else {
        Err(Malformed("unknown start"))
    }
}

/// Whether one of `bytes` and `with` is a prefix of the other.
fn starts(bytes: &[u8], with: &[u8]) -> bool {
    let length = bytes.len().min(with.len());
    bytes[..length] == with[..length]
}

fn version_1(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let window = &bytes[..bytes.len().min(V1_BYTES)];
    let Some(end) = window.iter().position(|&b| b == b'\n') else {
        return if bytes.len() < V1_BYTES { Ok(None) } else { Err(Malformed("line too long")) };
    };
    let line = window[..end].strip_suffix(b"\r").ok_or(Malformed("bare line feed"))?;
    let line = std::str::from_utf8(line).map_err(|_| Malformed("not ASCII"))?;
    let mut words = line.split(' ');
    let (_, family) = (words.next(), words.next());
    let client = match family {
        Some("UNKNOWN") => None,
        Some("TCP4") => Some(addresses::<Ipv4Addr>(words)?.into()),
        Some("TCP6") => Some(addresses::<Ipv6Addr>(words)?.into()),
        _ => return Err(Malformed("unknown family")),
    };
    Ok(Some(Header { client, length: end + 1 }))
}

/// Parses `source destination source-port destination-port` and returns the source.
fn addresses<'t, A: std::str::FromStr>(mut words: impl Iterator<Item = &'t str>) -> Result<A, Malformed> {
    let mut word = || words.next().ok_or(Malformed("too few words"));
    let (source, destination, ports) = (word()?, word()?, [word()?, word()?]);
    let source = source.parse().map_err(|_| Malformed("no address"))?;
    destination.parse::<A>().map_err(|_| Malformed("no address"))?;
    if !ports.iter().all(|port| is_port(port)) {
        return Err(Malformed("no port"));
    }
    if words.next().is_some() { Err(Malformed("too many words")) } else { Ok(source) }
}

fn is_port(word: &str) -> bool {
    word.bytes().all(|b| b.is_ascii_digit())
        && (word == "0" || !word.starts_with('0'))
        && word.parse::<u16>().is_ok()
}

fn version_2(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let Some(fixed) = bytes.get(..V2_FIXED) else { return Ok(None) };
    let [.., command, family, high, low] = *fixed else { return Ok(None) };
    let rest = usize::from(u16::from_be_bytes([high, low]));
    if rest > V2_REST {
        return Err(Malformed("header too long"));
    }
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(Malformed("unknown version or command")),
    };
    let Some(rest) = bytes.get(V2_FIXED..V2_FIXED + rest) else { return Ok(None) };
    let client = match family {
        _ if is_local => None,
        0x11 => Some(first::<4, 12>(rest)?.into()),
        0x21 => Some(first::<16, 36>(rest)?.into()),
        // The sender does not name a client, or the client uses a Unix socket.
        0x00 | 0x31 => None,
        _ => return Err(Malformed("unknown family")),
    };
    Ok(Some(Header { client, length: V2_FIXED + rest.len() }))
}

/// Returns the first address of a block that takes `BLOCK` bytes.
fn first<const ADDRESS: usize, const BLOCK: usize>(rest: &[u8]) -> Result<[u8; ADDRESS], Malformed> {
    let block = rest.get(..BLOCK).ok_or(Malformed("addresses cut off"))?;
    block.first_chunk().copied().ok_or(Malformed("addresses cut off"))
}

/// Reads a header from `stream` and not a byte more. Returns the client that the header names.
pub(super) async fn read(stream: &mut ClientSocket) -> io::Result<Option<IpAddr>> {
    use tokio::io::AsyncReadExt;
    let mut bytes = Vec::with_capacity(V1_BYTES);
    let mut seen = [0; 512];
    loop {
        // The bytes are only peeked, because what follows the header belongs to the client.
        let n = stream.peek(&mut seen).await?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let had = bytes.len();
        bytes.extend_from_slice(&seen[..n]);
        let header = parse(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let taken = header.map_or(n, |header| header.length - had);
        stream.read_exact(&mut seen[..taken]).await?;
        if let Some(header) = header {
            return Ok(header.client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expected: Result<Option<(&str, usize)>, &'static str>) {
        let client = |client: &str| (!client.is_empty()).then(|| client.parse().unwrap());
        let expected = expected
            .map(|header| header.map(|(text, length)| Header { client: client(text), length }))
            .map_err(Malformed);
        assert_eq!(parse(bytes), expected, "{:?}", bytes.escape_ascii().to_string());
    }

    #[test]
    fn version_1() {
        check(b"PROXY TCP4 192.0.2.1 198.51.100.2 4000 443\r\nGET", Ok(Some(("192.0.2.1", 44))));
        check(b"PROXY TCP6 2001:db8::1 2001:db8::2 0 65535\r\n", Ok(Some(("2001:db8::1", 44))));
        check(b"PROXY UNKNOWN\r\n", Ok(Some(("", 15))));
        check(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", Ok(Some(("", 35))));
        for partial in ["", "P", "PROXY", "PROXY TCP4 192.0.2.1 198.51.100.2 4000 443\r"] {
            check(partial.as_bytes(), Ok(None));
        }
        check(b"GET / HTTP/1.1\r\n", Err("unknown start"));
        check(b"proxy TCP4 1.1.1.1 1.1.1.1 1 1\r\n", Err("unknown start"));
        check(b"PROXY TCP4 192.0.2.1 198.51.100.2 4000 443\n", Err("bare line feed"));
        check(b"PROXY  TCP4 1.1.1.1 1.1.1.1 1 1\r\n", Err("unknown family"));
        check(b"PROXY UDP4 1.1.1.1 1.1.1.1 1 1\r\n", Err("unknown family"));
        check(b"PROXY TCP4 1.1.1.1  1.1.1.1 1 1\r\n", Err("no address"));
        check(b"PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n", Err("too few words"));
        check(b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1 \r\n", Err("too many words"));
        check(b"PROXY TCP4 ::1 ::1 1 1\r\n", Err("no address"));
        check(b"PROXY TCP4 1.1.1.1 ::1 1 1\r\n", Err("no address"));
        check(b"PROXY TCP4 01.1.1.1 1.1.1.1 1 1\r\n", Err("no address"));
        check(b"PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n", Err("no port"));
        check(b"PROXY TCP4 1.1.1.1 1.1.1.1 +1 1\r\n", Err("no port"));
        check(b"PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\r\n", Err("no port"));
        check(b"PROXY TCP4 \xff\r\n", Err("not ASCII"));
        check(&[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 93]].concat(), Err("line too long"));
        check(&[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 91], b"\r\n"].concat(), Ok(Some(("", 107))));
    }

    /// A header of version 2.
    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = (rest.len() as u16).to_be_bytes();
        [V2_START, &[command, family], &length, rest].concat()
    }

    #[test]
    fn version_2() {
        let four = [192, 0, 2, 1, 198, 51, 100, 2, 1, 2, 3, 4];
        let mut six = [0; 36];
        six[15] = 1;
        check(&v2(0x21, 0x11, &four), Ok(Some(("192.0.2.1", 28))));
        check(&v2(0x21, 0x21, &six), Ok(Some(("::1", 52))));
        // Extensions are skipped, and so is what follows the header.
        check(
            &[v2(0x21, 0x11, &[&four[..], &[4, 0, 1, 9]].concat()), b"GET".to_vec()].concat(),
            Ok(Some(("192.0.2.1", 32))),
        );
        check(&v2(0x20, 0x00, b""), Ok(Some(("", 16))));
        check(&v2(0x20, 0x11, &four), Ok(Some(("", 28))));
        check(&v2(0x21, 0x00, b"x"), Ok(Some(("", 17))));
        check(&v2(0x21, 0x31, &[b'/'; 216]), Ok(Some(("", 232))));
        let whole = v2(0x21, 0x11, &four);
        for length in 0..whole.len() {
            check(&whole[..length], Ok(None));
        }
        check(&v2(0x21, 0x11, &four[..11]), Err("addresses cut off"));
        check(&v2(0x21, 0x21, &six[..35]), Err("addresses cut off"));
        check(&v2(0x21, 0x12, &four), Err("unknown family"));
        check(&v2(0x11, 0x11, &four), Err("unknown version or command"));
        check(&v2(0x22, 0x11, &four), Err("unknown version or command"));
        check(&v2(0x21, 0x11, &[0; 4097]), Err("header too long"));
        check(b"\r\n\r\n\0\r\nQUIT\r", Err("unknown start"));
    }

    proptest::proptest! {
        /// However the bytes are split, the header is the same and ends at the same byte, and what is refused
        /// stays refused.
        #[test]
        fn more_bytes_change_nothing(
            start in proptest::sample::select(vec![V1_START, V2_START, b"PROXY TCP4 1.1.1.1 ", b"PROXY UNKNOWN", b""]),
            rest in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
        ) {
            let bytes = [start, &rest].concat();
            let mut before = Ok(None);
            for length in 0..=bytes.len() {
                let now = parse(&bytes[..length]);
                if before != Ok(None) {
                    proptest::prop_assert_eq!(now, before);
                }
                if let Ok(Some(header)) = now {
                    proptest::prop_assert!(header.length <= length);
                }
                before = now;
            }
        }
    }
}
