//! The facts about each type of CDN, one row per type, in a file of its own. Code that depends on differences
//! between CDNs reads the row ([`CdnType::facts`]) and never compares the name.
//!
//! Facts that depend on a CDN's configuration, or that only purging needs, are next to its adapter in `src/cdn`.
//!
//! A new CDN needs a row in a file here, one line in the list of [`CdnType`], its keys and settings in
//! `src/config` (`file/cdn.rs`, `cdns`), and its adapter in `src/cdn`.

mod akamai;
mod cloudflare;
mod cloudfront;
mod fastly;
mod row;
mod varnish;

pub use row::{Facts, PurgingFacts, TagFacts, Trace, Traces};

use serde::{Deserialize, Serialize};

macro_rules! cdn_types {
    ($($(#[$doc:meta])* $name:ident => $row:path,)+) => {
        /// A type of CDN that the shim supports.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
        )]
        #[serde(rename_all = "lowercase")]
        pub enum CdnType {
            $($(#[$doc])* $name,)+
        }

        impl CdnType {
            /// Every type, in the order of declaration.
            pub const ALL: [Self; [$(Self::$name),+].len()] = [$(Self::$name),+];

            /// The facts about this type.
            pub fn facts(self) -> &'static Facts {
                match self {
                    $(Self::$name => &$row,)+
                }
            }
        }
    };
}

cdn_types! {
    /// Fastly (Surrogate-Control, Surrogate-Key).
    Fastly => fastly::FACTS,
    /// Akamai (Edge-Control, Edge-Cache-Tag).
    Akamai => akamai::FACTS,
    /// Cloudflare (Cloudflare-CDN-Cache-Control, Cache-Tag).
    Cloudflare => cloudflare::FACTS,
    /// Amazon CloudFront (Cache-Control with s-maxage, and a tag header if the distribution has one).
    Cloudfront => cloudfront::FACTS,
    /// Varnish with the included VCL (Surrogate-Control, xkey).
    Varnish => varnish::FACTS,
}

impl CdnType {
    /// The name in the configuration, in `X-BYO-CDN-Type`, in metrics and in the store.
    pub fn as_str(self) -> &'static str {
        self.facts().name
    }

    /// The type with this name, ignoring case.
    pub fn named(name: &[u8]) -> Option<Self> {
        // The exact comparison comes first because the case rarely differs.
        let is_named = |known: &[u8]| name == known || name.eq_ignore_ascii_case(known);
        Self::ALL.into_iter().find(|cdn| is_named(cdn.as_str().as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_the_names_of_the_configuration() {
        for cdn in CdnType::ALL {
            assert_eq!(serde_json::to_value(cdn).unwrap(), cdn.as_str());
            assert_eq!(CdnType::named(cdn.as_str().as_bytes()), Some(cdn));
            assert_eq!(CdnType::named(cdn.as_str().to_uppercase().as_bytes()), Some(cdn));
        }
        assert_eq!(CdnType::named(b"fastl"), None);
        let impatient: Vec<_> = CdnType::ALL.into_iter().filter(|cdn| !cdn.facts().takes_interim).collect();
        assert_eq!(impatient, [CdnType::Varnish]);
    }

    #[test]
    fn what_no_shim_may_be_called() {
        let taken_for = |name| CdnType::ALL.into_iter().find(|cdn| cdn.facts().leaves_trace(name));
        assert_eq!(taken_for("my-cloudflare-shim"), Some(CdnType::Cloudflare));
        assert_eq!(taken_for("edge-1"), None);
    }
}
