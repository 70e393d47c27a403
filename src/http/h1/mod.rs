//! HTTP/1.1 on the wire (RFC 9112). A message that could end at two places is refused (§6.3, §11.2). [`framing`],
//! [`chunked`] and [`encode`] decide that. They are pure and fuzzed (`tests/fuzz`).

pub mod chunked;
mod chunked_error;
pub mod decoder;
pub mod encode;
pub mod framing;
pub mod input;
pub mod pipe;
pub mod scratch;
pub mod sending;
pub mod trailers;

/// The initial room for a read, enough for most heads together with a small body.
pub const READ_BYTES: usize = 8 * 1024;
/// The room for a read of a body that has proved to be large.
pub const MAX_READ_BYTES: usize = 64 * 1024;
