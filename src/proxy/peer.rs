//! The sender of a request, and the id that identifies the request in logs and at origins.

use super::fields::Single;
use super::peer_lines::PeerLines;
use crate::http::head::{FieldLine, Known, Line, Value};
use http::HeaderName;
use std::cell::RefCell;
use std::net::IpAddr;
use std::ops::Range;
use std::rc::Rc;

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The other end of a client connection. Created one time per connection, so that the lines about it are built
/// only one time as well.
#[derive(Debug)]
pub struct Peer {
    address: IpAddr,
    tls: bool,
    certified: bool,
    text: Box<str>,
    /// The lines that were built last, because most connections request one host.
    lines: RefCell<Option<Rc<PeerLines>>>,
}

impl Peer {
    /// Creates a peer at `address`, on a TLS listener or a plain one. An IPv4-mapped address is treated as IPv4.
    pub fn new(address: IpAddr, tls: bool) -> Self {
        let address = address.to_canonical();
        let text = address.to_string().into();
        Self { address, tls, certified: false, text, lines: RefCell::default() }
    }

    /// Returns the same peer after its certificate was verified.
    pub fn certified(self) -> Self {
        Self { certified: true, ..self }
    }

    /// Whether the peer has presented a certificate that was verified.
    pub fn is_certified(&self) -> bool {
        self.certified
    }

    /// Returns the peer's address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Whether the peer connected to a TLS listener.
    pub(super) fn is_tls(&self) -> bool {
        self.tls
    }

    /// Returns the lines about this peer that the origin receives in a request for `host`.
    pub(super) fn lines(&self, host: Value<'_>) -> Rc<PeerLines> {
        let mut last = self.lines.borrow_mut();
        match &*last {
            Some(lines) if lines.asked_for() == host.as_bytes() => Rc::clone(lines),
            _ => {
                let lines = Rc::new(PeerLines::new(self.address, &self.text, self.tls, host));
                Rc::clone(last.insert(lines))
            }
        }
    }
}

/// The id of one request in logs, in error answers and at the origin.
#[derive(Clone, Debug)]
pub struct RequestId(Id);

#[derive(Clone, Debug)]
enum Id {
    Sent(FieldLine),
    /// The whole header line.
    Minted([u8; LINE.len()]),
}

/// The line of an id, with zeros in place of the digits.
const LINE: &[u8; 48] = b"x-request-id: 00000000000000000000000000000000\r\n";
const DIGITS: Range<usize> = 14..46;

/// The two hexadecimal digits of every byte.
static HEX: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    table
};

impl RequestId {
    /// Returns the id that a trusted peer sent if it is a single value of at most 128 visible characters.
    /// Otherwise creates an id of 128 random bits.
    pub fn of(sent: Single<'_>, trusted: bool, random: impl FnOnce() -> u128) -> Self {
        match sent {
            Single::Once(id) if trusted && is_id(id.as_bytes()) => {
                Self(Id::Sent(FieldLine::new(&X_REQUEST_ID, &id.to_owned())))
            }
            _ => Self::minted(random()),
        }
    }

    fn minted(random: u128) -> Self {
        let mut line = *LINE;
        let digits = line[DIGITS].as_chunks_mut::<2>().0;
        for (digits, byte) in digits.iter_mut().zip(random.to_be_bytes()) {
            *digits = HEX[usize::from(byte)];
        }
        Self(Id::Minted(line))
    }

    /// Returns the id as a header line.
    pub(super) fn line(&self) -> Line<'_> {
        match &self.0 {
            Id::Sent(line) => line.line(),
            Id::Minted(line) => Line::written(Known::XRequestId, X_REQUEST_ID.as_str(), line),
        }
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.line().value().as_bytes()).unwrap_or_default()
    }
}

fn is_id(id: &[u8]) -> bool {
    (1..=128).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::fields::KeyFields;
    use crate::proxy::fixture;
    use http::HeaderValue;

    #[test]
    fn lines_are_of_the_host_that_is_asked_for() {
        let peer = Peer::new("::ffff:192.0.2.1".parse().unwrap(), true);
        let lines = |host: &'static str| peer.lines(Value::from(&HeaderValue::from_static(host)));
        let first = lines("a.test");
        assert!(Rc::ptr_eq(&first, &lines("a.test")));
        for host in ["b.test", "a.test", "A.test", "a.test:8443"] {
            assert_eq!(lines(host).asked_for(), host.as_bytes());
        }
        // The lines are kept while a request is still in progress.
        assert_eq!(first.forwarded().value(), "for=192.0.2.1;host=a.test;proto=https");
    }

    #[test]
    fn request_ids() {
        let check = |lines: &[(&str, &str)], trusted, id: &str| {
            assert_eq!(
                RequestId::of(KeyFields::of(&fixture::headers(lines)).request_id, trusted, || {
                    0x0123_4567_89ab_cdef_fedc_ba98_7654_32e0
                })
                .as_str(),
                id
            );
        };
        let minted = "0123456789abcdeffedcba98765432e0";
        check(&[], true, minted);
        check(&[("x-request-id", "r-1")], true, "r-1");
        check(&[("x-request-id", "r-1")], false, minted);
        check(&[("x-request-id", "r-1"), ("x-request-id", "r-2")], true, minted);
        check(&[("x-request-id", "")], true, minted);
        check(&[("x-request-id", "two words")], true, minted);
        check(&[("x-request-id", &"x".repeat(129))], true, minted);
    }
}
