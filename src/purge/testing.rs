//! A site with CDNs, for tests of this module and of others.

use super::{ItemError, PurgeRequest};
use crate::config::secret::Secret;
use crate::config::{Cdn, CdnSettings, Claims, CloudflarePlan, Everything, Site, testing};
use crate::rewrite::{CdnType, Dialect};
use http::HeaderName;
use std::sync::Arc;
use std::time::Duration;

/// Returns the site `www` with one CDN of each type, named after its type.
pub(crate) fn site(types: &[CdnType]) -> Site {
    let cdns = types.iter().map(|cdn_type| Arc::new(cdn(*cdn_type))).collect();
    Site { cdns, ..testing::site("www") }
}

/// Returns the claims of a site that is the only one.
pub(crate) fn alone(site: &Site) -> Claims {
    Claims::of(&[Arc::new(site.clone())])
}

/// Returns the errors of a request for a site that is the only one.
pub(crate) fn check(site: &Site, request: &PurgeRequest) -> Result<(), Vec<ItemError>> {
    super::check::check(&alone(site), site, request).map(drop)
}

/// Returns a CDN that is named after its type, for the host `www.example.com`.
pub(crate) fn cdn(cdn_type: CdnType) -> Cdn {
    let secret = || Secret::new("secret");
    let api_url = String::from("https://api.example.com");
    let settings = match cdn_type {
        CdnType::Fastly => CdnSettings::Fastly(crate::config::cdns::Fastly {
            service_id: "SU1".into(),
            auth_token: secret(),
            api_url,
        }),
        CdnType::Akamai => CdnSettings::Akamai(crate::config::cdns::Akamai {
            api_url,
            client_token: secret(),
            client_secret: secret(),
            access_token: secret(),
            network: crate::config::AkamaiNetwork::Production,
            cp_codes: vec![],
        }),
        CdnType::Cloudflare => CdnSettings::Cloudflare(crate::config::cdns::Cloudflare {
            zone_id: "zone".into(),
            api_token: secret(),
            plan: CloudflarePlan::Free,
            enterprise_only: false,
            api_url,
        }),
        CdnType::Cloudfront => CdnSettings::Cloudfront(crate::config::cdns::Cloudfront {
            distribution_id: "E1".into(),
            access_key_id: "AKIA".into(),
            secret_access_key: secret(),
            session_token: None,
            api_url,
        }),
        CdnType::Varnish => CdnSettings::Varnish(crate::config::cdns::Varnish {
            api_urls: vec!["http://127.0.0.1:6081".into()],
        }),
    };
    let tag_header = (cdn_type != CdnType::Cloudfront).then(|| HeaderName::from_static("surrogate-key"));
    Cdn {
        name: format!("{cdn_type:?}").to_lowercase(),
        hosts: vec!["www.example.com".into()],
        hard: true,
        everything: Everything::SiteTag,
        repeat_after: Duration::ZERO,
        repeat_everything_after: Duration::ZERO,
        verify: false,
        verify_url: None,
        account: "main".into(),
        rate: Default::default(),
        dialect: Dialect {
            cdn: cdn_type,
            ttl_header: HeaderName::from_static("surrogate-control"),
            tag_header,
            tag_form: Default::default(),
        },
        settings,
    }
}

/// The capabilities of the adapter of such a CDN.
pub(crate) use crate::cdn::capabilities;
