//! Heads in HTTP/2 (RFC 9113 §8.2, §8.3). The `h2` crate refuses what is malformed there: connection-specific fields,
//! invalid pseudo-fields, and lengths that contradict the data. This module refuses everything else that `h1` refuses.

use crate::http::h1::encode::EncodeError;
use crate::http::h1::framing::{Framing, content_length};
use crate::http::h2::parts::measure;
use crate::http::head::limits::{HeadError, HeadLimits};
use crate::http::head::{Known, Line};
use crate::http::hop;
use http::header::CONTENT_LENGTH;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};

/// A request that can be sent.
pub(super) struct Encoded {
    pub(super) head: Request<()>,
    /// The length of the body, if it is known.
    pub(super) length: Option<u64>,
}

/// Returns the head of a request. `body` is `None` if there is no body, and `Some(None)` if its size is unknown.
pub(super) fn request<'a>(
    method: &Method,
    target: &Uri,
    scheme: Scheme,
    lines: impl IntoIterator<Item = Line<'a>>,
    body: Option<Option<u64>>,
) -> Result<Encoded, EncodeError> {
    if *method == Method::CONNECT {
        return Err(EncodeError::Connect);
    }
    let mut authority = None;
    let mut declared = None;
    let mut headers = HeaderMap::with_capacity(32);
    for line in lines {
        match line.known() {
            Known::Host => authority = Authority::try_from(line.value().as_bytes()).ok(),
            Known::ContentLength => {
                let length = content_length(line.value().as_bytes()).ok_or(EncodeError::ContentLength)?;
                if declared.replace(length).is_some_and(|earlier| earlier != length) {
                    return Err(EncodeError::ContentLength);
                }
                headers.insert(name_of(line), line.value().to_owned());
            }
            // Both have the same meaning in HTTP/2 (RFC 9113 §8.2.2).
            Known::Te | Known::Trailer => {
                headers.append(name_of(line), line.value().to_owned());
            }
            known if hop::is_fixed(known) => {}
            _ => {
                headers.append(name_of(line), line.value().to_owned());
            }
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
    // A method that usually has content gets a `Content-Length` even if there is none (RFC 9110 §8.6).
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

/// The name of a line, in the form that the `h2` crate takes.
fn name_of(line: Line<'_>) -> HeaderName {
    HeaderName::from_bytes(line.name().as_bytes()).expect("a line has a legal name")
}

/// Returns where the body of a final response ends, or the reason why the response is refused.
pub(super) fn check<T>(
    response: &Response<T>,
    to_head: bool,
    limits: HeadLimits,
) -> Result<Framing, HeadError> {
    let (status, headers) = (response.status(), response.headers());
    if !(200..600).contains(&status.as_u16()) {
        return Err(HeadError::Status(status.as_u16()));
    }
    measure(headers, limits)?;
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
    // Without a length, the body ends with the stream.
    Ok(length.map_or(Framing::Chunked, Framing::Length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::fixture;
    use crate::http::head::{Headers, MapCache};

    /// Returns the target and the fields of the request that is sent.
    fn sent(
        method: &Method,
        fields: &[(&str, &str)],
        body: Option<Option<u64>>,
    ) -> Result<String, EncodeError> {
        let fields = fixture::headers(&[&[("host", "a.test")], fields].concat());
        let target = "/a?b".parse().unwrap();
        let Encoded { head, length } = request(method, &target, Scheme::HTTPS, fields.lines(), body)?;
        let fields = Headers::from(head.headers());
        let lines = fixture::lines(&fields);
        Ok(format!("{} {length:?} {lines:?}", head.uri()))
    }

    #[test]
    fn requests() {
        let check = |method, fields: &[(&str, &str)], body, length: &str, lines: &str| {
            let expected = format!("https://a.test/a?b {length} [{lines}]");
            assert_eq!(sent(&method, fields, body), Ok(expected), "{fields:?}");
        };
        check(Method::GET, &[("x", "1")], None, "Some(0)", r#"("x", "1")"#);
        check(Method::POST, &[], None, "Some(0)", r#"("content-length", "0")"#);
        check(Method::PUT, &[], Some(Some(7)), "Some(7)", r#"("content-length", "7")"#);
        check(Method::PUT, &[], Some(None), "None", "");
        let told = [("content-length", "7"), ("content-length", "7"), ("x", "1")];
        let lines = r#"("content-length", "7"), ("x", "1")"#;
        check(Method::PUT, &told, Some(None), "Some(7)", lines);
        check(Method::PUT, &told, Some(Some(7)), "Some(7)", lines);
        let hop =
            [("connection", "close"), ("te", "trailers"), ("transfer-encoding", "chunked"), ("upgrade", "x")];
        check(Method::GET, &hop, Some(None), "None", r#"("te", "trailers")"#);
    }

    #[test]
    fn requests_that_would_be_ambiguous() {
        let refused = |fields: &[(&str, &str)], body| sent(&Method::PUT, fields, body).unwrap_err();
        assert_eq!(refused(&[("content-length", "7")], Some(Some(8))), EncodeError::ContentLength);
        assert_eq!(refused(&[("content-length", "7")], None), EncodeError::ContentLength);
        assert_eq!(refused(&[("content-length", "+7")], Some(None)), EncodeError::ContentLength);
        let twice = [("content-length", "7"), ("content-length", "8")];
        assert_eq!(refused(&twice, Some(None)), EncodeError::ContentLength);
        assert_eq!(refused(&[("host", "a b")], None), EncodeError::Target);
        assert_eq!(sent(&Method::CONNECT, &[], None), Err(EncodeError::Connect));
    }

    #[test]
    fn responses() {
        let check = |status: u16, fields: &[(&str, &str)], to_head, expected| {
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            *response.headers_mut() = fixture::headers(fields).into_map(&mut MapCache::default(), |_| true);
            let limits = HeadLimits { fields: 2, bytes: 30 };
            assert_eq!(super::check(&response, to_head, limits), expected, "{status} {fields:?}");
        };
        let length = [("content-length", "7")];
        check(200, &[], false, Ok(Framing::Chunked));
        check(200, &length, false, Ok(Framing::Length(7)));
        check(200, &length, true, Ok(Framing::Empty));
        check(204, &[], false, Ok(Framing::Empty));
        check(304, &length, false, Ok(Framing::Empty));
        check(599, &[], false, Ok(Framing::Chunked));
        check(600, &[], false, Err(HeadError::Status(600)));
        check(101, &[], false, Err(HeadError::Status(101)));
        check(200, &[("content-length", "-7")], false, Err(HeadError::ContentLength));
        check(200, &[("x", "1"), ("x", "2"), ("x", "3")], false, Err(HeadError::TooManyHeaders));
        check(200, &[("x", "0123456789012345678901234")], false, Ok(Framing::Chunked));
        check(200, &[("x", "01234567890123456789012345")], false, Err(HeadError::TooLarge));
    }
}
