//! Amazon CloudFront (<https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_CreateInvalidation.html>).
//!
//! Every item is a path: wildcards, tags (`#tag`, since 2026-04-29, if the distribution names a tag header),
//! and `/*`. Answers are classified by their `Code`, because throttling has status 400. Copies cannot be marked
//! stale.

use super::names as shared;
use super::pack::{Group, cost, pack};
use super::row::{Mark, PrefixNames, Price, ResponseTraces, Row};
use super::{
    Adapter, Batch, Capabilities, Ceiling, Classified, Completion, Configured, Item, ItemKind, Known, Rates,
    Reply, RequestError, SignContext, Verdict, message, rate,
};
use crate::config::Cdn;
use crate::config::secret::Secret;
use crate::rewrite::CdnType;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request};
use quick_xml::escape::escape;
use response_body::ResponseBody;
use std::sync::Arc;
use std::time::Duration;

mod completion;
mod config;
mod credentials;
mod names;
mod response_body;
mod sigv4;
mod xml;

#[cfg(test)]
pub mod tests;

use names::escaped_path;

/// The number of a distribution's paths and tags that may be in progress at the same time, and therefore the
/// limit of one call.
const PATHS: usize = 3_000;
/// The number of wildcards that may be in progress at the same time.
const WILDCARDS: usize = 15;

/// CloudFront's API, and STS, which reports the owner of a key.
const CLOUDFRONT: &str = "https://cloudfront.amazonaws.com";
const STS: &str = "https://sts.amazonaws.com";

pub(super) static ROW: Row = Row {
    page: names::page,
    prefixes: PrefixNames::AsPages,
    responses: ResponseTraces {
        marks: &[Mark::Field("x-amz-cf-id"), Mark::Contains("via", "cloudfront")],
        precedence: 1,
        asked_by: None,
        ids: None,
        not_kept: None,
    },
    // <https://aws.amazon.com/cloudfront/pricing/>: a wildcard and a tag each count as one path.
    price: Some(Price { free_per_month: 1_000, dollars_per_item: 0.005 }),
};

/// The adapter of one distribution.
#[derive(Debug)]
pub struct Cloudfront {
    distribution_id: String,
    access_key_id: String,
    secret_access_key: Secret,
    session_token: Option<Secret>,
    api_url: String,
    tag_header: Option<HeaderName>,
    capabilities: Capabilities,
}

impl Cloudfront {
    /// Creates the adapter of a distribution, with the API at `api_url`. Tags can be purged if the distribution
    /// reads them from `tag_header`.
    pub fn new(
        distribution_id: &str,
        access_key_id: &str,
        secret_access_key: &Secret,
        session_token: Option<&Secret>,
        api_url: &str,
        tag_header: Option<&HeaderName>,
    ) -> Self {
        Self {
            distribution_id: distribution_id.to_owned(),
            access_key_id: access_key_id.to_owned(),
            secret_access_key: secret_access_key.clone(),
            session_token: session_token.cloned(),
            api_url: api_url.to_owned(),
            tag_header: tag_header.cloned(),
            capabilities: capabilities(tag_header),
        }
    }

