//! Checks of a CDN's credentials, reported in words: their owner, their rights, what is missing, and how to fix
//! it.
//!
//! [`report()`] makes the calls and writes the report. The questions ([`Credentials::questions`]) and the meaning
//! of the answers ([`Credentials::report`]) are pure, and in the `credentials.rs` of each adapter.
//!
//! The check by a delivery task ([`super::Adapter::check_requests`]) makes fewer calls, because it runs every ten
//! minutes.

mod check;
mod draft;
mod questions;
mod report;

#[cfg(test)]
pub(super) mod testing;

pub use check::{CdnReport, report, report_site};
pub(super) use draft::Draft;
pub use questions::{Answer, Answers, Credentials, Question};
pub use report::{CredentialReport, Finding, Level, Usable};
