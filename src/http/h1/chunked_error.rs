//! The reasons why a chunked body is refused.

#[cfg(doc)]
use super::chunked::MAX_EXTENSION_BYTES;

/// The reason why a chunked body is refused. Nothing after the error can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkedError {
    /// The size line is not `1*HEXDIG`, has an unexpected byte after the size, or ends with a bare LF.
    #[error("the size line of a chunk is malformed")]
    Size,
    /// A size has more digits than any size needs.
    #[error("a chunk size is too long")]
    SizeTooLong,
    /// An extension contains a control character.
    #[error("a chunk extension is malformed")]
    Extension,
    /// The extensions have more than [`MAX_EXTENSION_BYTES`].
    #[error("the chunk extensions are too long")]
    ExtensionsTooLong,
    /// The data of a chunk is not followed by CRLF.
    #[error("a chunk is longer than its size")]
    DataEnd,
    /// A trailer is not a field line.
    #[error("a trailer is malformed")]
    Trailer,
    /// The trailers have more bytes than the fields of a head may have.
    #[error("the trailers are too long")]
    TrailersTooLong,
    /// There are more trailers than a head may have fields.
    #[error("too many trailers")]
    TooManyTrailers,
}
