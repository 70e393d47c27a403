//! Akamai's Fast Purge API, version 3, as its clients use it
//! (<https://techdocs.akamai.com/purge-cache/reference/api>). Everything here is pure: requests become purges, and
//! their results become answers.
//!
//! Requests are signed with EdgeGrid. The client token is the name of one of the admin API's tokens, the client secret
//! is the token itself, and the access token may be anything.

use super::refused::Refused;
use crate::cdn::edgegrid::{MAX_BODY, Signer};
use crate::purge::{PurgeMode, PurgeRequest};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use jiff::fmt::strtime;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// How far the time of a signature may be from ours, in seconds.
pub const WINDOW_S: i64 = 60;

/// Reads a request, whose signature is not verified here.
pub fn read(request: &Request<Bytes>) -> Result<PurgeRequest, Refused> {
    let path = request.uri().path();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let (action, kind) = match (request.method(), &*segments) {
        (
            &Method::POST,
            ["ccu", "v3", action, kind] | ["ccu", "v3", action, kind, "production" | "staging"],
        ) => (*action, *kind),
        (method, _) => return Err(Refused::not_ours(&format!("{method} {path}"))),
    };
    let mode = match action {
        "invalidate" => PurgeMode::Soft,
        "delete" => PurgeMode::Hard,
        _ => return Err(Refused::not_ours(&format!("POST {path}"))),
    };
    let body: Body = serde_json::from_slice(request.body())
        .map_err(|error| Refused::bad(format!("the body is not a purge of Akamai's API: {error}")))?;
    let Body { objects, hostname } = body;
    if objects.is_empty() {
        return Err(Refused::bad("`objects` is empty"));
    }
    let mut purge = PurgeRequest {
        mode: Some(mode),
        reason: Some("asked for through Akamai's API".to_owned()),
        ..PurgeRequest::default()
    };
    match kind {
        // A content provider code stands for whatever is delivered under it.
        "cpcode" => purge.everything = true,
        "tag" => purge.tags = objects.into_iter().map(text).collect::<Result<_, _>>()?,
        "url" => {
            for object in objects {
                let url = text(object)?;
                match &hostname {
                    Some(host) if url.starts_with('/') => {
                        purge.urls.extend(["http", "https"].map(|scheme| format!("{scheme}://{host}{url}")));
                    }
                    _ => purge.urls.push(url),
                }
            }
        }
        _ => return Err(Refused::bad(format!("`{kind}` is not url, tag or cpcode"))),
    }
    Ok(purge)
}

/// The body of a purge.
#[derive(Deserialize)]
struct Body {
    objects: Vec<Value>,
    hostname: Option<String>,
}

fn text(object: Value) -> Result<String, Refused> {
    match object {
        Value::String(text) => Ok(text),
        other => Err(Refused::bad(format!("{other} in `objects` is not a text"))),
    }
}

/// The parts of an `Authorization` of EdgeGrid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed<'a> {
    /// The name of the token.
    pub client_token: &'a str,
    access_token: &'a str,
    timestamp: &'a str,
    nonce: &'a str,
    signature: &'a str,
}

impl<'a> Signed<'a> {
    /// Reads the `Authorization` of a request.
    pub fn of(request: &'a Request<Bytes>) -> Result<Self, Refused> {
        let value = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let fields = value
            .and_then(|value| value.strip_prefix("EG1-HMAC-SHA256 "))
            .ok_or_else(Refused::unauthorized)?;
        let field = |name: &str| {
            let mut found =
                fields.split(';').filter_map(|part| part.split_once('=')).filter(|(key, _)| *key == name);
            found
                .next()
                .map(|(_, value)| value)
                .filter(|_| found.next().is_none())
                .ok_or_else(Refused::unauthorized)
        };
        Ok(Self {
            client_token: field("client_token")?,
            access_token: field("access_token")?,
            timestamp: field("timestamp")?,
            nonce: field("nonce")?,
            signature: field("signature")?,
        })
    }

