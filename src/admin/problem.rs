//! Errors as problem documents (RFC 9457), with two messages: the outer one for the caller, the inner one for the
//! log.

use crate::base::with_causes;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::error::Error;

/// The kind of a problem. The `type` URI of a kind, `urn:origin-shim:problem:NAME`, never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The body is not JSON.
    NotJson,
    /// A query parameter or a header field is invalid.
    BadRequest,
    /// There is no token, or an unknown one. The answer is the same for both.
    Unauthorized,
    /// The token lacks a scope or a site.
    Forbidden,
    /// The route, site or purge does not exist, or this caller may not see it.
    NotFound,
    /// The route exists, but not for this method.
    MethodNotAllowed,
    /// The body did not arrive in time.
    Timeout,
    /// The `Idempotency-Key` belongs to another purge.
    Conflict,
    /// The purge has nothing to retry, acknowledge or cancel.
    WrongState,
    /// The request has too many bytes or items.
    TooLarge,
    /// The body is well-formed JSON that does not describe a purge of this site.
    Invalid,
    /// The configuration file is invalid; the previous configuration stays in effect.
    Configuration,
    /// The `Host` is not a name of the admin API.
    Misdirected,
    /// The data plane would refuse the request, too, with this status.
    Refused(StatusCode),
    /// There were too many failed logins, event streams, or checks of credentials.
    TooMany,
    /// The shim has a defect.
    Internal,
    /// Nothing was accepted; the caller should try again.
    Unavailable,
}

impl Kind {
    fn describe(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::NotJson => (StatusCode::BAD_REQUEST, "not-json", "The body is not JSON"),
            Self::BadRequest => (StatusCode::BAD_REQUEST, "bad-request", "The request is malformed"),
            Self::Unauthorized => {
                (StatusCode::UNAUTHORIZED, "unauthorized", "A valid bearer token is required")
            }
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "The token does not allow this"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "Not found"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "The method is not allowed here")
            }
            Self::Timeout => (StatusCode::REQUEST_TIMEOUT, "timeout", "The body did not arrive in time"),
            Self::Conflict => (StatusCode::CONFLICT, "idempotency-conflict", "The Idempotency-Key is taken"),
            Self::WrongState => (StatusCode::CONFLICT, "wrong-state", "The purge is not in a state for this"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The request is too large"),
            Self::Invalid => {
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid", "The request cannot be carried out")
            }
            Self::Configuration => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "configuration",
                "The configuration is invalid; the previous one stays in effect",
            ),
            Self::Misdirected => {
                (StatusCode::MISDIRECTED_REQUEST, "misdirected", "This is not a name of the admin API")
            }
            Self::Refused(status) => (status, "refused", "The request is malformed, or ambiguous"),
            Self::TooMany => (StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "Too many requests"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not accepted, try again"),
        }
    }
}

/// An invalid item of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct BadItem {
    /// The item as the caller wrote it, or the name of the field.
    pub item: String,
    /// The reason why the item is invalid.
    pub message: String,
}

/// A problem document (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "Problem")]
pub struct Document {
    /// The URI of the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The title, which is the same for every problem of this kind.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// A description of this particular problem.
    pub detail: String,
    /// The invalid items, if single items are invalid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<BadItem>,
}

/// An error on its way to a caller.
#[derive(Debug)]
pub struct Problem {
    kind: Kind,
    detail: String,
    errors: Vec<BadItem>,
    /// The value of `Retry-After`, in seconds.
    retry_after: Option<u64>,
    inner: Option<Box<dyn Error + Send + Sync>>,
}

impl Problem {
    /// Returns the outer message.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Returns the status of the answer.
    pub(super) fn status(&self) -> StatusCode {
        self.kind.describe().0
    }

    /// Logs the inner message, if there is one.
    pub(super) fn tell(&self) {
        if let Some(inner) = &self.inner {
            tracing::error!(
                status = self.status().as_u16(),
                detail = self.detail,
                cause = with_causes(inner.as_ref()),
                "admin call failed"
            );
        }
    }

    /// Returns the invalid items.
    pub fn errors(&self) -> &[BadItem] {
        &self.errors
    }

    /// Returns a problem with the outer message `detail`: a sentence, without secrets or internals.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let retry_after = matches!(kind, Kind::Unavailable | Kind::TooMany).then_some(5);
        Self { kind, detail: detail.into(), errors: Vec::new(), retry_after, inner: None }
    }

    /// Sets when the caller should try again, in seconds.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Adds the invalid items.
    pub fn with_errors(mut self, errors: Vec<BadItem>) -> Self {
        self.errors = errors;
        self
    }

    /// Adds the inner message: the cause, for the log only.
    pub fn because(mut self, inner: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.inner = Some(inner.into());
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, name, title) = self.kind.describe();
        self.tell();
        let document = Document {
            kind: format!("urn:origin-shim:problem:{name}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: self.detail,
            errors: self.errors,
        };
        let mut response = (status, axum::Json(document)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        match self.kind {
            Kind::Unauthorized => {
                headers.insert(
                    header::WWW_AUTHENTICATE,
                    HeaderValue::from_static("Bearer realm=\"origin-shim\""),
                );
            }
            // The rest of the body may still be on its way.
            Kind::Timeout | Kind::TooLarge | Kind::Refused(_) => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}
