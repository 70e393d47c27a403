//! Explanations of what would happen to a request and its response, and why, for the command line and the admin
//! API. They come from the code that serves requests, so they cannot differ from what is done.
//!
//! A [`Case`] finds the site of a described [`Request`] and returns an [`Explanation`].

mod case;
mod fetch;
mod request;

pub use case::{Case, CaseError, Explanation, MatchedRule};
pub use fetch::{FetchError, FetchRequest, Fetched, head};
pub use request::{Request, RequestError, header, url};
