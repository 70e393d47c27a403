//! Heads in HTTP/2 (RFC 9113 §8.2, §8.3). The library refuses what is malformed there: fields of the connection, wrong
//! pseudo-fields, lengths that contradict the data. What else `h1` refuses is refused here.

use crate::proxy::h1::encode::EncodeError;
use crate::proxy::h1::head::{Framing, HeadError, HeadLimits, MAX_HEAD_BYTES, MAX_HEADERS, content_length};
use crate::proxy::hop;
use http::header::{CONTENT_LENGTH, HOST};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};

/// A request that can be sent.
pub(super) struct Encoded {
    pub(super) head: Request<()>,
    /// Of the body, where it is known.
    pub(super) length: Option<u64>,
}

/// The head of a request. `body` is absent where there is none, and its inside where its size is not known.
pub(super) fn request<'a>(
    method: &Method,
    target: &Uri,
    scheme: Scheme,
    fields: impl IntoIterator<Item = (&'a HeaderName, &'a HeaderValue)>,
    body: Option<Option<u64>>,
) -> Result<Encoded, EncodeError> {
    if *method == Method::CONNECT {
        return Err(EncodeError::Connect);
    }
    let mut authority = None;
    let mut declared = None;
    let mut headers = HeaderMap::with_capacity(32);
    for (name, value) in fields {
        if *name == HOST {
            authority = Authority::try_from(value.as_bytes()).ok();
        } else if *name == CONTENT_LENGTH {
            let length = content_length(value.as_bytes()).ok_or(EncodeError::ContentLength)?;
            if declared.replace(length).is_some_and(|earlier| earlier != length) {
                return Err(EncodeError::ContentLength);
            }
            headers.insert(name, value.clone());
        } else if !hop::is_fixed(name) {
            headers.append(name, value.clone());
        }
    }
    let length = match (body, declared) {
        (None, _) => Some(0),
        (Some(Some(length)), _) => Some(length),
        (Some(None), declared) => declared,
    };
    if declared.is_some() && declared != length {
        return Err(EncodeError::ContentLength);
    }
    // RFC 9110 §8.6: a method that is meant to have content says so even when there is none.
    let says_length = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
    if let Some(length) = length.filter(|length| declared.is_none() && (*length > 0 || says_length)) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(scheme);
    parts.authority = Some(authority.ok_or(EncodeError::Target)?);
    parts.path_and_query = Some(target.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")));
    let mut head = Request::new(());
    *head.method_mut() = method.clone();
    *head.uri_mut() = Uri::from_parts(parts).map_err(|_| EncodeError::Target)?;
    *head.version_mut() = Version::HTTP_2;
    *head.headers_mut() = headers;
    Ok(Encoded { head, length })
}

/// Where the body of a final response ends, or why it is refused.
pub(super) fn check<T>(
    response: &Response<T>,
    to_head: bool,
    limits: HeadLimits,
) -> Result<Framing, HeadError> {
    let (status, headers) = (response.status(), response.headers());
    if !(200..600).contains(&status.as_u16()) {
        return Err(HeadError::Status(status.as_u16()));
    }
    if headers.len() > limits.fields.min(MAX_HEADERS) {
        return Err(HeadError::TooManyHeaders);
    }
    // As many as they would be in HTTP/1.1.
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if bytes > limits.bytes.min(MAX_HEAD_BYTES) {
        return Err(HeadError::TooLarge);
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length =
        lengths.next().map(|length| content_length(length.as_bytes()).ok_or(HeadError::ContentLength));
    let length = length.transpose()?;
    if lengths.next().is_some() {
        return Err(HeadError::ContentLength);
    }
    if to_head || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
        return Ok(Framing::Empty);
    }
    // Without a length the end of the stream is the body's.
    Ok(length.map_or(Framing::Chunked, Framing::Length))
}
