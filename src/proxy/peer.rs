//! Who sent a request, and the name by which it is followed through logs and origins.

use super::key_fields::Single;
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use std::net::IpAddr;

/// The header of [`RequestId`].
pub static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

static UNKNOWN: HeaderValue = HeaderValue::from_static("for=unknown");
static HTTP: HeaderValue = HeaderValue::from_static("http");
static HTTPS: HeaderValue = HeaderValue::from_static("https");

/// The other end of a client connection. Made once per connection, so that its header values are too.
#[derive(Debug)]
pub struct Peer {
    address: IpAddr,
    tls: bool,
    certified: bool,
    address_value: HeaderValue,
    /// How its element of `Forwarded` begins.
    forwarded_for: Box<[u8]>,
}

impl Peer {
    /// A peer at `address` (an IPv4-mapped one counts as IPv4), on a TLS listener or a plain one.
    pub fn new(address: IpAddr, tls: bool) -> Self {
        let address = address.to_canonical();
        let address_value = HeaderValue::try_from(address.to_string())
            .expect("the text of an address is made of hex digits, dots and colons");
        // Colons and brackets are not of a token, hence the quotes.
        let forwarded_for = match address {
            IpAddr::V4(address) => format!("for={address};host="),
            IpAddr::V6(address) => format!("for=\"[{address}]\";host="),
        };
        Self {
            address,
            tls,
            certified: false,
            address_value,
            forwarded_for: forwarded_for.into_bytes().into(),
        }
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

    /// Its address as a header value.
    pub(super) fn address_value(&self) -> &HeaderValue {
        &self.address_value
    }

    /// `http` or `https`.
    pub(super) fn scheme(&self) -> &'static HeaderValue {
        if self.tls { &HTTPS } else { &HTTP }
    }

    /// Its element of `Forwarded` (RFC 7239 §4), for a request for `host`.
    pub(super) fn forwarded(&self, host: &HeaderValue) -> HeaderValue {
        let quote: &[u8] = if host.as_bytes().iter().any(|b| matches!(b, b':' | b'[')) { b"\"" } else { b"" };
        let scheme: &[u8] = if self.tls { b";proto=https" } else { b";proto=http" };
        let mut element = Vec::with_capacity(self.forwarded_for.len() + host.len() + 2 + scheme.len());
        for part in [&self.forwarded_for, quote, host.as_bytes(), quote, scheme] {
            element.extend_from_slice(part);
        }
        HeaderValue::from_maybe_shared(Bytes::from(element)).unwrap_or_else(|_| UNKNOWN.clone())
    }
}

/// The name of one request in logs, in error answers and at the origin.
#[derive(Clone, Debug)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// What a trusted peer sent where it is one value of at most 128 visible characters, else 128 random bits.
    pub fn of(sent: Single<'_>, trusted: bool, random: impl FnOnce() -> u128) -> Self {
        match sent {
            Single::Once(id) if trusted && is_id(id.as_bytes()) => Self(id.clone()),
            _ => Self::minted(random()),
        }
    }

    fn minted(random: u128) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [0; 32];
        for (digits, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(random.to_be_bytes()) {
            *digits = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
        }
        Self(HeaderValue::from_bytes(&digits).expect("hex digits are legal in a header"))
    }

    /// As a header value.
    pub fn value(&self) -> &HeaderValue {
        &self.0
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

fn is_id(id: &[u8]) -> bool {
    (1..=128).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::fixture;
    use crate::proxy::key_fields::KeyFields;

    #[test]
    fn elements_of_forwarded() {
        let check = |address: &str, tls, host: &str, element: &str| {
            let peer = Peer::new(address.parse().unwrap(), tls);
            assert_eq!(peer.forwarded(&HeaderValue::from_str(host).unwrap()), element);
        };
        check("192.0.2.1", false, "a.test", "for=192.0.2.1;host=a.test;proto=http");
        check("192.0.2.1", true, "a.test:8443", "for=192.0.2.1;host=\"a.test:8443\";proto=https");
        check("2001:db8::1", true, "[::1]", "for=\"[2001:db8::1]\";host=\"[::1]\";proto=https");
        check("::ffff:192.0.2.1", true, "a.test", "for=192.0.2.1;host=a.test;proto=https");
    }

    #[test]
    fn request_ids() {
        let check = |lines: &[(&str, &str)], trusted, id: &str| {
            assert_eq!(
                RequestId::of(KeyFields::of(&fixture::headers(lines)).request_id, trusted, || 0xabc).as_str(),
                id
            );
        };
        let minted = "00000000000000000000000000000abc";
        check(&[], true, minted);
        check(&[("x-request-id", "r-1")], true, "r-1");
        check(&[("x-request-id", "r-1")], false, minted);
        check(&[("x-request-id", "r-1"), ("x-request-id", "r-2")], true, minted);
        check(&[("x-request-id", "")], true, minted);
        check(&[("x-request-id", "two words")], true, minted);
        check(&[("x-request-id", &"x".repeat(129))], true, minted);
    }
}