    /// Verifies the signature of a request with the secret of the client token, at `now_s` in seconds since the epoch.
    /// Returns what a replay of the request would have, too, as long as its time is near ours.
    pub fn verify(&self, request: &Request<Bytes>, secret: &str, now_s: i64) -> Result<[u8; 32], Refused> {
        let signer = Signer {
            client_token: self.client_token,
            client_secret: secret,
            access_token: self.access_token,
            max_body: MAX_BODY,
            headers_to_sign: &[],
        };
        // The client signs the scheme and the host that it knows, and TLS may have ended before us.
        let host =
            request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let mut is_right = subtle::Choice::from(0);
        for scheme in ["https", "http"] {
            let Ok(uri) = format!("{scheme}://{host}{target}").parse::<Uri>() else { continue };
            let mut seen = Request::new(request.body().clone());
            *seen.method_mut() = request.method().clone();
            *seen.uri_mut() = uri;
            let expected = signer.signature(&seen, self.timestamp, self.nonce);
            is_right |= expected.as_bytes().ct_eq(self.signature.as_bytes());
        }
        if !bool::from(is_right) {
            return Err(Refused::unauthorized());
        }
        let at = strtime::parse("%Y%m%dT%H:%M:%S%z", self.timestamp).and_then(|time| time.to_timestamp());
        let at = at.map_err(|_| Refused::unauthorized())?;
        if at.as_second().abs_diff(now_s) > WINDOW_S.unsigned_abs() {
            let detail =
                "the signature was made more than a minute ago, or in the future: are both clocks right?";
            return Err(Refused { status: StatusCode::UNAUTHORIZED, detail: detail.to_owned() });
        }
        Ok(Sha256::digest(format!("{}\n{}\n{}", self.client_token, self.timestamp, self.nonce)).into())
    }
}

/// Returns the answer to a purge that was committed under this id.
pub fn accepted(id: &str) -> Response<Bytes> {
    answer(
        StatusCode::CREATED,
        "application/json",
        &json!({
            "httpStatus": 201, "estimatedSeconds": 5, "purgeId": id, "supportId": id, "detail": "Request accepted"
        }),
    )
}

/// Returns the answer to a request that is refused.
pub fn refused(refused: &Refused) -> Response<Bytes> {
    let status = refused.status;
    let title = status.canonical_reason().unwrap_or("Error");
    let body = json!({
        "type": "about:blank", "title": title, "status": status.as_u16(), "httpStatus": status.as_u16(),
        "detail": refused.detail
    });
    answer(status, "application/problem+json", &body)
}

