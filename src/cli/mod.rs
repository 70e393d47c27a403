//! cli

mod client;
mod items;
pub mod purge;
pub mod purges;
