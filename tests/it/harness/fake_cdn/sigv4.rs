//! AWS Signature Version 4, as a service checks it
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>).

use super::header;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::Request;
use sha2::{Digest, Sha256};

/// The greatest difference between the clock and the time of a signature.
const WINDOW_MS: i64 = 300_000;

/// A key as the service has it.
pub struct Key<'a> {
    /// Its id.
    pub id: &'a str,
    /// The secret.
    pub secret: &'a str,
    /// The token of temporary credentials.
    pub session_token: Option<&'a str>,
}

/// Checks the signature; `Err` is the code and the message of the refusal.
pub fn verify(
    call: &Request<Bytes>,
    service: &str,
    key: &Key<'_>,
    now_ms: i64,
) -> Result<(), (&'static str, String)> {
    let refuse = |code, message: &str| Err((code, message.to_owned()));
    let authorization = header(call, "authorization");
    let Some(fields) = authorization.strip_prefix("AWS4-HMAC-SHA256 ") else {
        return refuse("MissingAuthenticationToken", "Request is missing Authentication Token");
    };
    let field = |name: &str| {
        let mut pairs = fields.split(", ").filter_map(|pair| pair.split_once('='));
        pairs.find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    };
    let (id, scope) = field("Credential").split_once('/').unwrap_or_default();
    let session_token = header(call, "x-amz-security-token");
    if id != key.id || session_token != key.session_token.unwrap_or_default() {
        return refuse("InvalidClientTokenId", "The security token included in the request is invalid.");
    }
    let time = header(call, "x-amz-date");
    let signed = jiff::fmt::strtime::parse("%Y%m%dT%H%M%SZ%z", format!("{time}+0000"));
    let Ok(signed) = signed.and_then(|time| time.to_timestamp()) else {
        return refuse("IncompleteSignature", "Date must be in ISO-8601 'basic format'");
    };
    let late = now_ms - signed.as_millisecond();
    if late.abs() > WINDOW_MS {
        let problem = if late > 0 { "Signature expired" } else { "Signature not yet current" };
        return refuse("SignatureDoesNotMatch", &format!("{problem}: {time} is too far from now (5 min.)"));
    }
    let date = time.split('T').next().unwrap_or_default();
    if scope != format!("{date}/us-east-1/{service}/aws4_request") {
        return refuse("SignatureDoesNotMatch", "Credential should be scoped to a valid region.");
    }
    let covered = field("SignedHeaders");
    let headers: String = covered.split(';').map(|name| format!("{name}:{}\n", header(call, name))).collect();
    let canonical = [
        call.method().as_str(),
        call.uri().path(),
        call.uri().query().unwrap_or_default(),
        &headers,
        covered,
        &hex::encode(Sha256::digest(call.body())),
    ]
    .join("\n");
    let hash = hex::encode(Sha256::digest(canonical));
    let to_sign = ["AWS4-HMAC-SHA256", time, scope, &hash].join("\n");
    let first = format!("AWS4{}", key.secret).into_bytes();
    let parts = [date, "us-east-1", service, "aws4_request", &to_sign];
    let signature = parts.iter().fold(first, |key, part| hmac(&key, part));
    if field("Signature") != hex::encode(signature) || !covered.split(';').any(|name| name == "host") {
        let message = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.";
        return refuse("SignatureDoesNotMatch", message);
    }
    Ok(())
}

fn hmac(key: &[u8], data: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(data.as_bytes());
    mac.finalize().into_bytes().to_vec()
}
