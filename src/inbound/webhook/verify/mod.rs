//! The proof that a webhook comes from the system that it is configured for: signatures of its body, or a credential.
//!
//! | `verify` | what the sender does |
//! |---|---|
//! | `hmac-sha256`, `hmac-sha1` | HMAC of the body in a header, in hexadecimal or base64, with or without `sha256=` |
//! | `bearer`, `basic` | `Authorization` with the secret (RFC 6750, RFC 7617) |
//! | `contentful` | HMAC-SHA256 of method, path, signed headers and body, as `@contentful/node-apps-toolkit` has it |
//! | `sanity` | HMAC-SHA256 of time and body, as `@sanity/webhook` has it |
//! | `storyblok` | HMAC-SHA1 of the body (<https://www.storyblok.com/docs/guide/in-depth/webhooks>) |
//! | `kontent` | HMAC-SHA256 of the body, as `@kontent-ai/webhook-helper` has it |

use crate::config::HookScheme;
use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// How far the time of a signature may be from ours, in milliseconds. Systems send a webhook again for up to half an
/// hour.
pub const WINDOW_MS: i64 = 3_600_000;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

/// A webhook as it came.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// The method.
    pub method: &'a str,
    /// The path, with its query.
    pub target: &'a str,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// The body.
    pub body: &'a [u8],
}

/// A webhook whose sender is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What a replay of this webhook would have, too: the digest of a signature that covers its time. `None` if a
    /// sender signs two events with the same body in the same way: to drop the second one would lose a purge.
    pub once: Option<[u8; 32]>,
}

/// Why it is not known who sent a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotVerified {
    /// The header of the signature or credential is missing.
    #[error("the header with the signature or credential is missing")]
    Missing,
    /// The header of the signature is malformed.
    #[error("the header with the signature or credential is malformed")]
    Malformed,
    /// The signature or credential is wrong.
    #[error("the signature or credential is wrong")]
    Wrong,
    /// The time of the signature is too far from ours.
    #[error("the signature was made more than an hour ago, or in the future: are both clocks right?")]
    Time,
}

/// How webhooks are verified.
#[derive(Clone, Copy, Debug)]
pub struct Verifier<'a> {
    /// The scheme.
    pub scheme: HookScheme,
    /// The header of the signature, for the schemes that have no header of their own.
    pub header: &'a HeaderName,
    /// The secret.
    pub secret: &'a [u8],
}

impl Verifier<'_> {
    /// Verifies a webhook at `now_ms`, in milliseconds since the epoch. Comparisons take the same time whatever is
    /// wrong.
    pub fn verify(&self, sent: Sent<'_>, now_ms: i64) -> Result<Verified, NotVerified> {
        match self.scheme {
            HookScheme::HmacSha256 => self.body(sent, self.header.as_str(), sha256),
            HookScheme::HmacSha1 => self.body(sent, self.header.as_str(), sha1),
            HookScheme::Kontent if sent.headers.contains_key("x-kc-signature") => {
                self.body(sent, "x-kc-signature", sha256)
            }
            HookScheme::Kontent => self.body(sent, "x-kontent-ai-signature", sha256),
            HookScheme::Storyblok => self.body(sent, "webhook-signature", sha1),
            HookScheme::Bearer => self.credential(sent, "bearer", <[u8]>::to_vec),
            HookScheme::Basic => self.credential(sent, "basic", |secret| BASE64.encode(secret).into_bytes()),
            HookScheme::Contentful => self.contentful(sent, now_ms),
            HookScheme::Sanity => self.sanity(sent, now_ms),
        }
    }

    /// Verifies the HMAC of the body alone.
    fn body(&self, sent: Sent<'_>, header: &str, mac: MacOf) -> Result<Verified, NotVerified> {
        let given = signature(field(sent.headers, header)?)?;
        equal(&mac(self.secret, &[sent.body]), &given)?;
        Ok(Verified { once: None })
    }

    fn credential(
        &self,
        sent: Sent<'_>,
        scheme: &str,
        of: impl Fn(&[u8]) -> Vec<u8>,
    ) -> Result<Verified, NotVerified> {
        let value = field(sent.headers, "authorization")?;
        let (name, given) = value.split_once(' ').ok_or(NotVerified::Malformed)?;
        if !name.eq_ignore_ascii_case(scheme) {
            return Err(NotVerified::Malformed);
        }
        // Hashes have the same length whatever was presented.
        equal(&Sha256::digest(of(self.secret)), &Sha256::digest(given.trim().as_bytes()))?;
        Ok(Verified { once: None })
    }

    fn contentful(&self, sent: Sent<'_>, now_ms: i64) -> Result<Verified, NotVerified> {
        let given = signature(field(sent.headers, "x-contentful-signature")?)?;
        let at_ms = field(sent.headers, "x-contentful-timestamp")?;
        let names = field(sent.headers, "x-contentful-signed-headers")?;
        let mut names: Vec<String> = names.split(',').map(|name| name.trim().to_ascii_lowercase()).collect();
        names.sort_unstable();
        if !names.iter().any(|name| name == "x-contentful-timestamp") {
            return Err(NotVerified::Malformed);
        }
        let signed = |name: &String| Some(format!("{name}:{}", field(sent.headers, name).ok()?));
        let headers: Vec<String> = names.iter().filter_map(signed).collect();
        let head = format!("{}\n{}\n{}\n", sent.method, sent.target, headers.join(";"));
        let expected = sha256(self.secret, &[head.as_bytes(), sent.body]);
        equal(&expected, &given)?;
        timely(at_ms, now_ms)?;
        Ok(once(&expected))
    }

    fn sanity(&self, sent: Sent<'_>, now_ms: i64) -> Result<Verified, NotVerified> {
        let value = field(sent.headers, "sanity-webhook-signature")?;
        let (mut at_ms, mut given) = (None, None);
        for part in value.split([',', ' ']) {
            match part.split_once('=') {
                Some(("t", time)) => at_ms = Some(time),
                Some(("v1", text)) => given = Some(signature(text)?),
                _ => {}
            }
        }
        let (at_ms, given) = at_ms.zip(given).ok_or(NotVerified::Malformed)?;
        let expected = sha256(self.secret, &[at_ms.as_bytes(), b".", sent.body]);
        equal(&expected, &given)?;
        timely(at_ms, now_ms)?;
        Ok(once(&expected))
    }
}