    /// Returns a signed call to `resource` of the distribution.
    fn call(
        &self,
        method: Method,
        resource: &str,
        body: String,
        sign: &SignContext,
    ) -> Result<Request<Bytes>, RequestError> {
        let path = format!("/2020-05-31/distribution/{}{resource}", self.distribution_id);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.api_url))
            .body(Bytes::from(body))?;
        self.sign(&mut request, "cloudfront", sign)?;
        if !request.body().is_empty() {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        }
        Ok(request)
    }

    /// Returns a `GetCallerIdentity` call, which every key may make. An API at a private address replaces STS,
    /// too.
    fn who(&self, sign: &SignContext) -> Result<Request<Bytes>, RequestError> {
        let base = if self.api_url == CLOUDFRONT { STS } else { &self.api_url };
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("{base}/"))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Bytes::from_static(b"Action=GetCallerIdentity&Version=2011-06-15"))?;
        self.sign(&mut request, "sts", sign)?;
        Ok(request)
    }

    fn sign(
        &self,
        request: &mut Request<Bytes>,
        service: &str,
        sign: &SignContext,
    ) -> Result<(), RequestError> {
        let signer = sigv4::Signer {
            access_key_id: &self.access_key_id,
            secret_access_key: self.secret_access_key.expose(),
            session_token: self.session_token.as_ref().map(Secret::expose),
            // CloudFront is global; its API is in this region.
            region: "us-east-1",
            service,
            timestamp: &sign.utc(sigv4::TIMESTAMP)?,
            normalize_path: true,
            double_encode: true,
            sign_payload_hash: false,
            sign_session_token: true,
        };
        let signed = signer.sign(&sigv4::Unsigned {
            method: request.method().as_str(),
            path: request.uri().path(),
            query: request.uri().query().unwrap_or_default(),
            headers: &[("host", &shared::host(request.uri()))],
            body: request.body(),
        });
        for (name, value) in signed {
            let mut value = HeaderValue::try_from(value).map_err(http::Error::from)?;
            value.set_sensitive(name != "x-amz-date");
            request.headers_mut().insert(HeaderName::from_static(name), value);
        }
        Ok(())
    }

    /// Returns the item as a path.
    fn path(&self, item: &Item) -> Result<String, RequestError> {
        match item.kind {
            ItemKind::Url => Ok(escaped_path(&shared::path(&item.value)?)),
            ItemKind::Tag if self.capabilities.tags => Ok(format!("#{}", shared::tag(&item.value)?)),
            ItemKind::Tag => Err(RequestError::Kind { cdn: self.cdn_type(), kind: item.kind }),
            // The path holds for every host, because a distribution does not distinguish them.
            ItemKind::Prefix => Ok(format!("{}*", escaped_path(&shared::prefix(&item.value)?.1))),
            ItemKind::Everything => Ok("/*".to_owned()),
        }
    }

    fn has_room(&self, group: &Group, path: &str) -> bool {
        let wildcards = |paths: &[String]| paths.iter().filter(|path| is_wildcard(path)).count();
        group.names.len() < PATHS
            && group.bytes + cost(path) <= self.capabilities.bytes_per_call
            && (!is_wildcard(path) || wildcards(&group.names) < WILDCARDS)
    }

    fn secrets(&self) -> Vec<&str> {
        let token = self.session_token.as_ref().map(Secret::expose);
        std::iter::once(self.secret_access_key.expose()).chain(token).collect()
    }

    fn classified(&self, verdict: Verdict, answer: &ResponseBody, words: &str, reply: &Reply) -> Classified {
        let id = reply.header("x-amzn-requestid").or(answer.request_id.as_deref());
        message::classified(verdict, id, words, reply, &self.secrets())
    }
}

fn capabilities(tag_header: Option<&HeaderName>) -> Capabilities {
    Capabilities {
        tags: tag_header.is_some(),
        prefixes: true,
        soft: false,
        soft_everything: false,
        soft_prefixes: false,
        any_query: false,
        schemes: &["https"],
        urls_per_call: PATHS,
        tags_per_call: PATHS,
        prefixes_per_call: WILDCARDS,
        // No limit is published; the answer to a call that is too large is `BatchTooLarge`.
        bytes_per_call: 1_000_000,
        mixed_kinds: true,
        stable_reference: true,
    }
}

impl Configured for super::config::cdns::Cloudfront {
    fn adapter(&self, cdn: &Cdn) -> Arc<dyn Known> {
        Arc::new(Cloudfront::new(
            &self.distribution_id,
            &self.access_key_id,
            &self.secret_access_key,
            self.session_token.as_ref(),
            &self.api_url,
            cdn.dialect.tag_header.as_ref(),
        ))
    }

    fn capabilities(&self, cdn: &Cdn) -> Capabilities {
        capabilities(cdn.dialect.tag_header.as_ref())
    }

    /// AWS publishes how much may be in progress at the same time
    /// (<https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/InvalidationLimits.html>), but no
    /// rate of calls. Users report `Throttling` after six or seven quick calls, so ours is one a second after a
    /// burst of five.
    fn published(&self) -> Rates {
        // 95 of 100 invalidations are reported complete within 25 s.
        let usually = Duration::from_secs(30);
        Rates {
            limits: vec![rate::calls("calls", rate::ALL, 1.0, 5.0)],
            ceilings: vec![
                Ceiling { kinds: rate::ALL, most: PATHS as u64, usually },
                Ceiling { kinds: rate::WILDCARDS, most: WILDCARDS as u64, usually },
            ],
        }
    }
}

