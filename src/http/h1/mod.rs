//! HTTP/1.1 on the wire (RFC 9112). Where a message could end at two places, it is refused (§6.3, §11.2): [`framing`], [`chunked`]
//! and [`encode`] decide that; they are pure and are fuzzed (`tests/fuzz`).

pub mod chunked;
pub mod decoder;
pub mod encode;
pub mod framing;
pub mod input;
pub mod lines;
pub mod scratch;
pub mod sending;
pub mod trailers;

/// Room for a read at first; enough for most heads together with a small body.
pub const READ_BYTES: usize = 8 * 1024;
/// Room for a read of a body that has shown to be large.
pub const MAX_READ_BYTES: usize = 64 * 1024;
