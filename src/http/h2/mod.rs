//! What connections of HTTP/2 (RFC 9113) have in common on both sides.

pub mod parts;
pub mod ping;
pub mod window;
