//! The header lines about a peer and the requested host, ready to be written to an origin.

use crate::http::head::{Known, Line, Value};
use std::net::IpAddr;

const BEFORE_HOST: &str = "x-forwarded-";

/// The lines about a peer in a request for one host.
#[derive(Debug)]
pub(super) struct PeerLines {
    /// `X-Forwarded-For`, `X-Forwarded-Host` and `Forwarded`, in one allocation because every idle connection
    /// keeps it.
    written: Box<[u8]>,
    /// The start of the second line.
    host: usize,
    /// The start of the third line.
    forwarded: usize,
}

impl PeerLines {
    /// Builds the lines of a peer at `address`, whose textual form is `text`.
    pub(super) fn new(address: IpAddr, text: &str, tls: bool, host: Value<'_>) -> Self {
        let (text, host) = (text.as_bytes(), host.as_bytes());
        // A token cannot contain colons and brackets (RFC 7239 §4), hence the quotes.
        let (before, after): (&[u8], &[u8]) = if address.is_ipv6() { (b"\"[", b"]\"") } else { (b"", b"") };
        let quote: &[u8] = if host.iter().any(|b| matches!(b, b':' | b'[')) { b"\"" } else { b"" };
        let proto: &[u8] = if tls { b";proto=https\r\n" } else { b";proto=http\r\n" };
        let mut written = Vec::with_capacity(80 + 2 * (text.len() + host.len()));
        let mut write = |parts: &[&[u8]]| {
            parts.iter().for_each(|part| written.extend_from_slice(part));
            written.len()
        };
        let host_at = write(&[b"x-forwarded-for: ", text, b"\r\n"]);
        let forwarded_at = write(&[b"x-forwarded-host: ", host, b"\r\n"]);
        write(&[b"forwarded: for=", before, text, after, b";host=", quote, host, quote, proto]);
        Self { written: written.into(), host: host_at, forwarded: forwarded_at }
    }

    /// Returns the requested host.
    pub(super) fn asked_for(&self) -> &[u8] {
        self.host().value().as_bytes()
    }

    /// Returns `Host`.
    pub(super) fn host(&self) -> Line<'_> {
        // The line is the end of `X-Forwarded-Host`, which has the same value.
        let written = &self.written[self.host + BEFORE_HOST.len()..self.forwarded];
        Line::written(Known::Host, "host", written)
    }

    /// Returns `X-Forwarded-For`.
    pub(super) fn forwarded_for(&self) -> Line<'_> {
        Line::written(Known::XForwardedFor, "x-forwarded-for", &self.written[..self.host])
    }

    /// Returns `X-Forwarded-Host`.
    pub(super) fn forwarded_host(&self) -> Line<'_> {
        let written = &self.written[self.host..self.forwarded];
        Line::written(Known::XForwardedHost, "x-forwarded-host", written)
    }

    /// Returns `Forwarded` (RFC 7239 §4).
    pub(super) fn forwarded(&self) -> Line<'_> {
        Line::written(Known::Forwarded, "forwarded", &self.written[self.forwarded..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn lines() {
        let check = |address: &str, tls, host: &str, expected: [&str; 4]| {
            let host = HeaderValue::from_str(host).unwrap();
            let lines = PeerLines::new(address.parse().unwrap(), address, tls, Value::from(&host));
            let lines = [lines.host(), lines.forwarded_for(), lines.forwarded_host(), lines.forwarded()];
            assert_eq!(lines.map(|line| line.value().to_str().unwrap().to_owned()), expected);
            let names = lines.map(Line::name);
            assert_eq!(names, ["host", "x-forwarded-for", "x-forwarded-host", "forwarded"]);
        };
        let forwarded = "for=192.0.2.1;host=a.test;proto=http";
        check("192.0.2.1", false, "a.test", ["a.test", "192.0.2.1", "a.test", forwarded]);
        let forwarded = "for=192.0.2.1;host=\"a.test:8443\";proto=https";
        check("192.0.2.1", true, "a.test:8443", ["a.test:8443", "192.0.2.1", "a.test:8443", forwarded]);
        let forwarded = "for=\"[2001:db8::1]\";host=\"[::1]\";proto=https";
        check("2001:db8::1", true, "[::1]", ["[::1]", "2001:db8::1", "[::1]", forwarded]);
    }
}
