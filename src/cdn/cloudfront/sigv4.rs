//! AWS Signature Version 4 in the `Authorization` header
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>), verified by
//! the signing test suite that AWS publishes (`tests/vectors/sigv4.json`).

use crate::cdn::mac::hmac_sha256;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// All characters except the unreserved ones of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const PATH: &AsciiSet = &RESERVED.remove(b'/');
const ENCODED_PATH: &AsciiSet = &PATH.remove(b'%');

/// The `strftime` format of the time of signing, for [`Signer::sign`].
pub const TIMESTAMP: &str = "%Y%m%dT%H%M%SZ";

/// The signer, the service, and the variant of the scheme.
pub struct Signer<'a> {
    /// The id of the key.
    pub access_key_id: &'a str,
    /// The key.
    pub secret_access_key: &'a str,
    /// The session token of temporary credentials.
    pub session_token: Option<&'a str>,
    /// The region, for example `us-east-1`.
    pub region: &'a str,
    /// The service, for example `cloudfront`.
    pub service: &'a str,
    /// The time of signing, in the form of [`TIMESTAMP`].
    pub timestamp: &'a str,
    /// Whether dot segments and double slashes of the path are resolved (all services except S3).
    pub normalize_path: bool,
    /// Whether an encoded path is encoded a second time (all services except S3).
    pub double_encode: bool,
    /// Whether the body's hash is sent and signed in `x-amz-content-sha256`; it is part of the signature in any
    /// case.
    pub sign_payload_hash: bool,
    /// Whether the session token is signed (all services except AWS IoT).
    pub sign_session_token: bool,
}

/// A request to be signed, with the header fields that the signature covers; `host` must be among them.
pub struct Unsigned<'a> {
    /// The method.
    pub method: &'a str,
    /// The path as it is sent.
    pub path: &'a str,
    /// The query as it is sent, without its question mark.
    pub query: &'a str,
    /// The name and value of each covered header field.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
}

impl Signer<'_> {
    /// Returns the header fields to add to the request, `authorization` last.
    pub fn sign(&self, request: &Unsigned<'_>) -> Vec<(&'static str, String)> {
        let signature = self.signature(&self.string_to_sign(&self.canonical_request(request)));
        let mut headers = self.own_headers(request.body);
        if let Some(token) = self.session_token.filter(|_| !self.sign_session_token) {
            headers.push(("x-amz-security-token", token.to_owned()));
        }
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={}, Signature={signature}",
            self.access_key_id,
            self.scope(),
            self.signed_headers(request).into_keys().collect::<Vec<_>>().join(";"),
        );
        headers.push(("authorization", authorization));
        headers
    }

    /// Step 1: Returns the request in the one form that both sides hash.
    fn canonical_request(&self, request: &Unsigned<'_>) -> String {
        let headers = self.signed_headers(request);
        let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        [
            request.method,
            &self.canonical_path(request.path),
            &canonical_query(request.query),
            &lines,
            &headers.into_keys().collect::<Vec<_>>().join(";"),
            &hex_sha256(request.body),
        ]
        .join("\n")
    }

    /// Step 2: Returns the hash of the canonical request with its scope.
    fn string_to_sign(&self, canonical_request: &str) -> String {
        let hash = hex_sha256(canonical_request.as_bytes());
        ["AWS4-HMAC-SHA256", self.timestamp, &self.scope(), &hash].join("\n")
    }

    /// Step 3: Returns the signature, made with a key that is valid for one day, region and service.
    fn signature(&self, string_to_sign: &str) -> String {
        let secret = format!("AWS4{}", self.secret_access_key);
        let parts = [self.date(), self.region, self.service, "aws4_request", string_to_sign];
        let signature =
            parts.iter().fold(secret.into_bytes(), |key, part| hmac_sha256(&key, part.as_bytes()).to_vec());
        hex::encode(signature)
    }

    fn date(&self) -> &str {
        self.timestamp.split('T').next().unwrap_or_default()
    }

    fn scope(&self) -> String {
        [self.date(), self.region, self.service, "aws4_request"].join("/")
    }

    /// Returns the header fields that signing adds and covers.
    fn own_headers(&self, body: &[u8]) -> Vec<(&'static str, String)> {
        let mut headers = vec![("x-amz-date", self.timestamp.to_owned())];
        if let Some(token) = self.session_token.filter(|_| self.sign_session_token) {
            headers.push(("x-amz-security-token", token.to_owned()));
        }
        if self.sign_payload_hash {
            headers.push(("x-amz-content-sha256", hex_sha256(body)));
        }
        headers
    }

    /// Returns all covered header fields by lower-case name, with the values of repeated ones joined.
    fn signed_headers(&self, request: &Unsigned<'_>) -> BTreeMap<String, String> {
        let own = self.own_headers(request.body);
        let own = own.iter().map(|(name, value)| (*name, value.as_str()));
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in request.headers.iter().copied().chain(own) {
            let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
            headers
                .entry(name.to_ascii_lowercase())
                .and_modify(|values| *values = format!("{values},{value}"))
                .or_insert(value);
        }
        headers
    }

    fn canonical_path(&self, path: &str) -> String {
        let path = if self.normalize_path { normalize(path) } else { Cow::Borrowed(path) };
        utf8_percent_encode(&path, if self.double_encode { PATH } else { ENCODED_PATH }).to_string()
    }
}

