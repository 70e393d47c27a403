//! proxy

pub mod h1;
