//! One request and one response, evaluated by the code that serves them.

use crate::config::{Config, Mode, Site};
use crate::guard::{Freshness, PurgedSite};
use crate::http::head::{Headers, Value};
use crate::metrics::Metrics;
use crate::proxy::fields::KeyFields;
use crate::proxy::host;
use crate::proxy::opt_in::{self, Caller, OptIn};
use crate::proxy::routing::Routing;
use crate::rewrite::{
    Asked, CdnType, Decision, Edge, Guard, Outcome, RequestFacts, public_location, rewrite,
};
use crate::upstream::{Roots, SetupError, Upstreams, bound_auth};
use crate::view::PurgeHealthView;
use http::{Method, StatusCode, Uri, header};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use serde::Serialize;
use std::net::IpAddr;
use std::sync::Arc;

/// A URL and the site that serves it.
pub struct Case<'c> {
    url: &'c Uri,
    site: &'c Site,
    routing: Routing,
    /// The site's number in `routing`.
    number: usize,
    /// The purges of the site, and the time at which the request begins; `None` if these are not known.
    purged: Option<(Arc<PurgedSite>, i64)>,
}

/// The reason why there is nothing to explain.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// No site serves the host: requests would get 421.
    #[error("no site serves {0:?}, and none is the default: the answer would be 421")]
    NoSite(String),
    /// The URL has no host that a request could have.
    #[error("{0:?} is not a host")]
    Host(String),
    /// The proxy would not start.
    #[error("the configuration cannot be served")]
    Routing(#[from] SetupError),
    /// The TLS library rejects its own defaults.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
}

/// The result for a request and its response. Its field names are those of the API's answer and of `--json`.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Explanation {
    /// The request's method.
    pub method: String,
    /// The URL.
    pub url: String,
    /// The site's name.
    pub site: String,
    /// The site's mode.
    pub mode: Mode,
    /// Whether the request opts in and is trusted.
    pub opted_in: bool,
    /// The CDN that the response is written for.
    pub cdn: Option<CdnType>,
    /// The rule that matches the path.
    pub rule: Option<MatchedRule>,
    /// The decision: `lengthened`, `untouched`, `fallback` or `guarded`.
    pub outcome: &'static str,
    /// The reason, as metrics and logs name it.
    pub reason: &'static str,
    /// The reason in a sentence.
    pub why: &'static str,
    /// The tags of the response as the CDN gets them.
    pub tags: Vec<String>,
    /// The response's status.
    pub status: u16,
    /// The header fields of the origin's response.
    pub before: Vec<(String, String)>,
    /// The header fields that the CDN gets, without those that hop-by-hop duties add or remove.
    pub after: Vec<(String, String)>,
}

/// A rule by its position in the file, counted from 1, and its pattern.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct MatchedRule {
    /// The rule's position, counted from 1.
    pub number: usize,
    /// The rule's path pattern.
    pub path: String,
}

impl<'c> Case<'c> {
    /// Returns the case of `url`; `healthy` returns whether purges of a CDN, by site and name, get through.
    pub fn of(
        config: &'c Config,
        url: &'c Uri,
        healthy: impl Fn(&str, &str) -> bool,
    ) -> Result<Self, CaseError> {
        let authority = url.authority().map_or("", |authority| authority.as_str());
        let host =
            host::of_authority(authority).ok_or_else(|| CaseError::Host(authority.to_owned()))?.into_owned();
        let health = PurgeHealthView::default();
        for site in &config.sites {
            for cdn in &site.cdns {
                health.cell(&site.name, &cdn.name).set(healthy(&site.name, &cdn.name));
            }
        }
        let routing =
            Routing::compile(config, &Metrics::new(1), &health, &no_roots()?, &Upstreams::default())?;
        let number = routing.find(&host).ok_or(CaseError::NoSite(host))?;
        Ok(Self { url, site: &config.sites[number], routing, number, purged: None })
    }

    /// Returns the same case with the purges of `freshness`, for a request that begins now.
    pub fn held_against(self, freshness: &Freshness) -> Self {
        let purged = freshness.site(&self.site.name);
        Self { purged: Some((purged, freshness.clock.now_ms())), ..self }
    }

    /// The site that serves the URL.
    pub fn site(&self) -> &'c Site {
        self.site
    }

    /// Returns whether the request is trusted to opt in, and for which CDN.
    pub fn opt_in(&self, peer: IpAddr, request: &Headers) -> OptIn<'_> {
        // The explained request is one of a CDN, which would present its certificate.
        let caller = Caller { address: peer, certified: true };
        opt_in::decide(self.routing.site(self.number), caller, &KeyFields::of(request))
    }

    /// Returns the explanation of this response to this request.
    pub fn explain(
        &self,
        method: &Method,
        request: &Headers,
        opt_in: OptIn<'_>,
        status: StatusCode,
        response: Headers,
    ) -> Explanation {
        let path = self.url.path();
        let facts = RequestFacts {
            method,
            path,
            authorization: request.contains(&header::AUTHORIZATION),
            bound: bound_auth::is_in_request(request),
            cookie: request.contains(&header::COOKIE),
            // A URL does not determine the scheme by which the visitor will come.
            asked: Asked {
                scheme: None,
                host: self.url.authority().map_or("", |authority| authority.as_str()),
                query: self.url.query(),
            },
        };
        let mut after = response.clone();
        if self.site.policy.rewrite_location
            && let Some(location) = public_location(&self.site.policy, facts, &after)
        {
            after.insert(&header::LOCATION, &location);
        }
        if opt_in.edge.is_ok() && bound_auth::is_in_request(request) {
            bound_auth::make_private(&mut after);
        }
        let (decision, cdn, tags) = match opt_in.edge {
            Ok(edge) => {
                let guard = self
                    .purged
                    .as_ref()
                    .map(|(site, began_ms)| Guard { purged: &site.purged, began_ms: *began_ms });
                let edge = Edge { guard, ..edge };
                let (decision, _) = rewrite(&self.site.policy, facts, edge, status, &mut after);
                let dialect = edge.dialect();
                (decision, Some(dialect.cdn), tags(dialect.tag_header.as_ref(), &after))
            }
            Err(reason) => (Decision { outcome: Outcome::Untouched, reason }, None, Vec::new()),
        };
        Explanation {
            method: method.to_string(),
            url: self.url.to_string(),
            site: self.site.name.clone(),
            mode: self.site.mode,
            opted_in: opt_in.believed,
            cdn,
            rule: self.rule(path),
            outcome: decision.outcome.as_str(),
            reason: decision.reason.as_str(),
            why: decision.reason.describe(),
            tags,
            status: status.as_u16(),
            before: lines(&response),
            after: lines(&after),
        }
    }

    fn rule(&self, path: &str) -> Option<MatchedRule> {
        let policy = &self.site.policy;
        let index = policy.rule_number(path)?;
        Some(MatchedRule { number: index + 1, path: policy.rules[index].path.as_str().to_owned() })
    }
}

/// Returns no root certificates: nothing is connected to here, so a machine without any can explain, too.
fn no_roots() -> Result<Roots, rustls::Error> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    Ok(Roots::given(Arc::new(config)))
}

/// Splits tags at the separators of all dialects, because no tag contains any of them.
fn tags(header: Option<&http::HeaderName>, headers: &Headers) -> Vec<String> {
    let values = header.map(|name| headers.get_all(name)).into_iter().flatten();
    let texts = values.filter_map(Value::to_str);
    texts.flat_map(|text| text.split([' ', ','])).filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
}

fn lines(headers: &Headers) -> Vec<(String, String)> {
    let text = |value: Value<'_>| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}
