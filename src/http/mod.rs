//! The parts of HTTP that both sides share (clients to the shim, and the shim to origins): heads, the framing of
//! HTTP/1.1, and common parts of HTTP/2 connections. Nothing here depends on the side.

pub mod h1;
pub mod h2;
pub mod head;
pub mod hop;
pub mod request_body;
pub mod timer;
pub mod tls;
