//! Why a request of a client is refused, before it is written as the client's own API would.

use http::StatusCode;

/// A refused request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Refused {
    /// The status of the answer.
    pub status: StatusCode,
    /// What is wrong, for the client's user.
    pub detail: String,
}

impl Refused {
    /// A request that its API would refuse, too.
    pub fn bad(detail: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, detail: detail.into() }
    }

    /// A request without a valid credential.
    pub fn unauthorized() -> Self {
        Self { status: StatusCode::UNAUTHORIZED, detail: "a valid token of the shim is required".to_owned() }
    }

    /// A part of the API that only the CDN itself has.
    pub fn not_ours(what: &str) -> Self {
        let detail = format!("Origin Shim only purges: {what} must go to the CDN's own API");
        Self { status: StatusCode::NOT_IMPLEMENTED, detail }
    }
}