/// Returns the parameters sorted by name, then by value, both encoded strictly.
fn canonical_query(query: &str) -> String {
    let encode = |text: &str| {
        let text = percent_decode_str(text).collect::<Vec<u8>>();
        percent_encoding::percent_encode(&text, RESERVED).to_string()
    };
    let parameters = query.split('&').filter(|parameter| !parameter.is_empty());
    let mut parameters: Vec<(String, String)> = parameters
        .map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")))
        .map(|(name, value)| (encode(name), encode(value)))
        .collect();
    parameters.sort();
    parameters.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// Removes dot segments (RFC 3986, 5.2.4) and empty segments.
fn normalize(path: &str) -> Cow<'_, str> {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    let is_directory = matches!(path.rsplit('/').next(), Some("" | "." | ".."));
    let end = if is_directory && !kept.is_empty() { "/" } else { "" };
    Cow::Owned(format!("/{}{end}", kept.join("/")))
}

fn hex_sha256(data: &[u8]) -> String {
    hex::encode(Sha256::digest(data))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    /// One case of `tests/vectors/sigv4.json`.
    #[derive(Deserialize)]
    struct Case {
        name: String,
        method: String,
        path: String,
        query: String,
        headers: Vec<(String, String)>,
        body: String,
        region: String,
        service: String,
        access_key_id: String,
        secret_access_key: String,
        session_token: Option<String>,
        timestamp: String,
        normalize_path: bool,
        double_encode: bool,
        sign_payload_hash: bool,
        sign_session_token: bool,
        canonical_request: Option<String>,
        string_to_sign: Option<String>,
        /// The header fields that signing adds.
        signed_headers: Option<Vec<(String, String)>>,
    }

    #[test]
    fn the_aws_signing_test_suite() {
        let cases: Vec<Case> = serde_json::from_str(include_str!("../../../tests/vectors/sigv4.json"))
            .expect("the vectors are JSON");
        assert_eq!(cases.len(), 41);
        for case in cases {
            check(&case);
        }
    }

    fn check(case: &Case) {
        let signer = Signer {
            access_key_id: &case.access_key_id,
            secret_access_key: &case.secret_access_key,
            session_token: case.session_token.as_deref(),
            region: &case.region,
            service: &case.service,
            timestamp: &case.timestamp,
            normalize_path: case.normalize_path,
            double_encode: case.double_encode,
            sign_payload_hash: case.sign_payload_hash,
            sign_session_token: case.sign_session_token,
        };
        let headers: Vec<(&str, &str)> =
            case.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let request = Unsigned {
            method: &case.method,
            path: &case.path,
            query: &case.query,
            headers: &headers,
            body: case.body.as_bytes(),
        };
        let canonical = signer.canonical_request(&request);
        if let Some(expected) = &case.canonical_request {
            assert_eq!(&canonical, expected, "{}: canonical request", case.name);
        }
        if let Some(expected) = &case.string_to_sign {
            assert_eq!(&signer.string_to_sign(&canonical), expected, "{}: string to sign", case.name);
        }
        if let Some(expected) = &case.signed_headers {
            let mut signed = signer.sign(&request);
            signed.sort();
            let expected: Vec<(&str, String)> =
                expected.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
            assert_eq!(signed, expected, "{}: signed request", case.name);
        }
    }
}
