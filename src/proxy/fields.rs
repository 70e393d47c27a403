//! The header fields of a request that decide how it is handled. They are found in one pass over its lines,
//! because a lookup for each of them would cost more than reading all lines.

use crate::http::h1::framing::has_token;
use crate::http::head::{Headers, Known, Line, Value};

/// A field that may occur at most one time, because two hops may interpret a repeated one differently.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Single<'h> {
    /// The field is absent.
    #[default]
    Absent,
    /// The field occurs exactly one time.
    Once(Value<'h>),
    /// The field is repeated.
    Repeated,
}

impl<'h> Single<'h> {
    /// Returns the value if the field occurs exactly one time.
    pub fn once(self) -> Option<Value<'h>> {
        match self {
            Self::Once(value) => Some(value),
            Self::Absent | Self::Repeated => None,
        }
    }

    fn note(&mut self, value: Value<'h>) {
        *self = if *self == Self::Absent { Self::Once(value) } else { Self::Repeated };
    }
}

/// The fields that were found.
#[derive(Clone, Copy, Debug)]
pub struct KeyFields<'h> {
    headers: &'h Headers,
    /// `Host`.
    pub host: Single<'h>,
    /// `Transfer-Encoding`.
    pub transfer_encoding: Single<'h>,
    /// `Upgrade`.
    pub upgrade: Single<'h>,
    /// `X-Request-Id`.
    pub request_id: Single<'h>,
    /// `X-Push-Invalidation`.
    pub opt_in: Single<'h>,
    /// `X-BYO-CDN-Type`.
    pub cdn_type: Single<'h>,
    /// `X-Origin-Shim-Secret`.
    pub secret: Single<'h>,
    /// `Content-Length`. The connection's parser has already refused values that differ, so this is the first one.
    pub content_length: Option<Value<'h>>,
    te: bool,
    trailer: bool,
    connection: bool,
    expect: bool,
    via: bool,
    cdn_loop: bool,
    /// Whether there is `CF-Worker`.
    pub cf_worker: bool,
    /// Whether there is `Authorization`.
    pub authorization: bool,
    /// Whether there is `Cookie`.
    pub cookie: bool,
}

impl<'h> KeyFields<'h> {
    /// Reads every line one time.
    pub fn of(headers: &'h Headers) -> Self {
        let mut found = Self {
            headers,
            host: Single::Absent,
            transfer_encoding: Single::Absent,
            upgrade: Single::Absent,
            request_id: Single::Absent,
            opt_in: Single::Absent,
            cdn_type: Single::Absent,
            secret: Single::Absent,
            content_length: None,
            te: false,
            trailer: false,
            connection: false,
            expect: false,
            via: false,
            cdn_loop: false,
            cf_worker: false,
            authorization: false,
            cookie: false,
        };
        for line in headers.lines() {
            found.note(line);
        }
        found
    }

    fn note(&mut self, line: Line<'h>) {
        let value = line.value();
        match line.known() {
            Known::Te => self.te = true,
            Known::Via => self.via = true,
            Known::Host => self.host.note(value),
            Known::Expect => self.expect = true,
            Known::Cookie => self.cookie = true,
            Known::Trailer => self.trailer = true,
            Known::Upgrade => self.upgrade.note(value),
            Known::CdnLoop => self.cdn_loop = true,
            Known::CfWorker => self.cf_worker = true,
            Known::Connection => self.connection = true,
            Known::XRequestId => self.request_id.note(value),
            Known::Authorization => self.authorization = true,
            Known::ContentLength => self.content_length = self.content_length.or(Some(value)),
            Known::XByoCdnType => self.cdn_type.note(value),
            Known::TransferEncoding => self.transfer_encoding.note(value),
            Known::XPushInvalidation => self.opt_in.note(value),
            Known::XOriginShimSecret => self.secret.note(value),
            _ => {}
        }
    }

    /// Returns every line of `Connection`.
    pub fn connection(&self) -> impl Iterator<Item = Value<'h>> {
        self.all(self.connection, Known::Connection)
    }

    /// Whether the client accepts trailers according to `TE` (RFC 9110 §10.1.4).
    pub fn takes_trailers(&self) -> bool {
        self.te && self.all(true, Known::Te).any(|line| has_token(line.as_bytes(), b"trailers"))
    }

    /// Whether there is `Trailer`.
    pub fn announces_trailers(&self) -> bool {
        self.trailer
    }

    /// Returns every line of `Trailer`.
    pub fn trailer(&self) -> impl Iterator<Item = Value<'h>> {
        self.all(self.trailer, Known::Trailer)
    }

    /// Returns every line of `Expect`.
    pub fn expect(&self) -> impl Iterator<Item = Value<'h>> {
        self.all(self.expect, Known::Expect)
    }

    /// Returns every line of `Via`.
    pub fn via(&self) -> impl Iterator<Item = Value<'h>> {
        self.all(self.via, Known::Via)
    }

    /// Returns every line of `CDN-Loop`.
    pub fn cdn_loop(&self) -> impl Iterator<Item = Value<'h>> {
        self.all(self.cdn_loop, Known::CdnLoop)
    }

    /// Whether there is any of the fields that CDNs add to their requests.
    pub fn has_traces(&self) -> bool {
        self.via || self.cdn_loop || self.cf_worker
    }

    fn all(&self, found: bool, known: Known) -> impl Iterator<Item = Value<'h>> + use<'h> {
        found.then(|| self.headers.all(known)).into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::fixture;

    #[test]
    fn every_field_is_found_whatever_surrounds_it() {
        let lines = [
            ("accept", "*/*"),
            ("host", "a.test"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("x-request-id", "1"),
            ("x-push-invalidation", "enabled"),
            ("x-byo-cdn-type", "fastly"),
            ("x-origin-shim-secret", "s"),
            ("connection", "close"),
            ("expect", "100-continue"),
            ("via", "1.1 a"),
            ("via", "1.1 b"),
            ("cdn-loop", "c"),
            ("cf-worker", "w"),
            ("authorization", "a"),
            ("cookie", "c"),
        ];
        let headers = fixture::headers(&lines);
        let fields = KeyFields::of(&headers);
        let once = |single: Single<'_>| single.once().unwrap().to_str().unwrap().to_owned();
        assert_eq!(once(fields.host), "a.test");
        assert_eq!(once(fields.transfer_encoding), "chunked");
        assert_eq!(once(fields.upgrade), "websocket");
        assert_eq!(once(fields.request_id), "1");
        assert_eq!(once(fields.opt_in), "enabled");
        assert_eq!(once(fields.cdn_type), "fastly");
        assert_eq!(once(fields.secret), "s");
        assert!(fields.connection().eq(["close"]));
        assert!(fields.expect().eq(["100-continue"]));
        assert!(fields.via().eq(["1.1 a", "1.1 b"]));
        assert!(fields.cdn_loop().eq(["c"]));
        assert!(fields.cf_worker && fields.authorization && fields.cookie);

        let headers = fixture::headers(&lines[..1]);
        let fields = KeyFields::of(&headers);
        assert_eq!((fields.host, fields.opt_in), (Single::Absent, Single::Absent));
        assert_eq!(fields.via().count() + fields.connection().count(), 0);
        assert!(!fields.cf_worker && !fields.authorization && !fields.cookie);
    }

    #[test]
    fn what_is_repeated_has_no_value() {
        let headers = fixture::headers(&[("host", "a"), ("host", "a"), ("host", "b")]);
        let fields = KeyFields::of(&headers);
        assert_eq!((fields.host, fields.host.once()), (Single::Repeated, None));
    }
}
