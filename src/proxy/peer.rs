//! Who sent a request, and the name by which it is followed through logs and origins.

use super::fields::Single;
use super::peer_lines::PeerLines;
use crate::http::head::{Known, Line};
use http::{HeaderName, HeaderValue};
use std::cell::RefCell;
use std::net::IpAddr;
use std::ops::Range;
use std::rc::Rc;

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The other end of a client connection. Made once per connection, so that what is said of it is too.
#[derive(Debug)]
pub struct Peer {
    address: IpAddr,
    tls: bool,
    certified: bool,
    text: Box<str>,
    /// As they were last, since most connections ask for one host.
    lines: RefCell<Option<Rc<PeerLines>>>,
}

impl Peer {
    /// A peer at `address` (an IPv4-mapped one counts as IPv4), on a TLS listener or a plain one.
    pub fn new(address: IpAddr, tls: bool) -> Self {
        let address = address.to_canonical();
        let text = address.to_string().into();
        Self { address, tls, certified: false, text, lines: RefCell::default() }
    }

    /// The same, after its certificate was verified.
    pub fn certified(self) -> Self {
        Self { certified: true, ..self }
    }

    /// Whether it has shown a certificate that was verified.
    pub fn is_certified(&self) -> bool {
        self.certified
    }

    /// Its address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Whether it came to a TLS listener.
    pub(super) fn is_tls(&self) -> bool {
        self.tls
    }

    /// What an origin is told of it in a request for `host`.
    pub(super) fn lines(&self, host: &HeaderValue) -> Rc<PeerLines> {
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

/// The name of one request in logs, in error answers and at the origin.
#[derive(Clone, Debug)]
pub struct RequestId(Id);

#[derive(Clone, Debug)]
enum Id {
    Sent(HeaderValue),
    /// All of its line.
    Minted([u8; LINE.len()]),
}

/// The line of an id that is not known yet.
const LINE: &[u8; 48] = b"x-request-id: 00000000000000000000000000000000\r\n";
const DIGITS: Range<usize> = 14..46;

/// The digits of every byte.
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
    /// What a trusted peer sent where it is one value of at most 128 visible characters, else 128 random bits.
    pub fn of(sent: Single<'_>, trusted: bool, random: impl FnOnce() -> u128) -> Self {
        match sent {
            Single::Once(id) if trusted && is_id(id.as_bytes()) => Self(Id::Sent(id.clone())),
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

    /// As a field.
    pub(super) fn line(&self) -> Line<'_> {
        match &self.0 {
            Id::Sent(id) => Line::of(Known::XRequestId, &X_REQUEST_ID, id),
            Id::Minted(line) => Line::written(Known::XRequestId, &X_REQUEST_ID, line),
        }
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.line().value_bytes()).unwrap_or_default()
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

    #[test]
    fn lines_are_of_the_host_that_is_asked_for() {
        let peer = Peer::new("::ffff:192.0.2.1".parse().unwrap(), true);
        let lines = |host: &'static str| peer.lines(&HeaderValue::from_static(host));
        let first = lines("a.test");
        assert!(Rc::ptr_eq(&first, &lines("a.test")));
        for host in ["b.test", "a.test", "A.test", "a.test:8443"] {
            assert_eq!(lines(host).asked_for(), host.as_bytes());
        }
        // A request that is still under way.
        assert_eq!(*first.forwarded().value(), "for=192.0.2.1;host=a.test;proto=https");
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
