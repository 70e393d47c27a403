//! Field names that the request path looks up. A name is classified one time, when its line is read, so that later
//! lookups compare numbers.

macro_rules! known {
    ($($length:literal $text:literal $name:ident,)* kinds: $($of_length:literal $of_kind:literal $kind:ident,)*) => {
        /// The meaning of a field's name to the proxy.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Known {
            $(
                #[doc = concat!("`", $text, "`.")]
                $name,
            )*
            /// A field in which proxies and CDNs report the address of the visitor.
            ClientAddress,
            /// A field in which content management systems and other CDNs list tags. The fields that the proxy itself
            /// writes have a meaning of their own.
            TagList,
            /// Another name that begins with `x-forwarded-`.
            OtherForwarded,
            /// Another name with an underscore, which a CGI-like origin takes for a dash.
            Underscored,
            /// Any other name.
            Other,
        }

        impl Known {
            /// Classifies a name, which must be in lower case.
            pub fn of(name: &str) -> Self {
                Self::of_bytes(name.as_bytes())
            }

            /// Does the same for the bytes of a name.
            #[expect(non_upper_case_globals, reason = "each constant is named as the variant that it stands for")]
            pub fn of_bytes(name: &[u8]) -> Self {
                $(const $name: &[u8] = $text.as_bytes();)*
                // The length comes first because it alone distinguishes most names.
                match (name.len(), name) {
                    $(($length, $name) => Self::$name,)*
                    $(($of_length, $of_kind) => Self::$kind,)*
                    _ if name.contains(&b'_') => Self::Underscored,
                    _ if name.starts_with(b"x-forwarded-") => Self::OtherForwarded,
                    _ => Self::Other,
                }
            }

            /// The bit of this name in a set of names.
            pub const fn bit(self) -> u64 {
                const { assert!((Self::Other as u32) < u64::BITS) };
                1 << self as u8
            }

            /// Whether this stands for exactly one name.
            pub fn is_one_name(self) -> bool {
                !matches!(
                    self,
                    Self::ClientAddress
                        | Self::TagList
                        | Self::OtherForwarded
                        | Self::Underscored
                        | Self::Other
                )
            }

            /// Every name that is looked up.
            pub(super) const NAMES: &[(&[u8], Self)] =
                &[$(($text.as_bytes(), Self::$name),)* $(($of_kind, Self::$kind),)*];
        }
    };
}

known! {
    2 "te" Te,
    3 "age" Age,
    3 "via" Via,
    4 "date" Date,
    4 "etag" Etag,
    4 "host" Host,
    4 "vary" Vary,
    4 "xkey" Xkey,
    6 "cookie" Cookie,
    6 "expect" Expect,
    6 "pragma" Pragma,
    7 "baggage" Baggage,
    7 "expires" Expires,
    7 "trailer" Trailer,
    7 "upgrade" Upgrade,
    8 "cdn-loop" CdnLoop,
    9 "cache-tag" CacheTag,
    9 "cf-worker" CfWorker,
    9 "forwarded" Forwarded,
    10 "connection" Connection,
    10 "keep-alive" KeepAlive,
    10 "set-cookie" SetCookie,
    10 "tracestate" Tracestate,
    11 "traceparent" Traceparent,
    12 "edge-control" EdgeControl,
    12 "x-request-id" XRequestId,
    13 "authorization" Authorization,
    13 "cache-control" CacheControl,
    13 "if-none-match" IfNoneMatch,
    13 "last-modified" LastModified,
    13 "surrogate-key" SurrogateKey,
    14 "content-length" ContentLength,
    14 "edge-cache-tag" EdgeCacheTag,
    14 "http2-settings" Http2Settings,
    14 "x-byo-cdn-type" XByoCdnType,
    15 "x-forwarded-for" XForwardedFor,
    15 "x-surrogate-key" XSurrogateKey,
    16 "proxy-connection" ProxyConnection,
    16 "x-forwarded-host" XForwardedHost,
    17 "cdn-cache-control" CdnCacheControl,
    17 "if-modified-since" IfModifiedSince,
    17 "surrogate-control" SurrogateControl,
    17 "transfer-encoding" TransferEncoding,
    17 "x-forwarded-proto" XForwardedProto,
    18 "proxy-authenticate" ProxyAuthenticate,
    19 "proxy-authorization" ProxyAuthorization,
    19 "x-origin-shim-stamp" XOriginShimStamp,
    19 "x-push-invalidation" XPushInvalidation,
    20 "akamai-cache-control" AkamaiCacheControl,
    20 "x-origin-shim-secret" XOriginShimSecret,
    25 "proxy-authentication-info" ProxyAuthenticationInfo,
    28 "cloudflare-cdn-cache-control" CloudflareCdnCacheControl,
    kinds:
    7 b"cdn-tag" TagList,
    9 b"x-real-ip" ClientAddress,
    10 b"cache-tags" TagList,
    11 b"x-client-ip" ClientAddress,
    12 b"cache-groups" TagList,
    12 b"x-cache-tags" TagList,
    14 b"cf-pseudo-ipv4" ClientAddress,
    14 b"true-client-ip" ClientAddress,
    14 b"x-magento-tags" TagList,
    16 b"cf-connecting-ip" ClientAddress,
    16 b"fastly-client-ip" ClientAddress,
    16 b"purge-cache-tags" TagList,
    16 b"vercel-cache-tag" TagList,
    17 b"netlify-cache-tag" TagList,
    18 b"cf-connecting-ipv6" ClientAddress,
    19 b"x-cluster-client-ip" ClientAddress,
    19 b"x-drupal-cache-tags" TagList,
    25 b"cloudfront-viewer-address" ClientAddress,
}

impl Known {
    /// Whether the field identifies the client or the trace of the request. Only a trusted hop may write such a field.
    pub fn tells_of_the_peer(self) -> bool {
        matches!(
            self,
            Self::XForwardedFor
                | Self::XForwardedHost
                | Self::XForwardedProto
                | Self::OtherForwarded
                | Self::Forwarded
                | Self::ClientAddress
                | Self::Baggage
                | Self::Traceparent
                | Self::Tracestate
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_known() {
        for (name, known) in Known::NAMES {
            assert_eq!(Known::of_bytes(name), *known, "{name:?}");
            let of_kind = matches!(known, Known::ClientAddress | Known::TagList);
            assert_eq!(known.is_one_name(), !of_kind);
        }
    }

    #[test]
    fn names_of_a_kind() {
        let check = |name: &str, known| assert_eq!(Known::of(name), known, "{name}");
        check("x-forwarded-port", Known::OtherForwarded);
        check("x-forwarded-", Known::OtherForwarded);
        check("x-forwarded-a_b", Known::Underscored);
        check("x_forwarded_for", Known::Underscored);
        check("content_length", Known::Underscored);
        check("content-type", Known::Other);
        check("x-forwarded", Known::Other);
        assert!(!Known::Other.is_one_name());
    }
}
