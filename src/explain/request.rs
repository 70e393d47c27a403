//! The request to explain: by default one of a CDN of the site that opts in and is trusted.

use crate::config::{Site, Trust};
use crate::http::head::Headers;
use crate::proxy::opt_in::{CDN_TYPE, OPT_IN, SECRET};
use crate::rewrite::CdnType;
use http::{HeaderName, HeaderValue, Method, Uri};
use std::net::{IpAddr, Ipv4Addr};

/// A request, as far as it is described.
#[derive(Clone, Debug)]
pub struct Request {
    /// The URL, as visitors know it.
    pub url: Uri,
    /// The method.
    pub method: Method,
    /// The CDN that sends the request; none: the site's, if all of its CDNs have one type.
    pub cdn: Option<CdnType>,
    /// Whether the request does not opt in.
    pub visitor: bool,
    /// Header fields of the request; each replaces the one of that name that a CDN would send.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The address that the request comes from; none: one that the site trusts.
    pub peer: Option<IpAddr>,
}

/// An error in the description of a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The text is not a URI.
    #[error("{0}")]
    Uri(String),
    /// The URI has no scheme, one other than http and https, or no host.
    #[error("must start with http:// or https:// and a host")]
    Relative,
    /// The text is not a field name.
    #[error("{0:?} is not a header name")]
    Name(String),
    /// The value contains control characters.
    #[error("the value is not legal in a header")]
    Value,
}

/// Parses an absolute URL.
pub fn url(text: &str) -> Result<Uri, RequestError> {
    let url: Uri =
        text.parse().map_err(|error: http::uri::InvalidUri| RequestError::Uri(error.to_string()))?;
    let absolute = matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some();
    if absolute { Ok(url) } else { Err(RequestError::Relative) }
}

/// Parses a header field.
pub fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), RequestError> {
    let name = name.trim();
    let name = name.parse().map_err(|_| RequestError::Name(name.to_owned()))?;
    Ok((name, value.trim().parse().map_err(|_| RequestError::Value)?))
}

impl Request {
    /// Whether the CDN that sends the request must be specified, because the site has several types.
    pub fn is_ambiguous(&self, site: &Site) -> bool {
        let mut types = site.cdns.iter().map(|cdn| cdn.dialect.cdn);
        let first = types.next();
        let several = types.any(|cdn| Some(cdn) != first);
        several && self.cdn.is_none() && !self.visitor && self.headers.is_empty()
    }

    /// Returns all header fields of the request.
    pub fn headers(&self, site: &Site) -> Headers {
        let mut headers = Headers::new();
        if !self.visitor {
            headers.append(&OPT_IN, &HeaderValue::from_static("enabled"));
            if let Some(cdn) = self.cdn {
                headers.append(&CDN_TYPE, &HeaderValue::from_static(cdn.as_str()));
            }
            if let Trust::Secret(secret) = &site.trust
                && let Ok(secret) = HeaderValue::from_str(secret.expose())
            {
                headers.append(&SECRET, &secret);
            }
        }
        for (name, _) in &self.headers {
            headers.remove(name);
        }
        for (name, value) in &self.headers {
            headers.append(name, value);
        }
        headers
    }

    /// Returns the address that the request comes from.
    pub fn peer(&self, site: &Site) -> IpAddr {
        let trusted = || match &site.trust {
            Trust::Addresses(networks) => networks.first().map(|network| network.addr()),
            Trust::Any | Trust::Secret(_) | Trust::ClientCertificate => None,
        };
        self.peer.or_else(trusted).unwrap_or(Ipv4Addr::LOCALHOST.into())
    }
}
