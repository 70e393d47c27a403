//! The outcome of rewriting and its reason, with the names that metrics, logs and `explain` show.

use std::fmt;

/// The decision on one response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decision {
    /// The outcome.
    pub outcome: Outcome,
    /// The reason for the outcome.
    pub reason: Reason,
}

/// The change that was made to a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// The lifetimes of the TTL table were set, or the origin's own targeted lifetime was translated.
    Lengthened,
    /// The caching fields stay as the origin sent them.
    Untouched,
    /// The response gets a short lifetime or none, because a long one could not be revoked or because it is an error.
    Fallback,
    /// The response may have been produced before a purge that covers it, so the CDN may keep it for a moment only.
    Guarded,
}

impl Outcome {
    /// Every outcome; `ALL[outcome.index()] == outcome`.
    pub const ALL: [Outcome; 4] =
        [Outcome::Lengthened, Outcome::Untouched, Outcome::Fallback, Outcome::Guarded];

    /// The index in [`Outcome::ALL`], for arrays of counters.
    pub fn index(self) -> usize {
        self as usize
    }

    /// The name as a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Lengthened => "lengthened",
            Outcome::Untouched => "untouched",
            Outcome::Fallback => "fallback",
            Outcome::Guarded => "guarded",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Declares [`Reason`], with each variant, its label and its sentence in one place.
macro_rules! reasons {
    ($($variant:ident $label:literal $sentence:literal)+) => {
        /// The reason for the treatment of a response.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $(#[doc = $sentence] $variant,)+
        }

        impl Reason {
            /// Every reason; `ALL[reason.index()] == reason`.
            pub const ALL: [Reason; [$($label),+].len()] = [$(Reason::$variant),+];

            /// The name as a metric label.
            pub fn as_str(self) -> &'static str {
                match self { $(Reason::$variant => $label,)+ }
            }

            /// The explanation for people, in one English sentence.
            pub fn describe(self) -> &'static str {
                match self { $(Reason::$variant => $sentence,)+ }
            }
        }
    };
}

reasons! {
    // Lengthened
    TtlTable "ttl-table" "The site's TTLs for this status were set."
    Rule "rule" "A rule that matches the path decided the TTLs."
    MediaHash "media-hash" "The path names its content by a hash, so the response never changes."
    OriginTargeted "origin-targeted" "The origin sent a lifetime for CDNs itself; it was translated, not replaced."
    // Fallback
    ErrorStatus "error-status" "Server errors and authorisation errors are never cached."
    Fenced "fenced" "This instance may not learn of every purge at present, because it cannot renew its lease."
    PurgingUnhealthy "purging-unhealthy" "Purges may not reach this CDN, so a long TTL could not be revoked."
    CdnInDispute "cdn-in-dispute" "It is unknown which of the site's CDNs sent the request, so the response carries the tags of each and a short TTL."
    TagsTooMany "tags-too-many" "The response has more tags than this CDN takes, so some purges would miss it."
    TagsTooLarge "tags-too-large" "The tags of the response take more bytes than this CDN reads, so some purges would miss it."
    TagsUnnameable "tags-unnameable" "A tag of the response has bytes that are not UTF-8, a `*` or too many bytes, so no purge can name it."
    // Guarded
    Purged "purged" "The response may predate a purge that covers it, so it is cached for a moment only."
    // Untouched because of the response or the request
    Status "status" "Responses of this status are left as the origin sent them."
    Method "method" "Only responses to GET and HEAD get a long TTL."
    SetCookie "set-cookie" "The response sets a cookie."
    Private "private" "The origin says `private`."
    NoStore "no-store" "The origin says `no-store`."
    NoCache "no-cache" "The origin says `no-cache`."
    ZeroLifetime "zero-lifetime" "The origin gives a lifetime of zero."
    Authorization "authorization" "The request carried `Authorization` and the origin says neither `public` nor a positive `s-maxage`."
    Cookie "cookie" "The request carried `Cookie` and the origin gives no explicit positive lifetime."
    Vary "vary" "The response varies on a request header that the site does not list."
    NotModified "not-modified" "A 304 without tags confirms a page that the shim did not see, so its tags and lifetimes stay as they are."
    RedirectLoop "redirect-loop" "The response redirects to the requested URL; if the origin only wants HTTPS, list the CDN in server.trusted_proxies."
    RedirectToOrigin "redirect-to-origin" "The response redirects to the origin's own host, which is not meant for visitors; see sites.rewrite_location."
    // Untouched before the response is read, for reasons of the proxy
    NotOptedIn "not-opted-in" "The request did not opt in."
    OptInUntrusted "opt-in-untrusted" "The request opted in, but its sender is not trusted."
    OptInMalformed "opt-in-malformed" "The opt-in header is repeated or is not `enabled`."
    NoCdn "no-cdn" "The site has no CDN of the type that sent the request."
    ModeOff "mode-off" "The site's mode is `off`."
    ModeObserve "mode-observe" "The site's mode is `observe`: the decision is counted, but nothing is changed."
    ShimError "shim-error" "The shim itself answered, in most cases with an error."
}

impl Reason {
    /// The index in [`Reason::ALL`], for arrays of counters.
    pub fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_at_its_index() {
        for (i, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), i);
            assert!(reason.describe().ends_with('.'));
        }
        for (i, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome.index(), i);
        }
    }

    #[test]
    fn labels_are_unique_and_kebab_case() {
        let labels: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|r| r.as_str()).collect();
        assert_eq!(labels.len(), Reason::ALL.len());
        for label in labels {
            assert!(label.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{label}");
        }
    }
}