fn answer(status: StatusCode, content_type: &'static str, body: &Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The content of `tests/vectors/inbound.json`: requests of the vendors' own clients.
    #[derive(Deserialize)]
    struct Vectors {
        secret: String,
        at_s: i64,
        requests: Vec<Recorded>,
    }

    #[derive(Deserialize)]
    struct Recorded {
        client: String,
        method: String,
        target: String,
        headers: Vec<(String, String)>,
        body: String,
    }

    /// Returns the requests of Akamai's client, the secret and the time.
    fn recorded() -> (Vec<Request<Bytes>>, String, i64) {
        let vectors: Vectors =
            serde_json::from_str(include_str!("../../tests/vectors/inbound.json")).unwrap();
        let own =
            vectors.requests.into_iter().filter(|request| request.client.starts_with("edgegrid-python"));
        let request = |recorded: Recorded| {
            let mut request = Request::builder().method(&*recorded.method).uri(recorded.target);
            for (name, value) in recorded.headers {
                request = request.header(name, value);
            }
            request.body(Bytes::from(recorded.body)).unwrap()
        };
        (own.map(request).collect(), vectors.secret, vectors.at_s)
    }

    #[test]
    fn what_akamais_client_signs_is_verified_and_read() {
        let (requests, secret, at_s) = recorded();
        let [delete, invalidate] = &*requests else { panic!("two requests") };
        let by_tag = read(delete).unwrap();
        assert_eq!((by_tag.tags, by_tag.mode), (vec!["a".to_owned(), "b".to_owned()], Some(PurgeMode::Hard)));
        let by_url = read(invalidate).unwrap();
        assert_eq!(by_url.urls, ["http://www.example.com/a?b=1", "https://www.example.com/a?b=1"]);
        assert_eq!(by_url.mode, Some(PurgeMode::Soft));
        let mut once = Vec::new();
        for request in &requests {
            let signed = Signed::of(request).unwrap();
            assert_eq!(signed.client_token, "cms");
            once.push(signed.verify(request, &secret, at_s).unwrap());
            for other in [at_s - WINDOW_S - 1, at_s + WINDOW_S + 1] {
                assert_eq!(signed.verify(request, &secret, other).unwrap_err().status, 401);
            }
            assert_eq!(
                signed.verify(request, "another token of the shim", at_s),
                Err(Refused::unauthorized())
            );
        }
        assert_ne!(once[0], once[1], "each request has a nonce of its own");
    }

    #[test]
    fn what_is_not_signed_is_refused() {
        let (requests, _, _) = recorded();
        let with = |value: &str| {
            let mut request = requests[0].clone();
            request.headers_mut().insert(header::AUTHORIZATION, value.parse().unwrap());
            Signed::of(&request).map(|_| ())
        };
        for value in [
            "Bearer a",
            "EG1-HMAC-SHA256 client_token=a;access_token=b;timestamp=c;nonce=d;",
            "EG1-HMAC-SHA256 client_token=a;client_token=b;access_token=b;timestamp=c;nonce=d;signature=e",
        ] {
            assert_eq!(with(value), Err(Refused::unauthorized()), "{value}");
        }
        assert!(
            with("EG1-HMAC-SHA256 client_token=a;access_token=b;timestamp=c;nonce=d;signature=e").is_ok()
        );
    }

    #[test]
    fn what_is_no_purge_is_refused() {
        let check = |target: &str, body: &str, status: u16| {
            let request = Request::post(target).body(Bytes::copy_from_slice(body.as_bytes())).unwrap();
            let error = read(&request).unwrap_err();
            assert_eq!(error.status, status, "{target} {body}");
            let answer: Value = serde_json::from_slice(refused(&error).body()).unwrap();
            assert_eq!(answer["httpStatus"], status);
        };
        check("/ccu/v3/delete/tag", "{}", 400);
        check("/ccu/v3/delete/tag", r#"{"objects":[]}"#, 400);
        check("/ccu/v3/delete/tag", r#"{"objects":[1]}"#, 400);
        check("/ccu/v3/delete/host", r#"{"objects":["a"]}"#, 400);
        check("/ccu/v3/delete/tag/test", r#"{"objects":["a"]}"#, 501);
        check("/ccu/v3/remove/tag", r#"{"objects":["a"]}"#, 501);
        check("/ccu/v2/queues/default", r#"{"objects":["a"]}"#, 501);
        let codes =
            Request::post("/ccu/v3/invalidate/cpcode/staging").body(Bytes::from(r#"{"objects":[12345]}"#));
        assert!(read(&codes.unwrap()).unwrap().everything);
        assert_eq!(accepted("p1").status(), 201);
    }

    proptest! {
        #[test]
        fn any_changed_byte_of_the_body_is_detected(at in any::<prop::sample::Index>(), bit in 0..7_u8) {
            let (requests, secret, at_s) = recorded();
            let mut changed = requests[0].body().to_vec();
            let place = at.index(changed.len());
            changed[place] ^= 1 << bit;
            let changed = requests[0].clone().map(|_| Bytes::from(changed));
            prop_assert!(Signed::of(&changed).unwrap().verify(&changed, &secret, at_s).is_err());
        }
    }
}
