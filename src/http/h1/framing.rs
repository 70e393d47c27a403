//! The end of a message (RFC 9112 §6), and whether its connection persists after it (§9.3). The rules are the same
//! in both directions.

use http::Version;

/// How the end of a body is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    Empty,
    /// The body ends after this many bytes.
    Length(u64),
    /// The body ends after the last chunk.
    Chunked,
    /// The body ends with the connection. Only responses use this.
    Close,
}

/// What the lines of `Connection` mean for the persistence of the connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Persistence {
    close: bool,
    keep_alive: bool,
}

impl Persistence {
    /// Reads one line of `Connection`.
    pub fn note(&mut self, connection: &[u8]) {
        self.close |= has_token(connection, b"close");
        self.keep_alive |= has_token(connection, b"keep-alive");
    }

    /// Whether another message may follow one of this version.
    pub fn holds(self, version: Version) -> bool {
        !self.close && (version == Version::HTTP_11 || self.keep_alive)
    }
}

/// Parses `1*DIGIT` within 64 bits, without sign, blanks or list.
pub fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |length, byte| match byte {
        b'0'..=b'9' => length.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

/// Whether this comma-separated list contains the token.
pub fn has_token(list: &[u8], token: &[u8]) -> bool {
    list.split(|byte| *byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
}