impl Adapter for Cloudfront {
    fn cdn_type(&self) -> CdnType {
        CdnType::Cloudfront
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn requests(&self, batch: &Batch, sign: &SignContext) -> Result<Vec<Request<Bytes>>, RequestError> {
        let mut paths = Vec::with_capacity(batch.items.len());
        for item in &batch.items {
            // All kinds and hardnesses share a call.
            paths.push((ItemKind::Url, true, self.path(item)?));
        }
        let groups = pack(paths, |group, path| self.has_room(group, path));
        let calls = groups.iter().enumerate().map(|(number, group)| {
            // A reference must not be used again with other paths.
            let reference = match number {
                0 => batch.reference.clone(),
                _ => format!("{}-{number}", batch.reference),
            };
            self.call(Method::POST, "/invalidation", invalidation_batch(&group.names, &reference), sign)
        });
        calls.collect()
    }

    fn completion(&self) -> Option<&dyn Completion> {
        Some(self)
    }

    fn broader(&self, refused: &Item) -> Option<Item> {
        names::wildcard(refused)
    }

    fn classify(&self, reply: &Reply) -> Classified {
        let answer = ResponseBody::read(&reply.text());
        let is_proved = answer.root == "Invalidation" && answer.id.as_ref().is_some_and(|id| !id.is_empty());
        if reply.status.is_success() && is_proved {
            let words = format!(
                "Invalidation {} {}",
                answer.id.as_deref().unwrap_or_default(),
                answer.status.as_deref().unwrap_or_default(),
            );
            return self.classified(Verdict::Done, &answer, &words, reply);
        }
        let verdict = answer.verdict(reply);
        if verdict == Verdict::Unproven {
            return message::unproven(reply, "the Id of an Invalidation", &self.secrets());
        }
        self.classified(verdict, &answer, &answer.words(), reply)
    }

    /// Asks for the newest invalidations, which proves the key and the distribution, and for the distribution's
    /// configuration if tags depend on it. `MaxItems` is left out, because a page is small and stand-ins for
    /// the API cannot verify a signed query.
    fn check_requests(&self, sign: &SignContext) -> Result<Vec<Request<Bytes>>, RequestError> {
        let resources =
            ["/invalidation", "/config"].into_iter().take(if self.capabilities.tags { 2 } else { 1 });
        resources.map(|resource| self.call(Method::GET, resource, String::new(), sign)).collect()
    }

    fn classify_check(&self, replies: &[Reply]) -> Classified {
        let Some((list, rest)) = replies.split_first() else { return message::unanswered() };
        let answer = ResponseBody::read(&list.text());
        // A configuration that may not be read is no fault of the key.
        if let Some(found) = rest.first().and_then(config::distribution)
            && let wrong @ (config::Tags::Missing | config::Tags::Differ(_)) =
                found.tags(self.tag_header.as_ref())
        {
            let words = config::complaint(&wrong, self.tag_header.as_ref());
            return self.classified(Verdict::BadCredentials, &answer, &words, list);
        }
        if list.status.is_success() && answer.root == "InvalidationList" {
            return self.classified(Verdict::Done, &answer, "the key may list invalidations", list);
        }
        if answer.code.as_deref() == Some("AccessDenied") {
            // The key is known and its signature valid: a policy may allow `CreateInvalidation` alone.
            let words = format!(
                "{} (without cloudfront:ListInvalidations only a purge can prove the key)",
                answer.words()
            );
            return self.classified(Verdict::Refused, &answer, &words, list);
        }
        self.classify(list)
    }
}

/// Returns the body of `CreateInvalidation`.
fn invalidation_batch(paths: &[String], reference: &str) -> String {
    let items: String = paths.iter().map(|path| format!("<Path>{}</Path>", escape(path))).collect();
    format!(
        "<InvalidationBatch xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><Paths><Quantity>{}</Quantity>\
         <Items>{items}</Items></Paths><CallerReference>{}</CallerReference></InvalidationBatch>",
        paths.len(),
        escape(reference),
    )
}

fn is_wildcard(path: &str) -> bool {
    path.starts_with('/') && path.ends_with('*')
}
