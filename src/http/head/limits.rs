//! The limits of a head, and the reasons why one is refused.

/// The maximum number of field lines in a head.
pub const MAX_HEADERS: usize = 256;
/// The maximum number of bytes of a head. For a response, the interim responses before it are included.
pub const MAX_HEAD_BYTES: usize = 1024 * 1024;
/// The maximum number of interim (1xx) responses before the final one.
pub const MAX_INTERIM: u8 = 16;

/// The reason why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// The status line is not `HTTP/1.0` or `HTTP/1.1`, three digits, and a reason without controls.
    #[error("malformed status line")]
    StatusLine,
    /// A field is not `name: value`: it has obsolete folding, NUL, a bare CR, or a space before the colon. Fields
    /// are counted from 1.
    #[error("header field {0} is malformed")]
    Field(usize),
    /// The number of fields exceeds [`HeadLimits::fields`].
    #[error("too many header fields")]
    TooManyHeaders,
    /// The number of bytes exceeds [`HeadLimits::bytes`].
    #[error("too many bytes")]
    TooLarge,
    /// The status is below 100 or above 599.
    #[error("status {0} is not between 100 and 599")]
    Status(u16),
    /// The number of interim responses exceeds [`MAX_INTERIM`].
    #[error("more than {MAX_INTERIM} interim responses")]
    TooManyInterim,
    /// The status is 101 although the request did not ask for another protocol.
    #[error("a switch of protocols that was not asked for")]
    Upgrade,
    /// The head has both framings, and another recipient might trust the other one.
    #[error("Content-Length together with Transfer-Encoding")]
    AmbiguousLength,
    /// `Content-Length` has a non-digit, exceeds 64 bits, or is repeated.
    #[error("Content-Length is malformed or repeated")]
    ContentLength,
    /// `Transfer-Encoding` is not exactly one `chunked`, or is present in HTTP/1.0.
    #[error("Transfer-Encoding is not exactly chunked")]
    TransferEncoding,
}

/// The limits of a head or a trailer section. [`MAX_HEADERS`] and [`MAX_HEAD_BYTES`] bound heads even if these
/// limits are higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// The maximum number of fields of one head.
    pub fields: usize,
    /// The maximum number of bytes, interim responses included.
    pub bytes: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { fields: MAX_HEADERS, bytes: 64 * 1024 }
    }
}
