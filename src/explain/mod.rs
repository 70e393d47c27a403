//! What would happen to a request and its response, and why, for the command line and the admin API. It asks the code
//! that serves requests, so it cannot say anything else than what is done.
//!
//! A [`Request`] is described, a [`Case`] finds its site, and tells an [`Explanation`].

mod case;
mod request;

pub use case::{Case, CaseError, Explanation, MatchedRule};
pub use request::{Request, RequestError, header, url};
