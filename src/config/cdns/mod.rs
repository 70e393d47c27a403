//! The settings of each type of CDN: what its keys in the file come to. A file per type; all that depends on the type while a
//! configuration is read asks it.

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
        /// What each adapter needs.
        #[derive(Clone, Debug, PartialEq)]
        pub enum CdnSettings {
            $($(#[$doc])* $name($name),)+
        }

        impl CdnSettings {
            /// What the keys come to.
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

        /// To whom the CDN grants its rate.
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
    /// Varnish with the VCL that we ship.
    Varnish,
}

impl CdnSettings {
    /// What the CDN's own purge-all empties, by which it is known.
    pub fn services(&self) -> Vec<String> {
        self.own().services()
    }

    /// What the CDN's own purge-all lacks to be possible.
    pub fn lacks_for_everything(&self) -> Option<Lack> {
        self.own().lacks_for_everything()
    }

    /// Why every purge becomes one of everything, if the settings say so.
    pub fn always_everything(&self) -> Option<&'static str> {
        self.own().always_everything()
    }
}
