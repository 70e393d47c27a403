//! Parts of HTTP/2 connections (RFC 9113) that both sides share.

pub mod parts;
pub mod ping;
pub mod window;
