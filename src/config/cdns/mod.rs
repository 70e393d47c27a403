//! The settings of each type of CDN, resolved from its keys in the file. Each type has its own file, which holds
//! everything about reading a configuration that depends on the type.

mod akamai;
mod cloudflare;
mod cloudfront;
mod fastly;
mod settings;
mod varnish;

pub use akamai::{Akamai, NO_CP_CODES};
pub use cloudflare::Cloudflare;
pub use cloudfront::Cloudfront;
pub use fastly::Fastly;
pub use settings::Lack;
pub(super) use settings::{Account, Keys, base_url};
pub use varnish::Varnish;

use super::file::cdn as file;
use crate::rewrite::CdnType;
use settings::Settings;

macro_rules! cdn_settings {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// The settings that each adapter needs.
        #[derive(Clone, Debug, PartialEq)]
        pub enum CdnSettings {
            $($(#[$doc])* $name($name),)+
        }

        impl CdnSettings {
            /// Resolves the keys of one CDN.
            pub(super) fn resolve(keys: Keys<'_, '_>) -> Self {
                match keys.file.cdn_type {
                    $(CdnType::$name => Self::$name($name::resolve(keys)),)+
                }
            }

            fn own(&self) -> &dyn Settings {
                match self {
                    $(Self::$name(own) => own,)+
                }
            }
        }

        /// Returns the account to which the CDN grants its rate.
        pub(super) fn account(file: &file::Cdn) -> Account {
            match file.cdn_type {
                $(CdnType::$name => $name::account(file),)+
            }
        }
    };
}

cdn_settings! {
    /// Fastly.
    Fastly,
    /// Akamai Fast Purge.
    Akamai,
    /// Cloudflare.
    Cloudflare,
    /// Amazon CloudFront.
    Cloudfront,
    /// Varnish with the VCL that Origin Shim ships.
    Varnish,
}

impl CdnSettings {
    /// Returns the identifiers of what the CDN's own purge-all empties.
    pub fn services(&self) -> Vec<String> {
        self.own().services()
    }

    /// Returns the setting that the CDN's own purge-all needs and that is missing.
    pub fn lacks_for_everything(&self) -> Option<Lack> {
        self.own().lacks_for_everything()
    }

    /// Returns the reason why every purge becomes one of everything, if the settings require that.
    pub fn always_everything(&self) -> Option<&'static str> {
        self.own().always_everything()
    }
}