/// An HMAC of data that is given in parts.
type MacOf = fn(&[u8], &[&[u8]]) -> Vec<u8>;

fn sha256(key: &[u8], data: &[&[u8]]) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(key);
    mac.map(|mac| updated(mac, data)).unwrap_or_default()
}

fn sha1(key: &[u8], data: &[&[u8]]) -> Vec<u8> {
    let mac = Hmac::<Sha1>::new_from_slice(key);
    mac.map(|mac| updated(mac, data)).unwrap_or_default()
}

fn updated(mut mac: impl Mac, data: &[&[u8]]) -> Vec<u8> {
    data.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

/// Returns the value of the only line of a header.
fn field<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str, NotVerified> {
    let mut lines = headers.get_all(name).iter();
    let value = lines.next().ok_or(NotVerified::Missing)?;
    if lines.next().is_some() {
        return Err(NotVerified::Malformed);
    }
    std::str::from_utf8(value.as_bytes()).map(str::trim).map_err(|_| NotVerified::Malformed)
}

/// Returns the bytes of a signature. Hexadecimal digits are base64, too, but of another length than any HMAC has.
fn signature(text: &str) -> Result<Vec<u8>, NotVerified> {
    let named = ["sha256=", "sha1="].iter().find_map(|name| text.strip_prefix(name));
    let text = named.unwrap_or(text);
    let is_hex = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex && let Ok(bytes) = hex::decode(text) {
        return Ok(bytes);
    }
    BASE64.decode(text).or_else(|_| BASE64_URL.decode(text)).map_err(|_| NotVerified::Malformed)
}

fn equal(expected: &[u8], given: &[u8]) -> Result<(), NotVerified> {
    if expected.is_empty() || !bool::from(expected.ct_eq(given)) {
        return Err(NotVerified::Wrong);
    }
    Ok(())
}

fn timely(at_ms: &str, now_ms: i64) -> Result<(), NotVerified> {
    let at_ms: i64 = at_ms.parse().map_err(|_| NotVerified::Malformed)?;
    // Some libraries count in seconds.
    let at_ms = if at_ms < 100_000_000_000 { at_ms.saturating_mul(1_000) } else { at_ms };
    if at_ms.abs_diff(now_ms) > WINDOW_MS.unsigned_abs() {
        return Err(NotVerified::Time);
    }
    Ok(())
}

fn once(signature: &[u8]) -> Verified {
    Verified { once: Some(Sha256::digest(signature).into()) }
}

#[cfg(test)]
mod tests;
