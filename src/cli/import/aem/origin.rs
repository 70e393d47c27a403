//! The host under which AEM serves a site: `<ref>--<site>--<org>.aem.live`.

use crate::rewrite::aem::Partition;
use std::fmt;
use std::str::FromStr;

/// An origin of AEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The branch of the code.
    pub code_ref: String,
    /// The site's name.
    pub site: String,
    /// The organisation.
    pub org: String,
    /// The partition, live or preview.
    pub partition: Partition,
}

/// The error of an address that is not one of an AEM site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be https://<ref>--<site>--<org>.aem.live or .aem.page")]
pub struct OriginError;

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let host = text.strip_prefix("https://").unwrap_or(text).trim_end_matches('/').to_ascii_lowercase();
        let (names, partition) = [(".aem.live", Partition::Live), (".aem.page", Partition::Preview)]
            .into_iter()
            .find_map(|(ending, partition)| Some((host.strip_suffix(ending)?, partition)))
            .ok_or(OriginError)?;
        let parts: Vec<_> = names.split("--").collect();
        let legal = |part: &&str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        match parts[..] {
            [code_ref, site, org] if parts.iter().all(legal) => Ok(Self {
                code_ref: code_ref.to_owned(),
                site: site.to_owned(),
                org: org.to_owned(),
                partition,
            }),
            _ => Err(OriginError),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let domain = match self.partition {
            Partition::Live => "aem.live",
            Partition::Preview => "aem.page",
        };
        write!(f, "https://{}--{}--{}.{domain}", self.code_ref, self.site, self.org)
    }
}
