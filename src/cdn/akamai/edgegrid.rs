//! Akamai's EdgeGrid signature, EG1-HMAC-SHA256
//! (<https://techdocs.akamai.com/developer/docs/authenticate-with-edgegrid>), verified by the test cases of
//! Akamai's own client (`tests/vectors/edgegrid.json`).

use crate::cdn::mac::hmac_sha256;
use crate::cdn::names;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request};
use sha2::{Digest, Sha256};

/// The `strftime` format of the time of signing, for [`Signer::authorization`].
pub const TIMESTAMP: &str = "%Y%m%dT%H:%M:%S+0000";

/// The number of body bytes that Fast Purge requires to be signed: the first 128 KiB, which include all of our
/// bodies.
pub const MAX_BODY: usize = 131_072;

/// The signer, and the parts that an API requires to be signed.
pub struct Signer<'a> {
    /// The token that identifies the client.
    pub client_token: &'a str,
    /// The key.
    pub client_secret: &'a str,
    /// The token that identifies the client's rights.
    pub access_token: &'a str,
    /// The number of bytes at the start of a body that are signed.
    pub max_body: usize,
    /// The header fields that the API requires to be signed, in its order (Fast Purge: none).
    pub headers_to_sign: &'a [&'a str],
}

impl Signer<'_> {
    /// Returns the `Authorization` of a request. The timestamp is valid for some 30 seconds, the nonce for one
    /// request.
    pub fn authorization(&self, request: &Request<Bytes>, timestamp: &str, nonce: &str) -> String {
        let unsigned = self.unsigned(timestamp, nonce);
        let signature = self.signed(request, &unsigned, timestamp);
        format!("{unsigned}signature={signature}")
    }

    /// Returns the signature that the `Authorization` of a request must have.
    pub fn signature(&self, request: &Request<Bytes>, timestamp: &str, nonce: &str) -> String {
        self.signed(request, &self.unsigned(timestamp, nonce), timestamp)
    }

    fn unsigned(&self, timestamp: &str, nonce: &str) -> String {
        format!(
            "EG1-HMAC-SHA256 client_token={};access_token={};timestamp={timestamp};nonce={nonce};",
            self.client_token, self.access_token,
        )
    }

    fn signed(&self, request: &Request<Bytes>, unsigned: &str, timestamp: &str) -> String {
        let data = self.data_to_sign(request) + unsigned;
        // The key is the base64 text itself, not the decoded bytes.
        let key = self.signing_key(timestamp);
        STANDARD.encode(hmac_sha256(key.as_bytes(), data.as_bytes()))
    }

    fn signing_key(&self, timestamp: &str) -> String {
        STANDARD.encode(hmac_sha256(self.client_secret.as_bytes(), timestamp.as_bytes()))
    }

    /// Returns the signed data of the request, which the unsigned authorization follows.
    fn data_to_sign(&self, request: &Request<Bytes>) -> String {
        let uri = request.uri();
        let fields = [
            request.method().as_str(),
            uri.scheme_str().unwrap_or_default(),
            &names::host(uri),
            uri.path_and_query().map_or("/", |target| target.as_str()),
            &self.canonical_headers(request),
            &self.content_hash(request.method(), request.body()),
        ];
        fields.map(|field| format!("{field}\t")).concat()
    }

    fn canonical_headers(&self, request: &Request<Bytes>) -> String {
        let value =
            |name: &str| request.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let headers = self.headers_to_sign.iter().filter_map(|name| {
            let value = value(name)?.split_whitespace().collect::<Vec<_>>().join(" ");
            Some(format!("{}:{value}", name.to_ascii_lowercase()))
        });
        headers.collect::<Vec<_>>().join("\t")
    }

    /// Returns the hash of the body, which is signed only if it is that of a POST and not empty.
    fn content_hash(&self, method: &Method, body: &[u8]) -> String {
        if method != Method::POST || body.is_empty() {
            return String::new();
        }
        STANDARD.encode(Sha256::digest(&body[..body.len().min(self.max_body)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    /// The content of `tests/vectors/edgegrid.json`.
    #[derive(Deserialize)]
    struct Vectors {
        host: String,
        client_token: String,
        client_secret: String,
        access_token: String,
        max_body: usize,
        headers_to_sign: Vec<String>,
        timestamp: String,
        nonce: String,
        signing_key: String,
        content_hash: ContentHash,
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct ContentHash {
        body: String,
        hash: String,
    }

    #[derive(Deserialize)]
    struct Case {
        name: String,
        method: String,
        path: String,
        headers: Vec<(String, String)>,
        body: String,
        data_to_sign: Option<String>,
        authorization: String,
    }

    #[test]
    fn the_test_cases_of_akamais_client() {
        let vectors: Vectors = serde_json::from_str(include_str!("../../../tests/vectors/edgegrid.json"))
            .expect("the vectors are JSON");
        let headers_to_sign: Vec<&str> = vectors.headers_to_sign.iter().map(String::as_str).collect();
        let signer = Signer {
            client_token: &vectors.client_token,
            client_secret: &vectors.client_secret,
            access_token: &vectors.access_token,
            max_body: vectors.max_body,
            headers_to_sign: &headers_to_sign,
        };
        assert_eq!(signer.signing_key(&vectors.timestamp), vectors.signing_key);
        let hash = signer.content_hash(&Method::POST, vectors.content_hash.body.as_bytes());
        assert_eq!(hash, vectors.content_hash.hash);
        assert_eq!(vectors.cases.len(), 17);
        for case in &vectors.cases {
            let mut request = Request::builder()
                .method(case.method.as_str())
                .uri(format!("https://{}{}", vectors.host, case.path));
            for (name, value) in &case.headers {
                request = request.header(name, value);
            }
            let request = request.body(Bytes::from(case.body.clone())).expect("the vectors are requests");
            if let Some(expected) = &case.data_to_sign {
                assert_eq!(&signer.data_to_sign(&request), expected, "{}: data to sign", case.name);
            }
            let authorization = signer.authorization(&request, &vectors.timestamp, &vectors.nonce);
            assert_eq!(authorization, case.authorization, "{}: authorization", case.name);
        }
    }
}
