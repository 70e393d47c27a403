//! How large a head may be, and why one is refused.

/// Field lines in a response.
pub const MAX_HEADERS: usize = 256;
/// Bytes of a response's head, the interim responses before it included.
pub const MAX_HEAD_BYTES: usize = 1024 * 1024;
/// Interim (1xx) responses before the final one.
pub const MAX_INTERIM: u8 = 16;

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Not `HTTP/1.0` or `HTTP/1.1`, three digits, and a reason without controls.
    #[error("malformed status line")]
    StatusLine,
    /// Not `name: value`: obsolete folding, NUL, a bare CR, a space before the colon. Counted from 1.
    #[error("header field {0} is malformed")]
    Field(usize),
    /// More than [`HeadLimits::fields`].
    #[error("too many header fields")]
    TooManyHeaders,
    /// More than [`HeadLimits::bytes`].
    #[error("too many bytes")]
    TooLarge,
    /// Below 100 or above 599.
    #[error("status {0} is none of HTTP's")]
    Status(u16),
    /// More than [`MAX_INTERIM`].
    #[error("more than {MAX_INTERIM} interim responses")]
    TooManyInterim,
    /// 101 although the request did not ask for another protocol.
    #[error("a switch of protocols that was not asked for")]
    Upgrade,
    /// Both framings: one of them would be believed by somebody else.
    #[error("Content-Length together with Transfer-Encoding")]
    AmbiguousLength,
    /// Not digits, beyond 64 bits, or repeated.
    #[error("Content-Length is malformed or repeated")]
    ContentLength,
    /// Anything but `chunked`, once; any at all in HTTP/1.0.
    #[error("Transfer-Encoding is not exactly chunked")]
    TransferEncoding,
}

/// How much head an origin may send; beyond [`MAX_HEADERS`] and [`MAX_HEAD_BYTES`] whatever it says here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Fields of one head.
    pub fields: usize,
    /// Bytes, interim responses included.
    pub bytes: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { fields: MAX_HEADERS, bytes: 64 * 1024 }
    }
}
