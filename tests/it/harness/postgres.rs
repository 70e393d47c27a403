//! PostgreSQL, as the tests of the store use it.

#[path = "../../../src/store/postgres/tests/server.rs"]
mod server;

pub use server::{database, execute};
