//! cli

pub mod probe;
