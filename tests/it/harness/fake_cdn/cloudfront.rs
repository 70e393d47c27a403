//! Amazon CloudFront's API, for what moto's server (`tests/it/harness/moto.rs`) does not do: throttling, limits on
//! what is in progress, completion, `CallerReference`, and the wording of real refusals
//! (<https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_CreateInvalidation.html>).

use super::bucket::Bucket;
use super::{Answer, Kind, Now, Purged, Vendor, sigv4};
use bytes::Bytes;
use http::Request;
use quick_xml::escape::{escape, unescape};
use std::time::{Duration, Instant};

const ARN: &str = "arn:aws:iam::123456789012:user/origin-shim";

/// One distribution, and one key for it.
#[derive(Debug)]
pub struct Cloudfront {
    /// The distribution.
    pub distribution_id: String,
    /// Its alternate domain names.
    pub aliases: Vec<String>,
    /// The header of its `CacheTagConfig`.
    pub tag_header: Option<String>,
    /// The tag header in the configuration of the shim.
    pub configured_tag_header: Option<String>,
    /// The key.
    pub access_key_id: String,
    /// The key.
    pub secret_access_key: String,
    /// The key does not exist any more.
    pub revoked: bool,
    /// The actions that the key's policy allows, without `cloudfront:`.
    pub allowed: Vec<&'static str>,
    /// Calls. No rate is published: full for ever unless a test says otherwise.
    pub rate: Bucket,
    /// Paths and tags that may be in progress.
    pub paths_in_progress: usize,
    /// Wildcards that may be in progress.
    pub wildcards_in_progress: usize,
    /// A text that it refuses in paths.
    pub refused: Option<&'static str>,
    /// When an invalidation is completed.
    pub completion: Completion,
    /// Every invalidation so far.
    pub invalidations: Vec<Invalidation>,
}

/// When an invalidation is completed.
#[derive(Clone, Copy, Debug)]
pub enum Completion {
    /// This long after it was made.
    After(Duration),
    /// When it was asked for this often.
    AfterPolls(u32),
}

/// An invalidation.
#[derive(Debug)]
pub struct Invalidation {
    id: String,
    reference: String,
    paths: Vec<String>,
    since: Instant,
    polls: u32,
}

impl Default for Cloudfront {
    fn default() -> Self {
        Self {
            distribution_id: "EDFDVBD6EXAMPLE".to_owned(),
            aliases: vec!["www.example.test".to_owned()],
            tag_header: Some("Cache-Tag".to_owned()),
            configured_tag_header: Some("Cache-Tag".to_owned()),
            access_key_id: "AKIAFAKEEXAMPLE".to_owned(),
            secret_access_key: "fake-cloudfront-secret".to_owned(),
            revoked: false,
            allowed: vec![
                "CreateInvalidation",
                "GetInvalidation",
                "ListInvalidations",
                "GetDistributionConfig",
            ],
            rate: Bucket::endless(),
            paths_in_progress: 3_000,
            wildcards_in_progress: 15,
            refused: None,
            completion: Completion::After(Duration::from_secs(1)),
            invalidations: Vec::new(),
        }
    }
}

impl Vendor for Cloudfront {
    fn settings(&self, url: &str) -> String {
        let tag_header = self.configured_tag_header.iter().map(|name| format!("tag_header = \"{name}\"\n"));
        format!(
            "type = \"cloudfront\"\ndistribution_id = \"{}\"\naccess_key_id = \"{}\"\n\
             secret_access_key = \"literal:{}\"\napi_url = \"{url}\"\n{}",
            self.distribution_id,
            self.access_key_id,
            self.secret_access_key,
            tag_header.collect::<String>(),
        )
    }

    fn answer(&mut self, call: &Request<Bytes>, now: Now) -> Answer {
        let is_sts = call.uri().path() == "/";
        let key =
            sigv4::Key { id: &self.access_key_id, secret: &self.secret_access_key, session_token: None };
        if self.revoked {
            return failed(
                403,
                "InvalidClientTokenId",
                "The security token included in the request is invalid.",
            );
        }
        let service = if is_sts { "sts" } else { "cloudfront" };
        if let Err((code, message)) = sigv4::verify(call, service, &key, now.unix_ms) {
            return failed(403, code, &message);
        }
        if is_sts {
            return caller_identity();
        }
        if !self.rate.take(1.0, now.instant) {
            return Answer { over_rate: true, ..self.too_many() };
        }
        let path = call.uri().path();
        let Some((id, rest)) =
            path.strip_prefix("/2020-05-31/distribution/").and_then(|rest| rest.split_once('/'))
        else {
            return failed(404, "NoSuchResource", path);
        };
        let action = match (call.method().as_str(), rest.split_once('/')) {
            ("POST", None) if rest == "invalidation" => "CreateInvalidation",
            ("GET", None) if rest == "invalidation" => "ListInvalidations",
            ("GET", Some(("invalidation", _))) => "GetInvalidation",
            ("GET", None) if rest == "config" => "GetDistributionConfig",
            _ => return failed(404, "NoSuchResource", path),
        };
        if !self.allowed.contains(&action) {
            let resource = format!("arn:aws:cloudfront::123456789012:distribution/{id}");
            let message = format!(
                "User: {ARN} is not authorized to perform: cloudfront:{action} on resource: {resource} because no \
                 identity-based policy allows the cloudfront:{action} action"
            );
            return failed(403, "AccessDenied", &message);
        }
        if id != self.distribution_id {
            return failed(404, "NoSuchDistribution", "The specified distribution does not exist.");
        }
        match action {
            "CreateInvalidation" => self.create(call, now.instant),
            "ListInvalidations" => self.list(),
            "GetDistributionConfig" => self.config(),
            _ => self.get(rest.rsplit('/').next().unwrap_or_default(), now.instant),
        }
    }

    fn too_many(&mut self) -> Answer {
        failed(400, "Throttling", "Rate exceeded")
    }

    fn unavailable(&mut self) -> Answer {
        failed(503, "ServiceUnavailable", "CloudFront is temporarily unavailable.")
    }
}

impl Cloudfront {
    /// `CreateInvalidation`
    pub fn create(&mut self, call: &Request<Bytes>, now: Instant) -> Answer {
        let body = std::str::from_utf8(call.body()).unwrap_or_default();
        let paths = elements(body, "Path");
        let (Some(reference), false) = (elements(body, "CallerReference").pop(), paths.is_empty()) else {
            return failed(400, "MalformedXML", "1 validation error detected");
        };
        if elements(body, "Quantity") != [paths.len().to_string()] {
            return failed(
                400,
                "InconsistentQuantities",
                "The value of Quantity and the size of Items don't match.",
            );
        }
        if let Some(known) = self.invalidations.iter().find(|known| known.reference == reference) {
            if known.paths == paths {
                return Answer::new(201, self.show(known, now)).with("content-type", "text/xml");
            }
            let message = "Your request contains a caller reference that was used for another batch.";
            return failed(400, "InvalidationBatchAlreadyExists", message);
        }
        let legal = |path: &String| match path.strip_prefix('#') {
            Some(tag) => {
                self.tag_header.is_some() && !tag.is_empty() && tag.len() <= 256 && !tag.contains([',', '#'])
            }
            // RFC 1738, section 2.2.
            None => {
                path.starts_with('/')
                    && !path[..path.len() - 1].contains('*')
                    && !path.contains(|c: char| !c.is_ascii_graphic() || "{}|\\^~[]`<>\"".contains(c))
                    && !self.refused.is_some_and(|refused| path.contains(refused))
            }
        };
        if let Some(bad) = paths.iter().find(|path| !legal(path)) {
            let message = format!("Your request contains one or more invalid invalidation paths: {bad}");
            return failed(400, "InvalidArgument", &message);
        }
        let in_progress: Vec<&String> = self
            .invalidations
            .iter()
            .filter(|known| !self.is_completed(known, now))
            .flat_map(|known| &known.paths)
            .chain(&paths)
            .collect();
        let wildcards =
            in_progress.iter().filter(|path| path.starts_with('/') && path.ends_with('*')).count();
        if in_progress.len() - wildcards > self.paths_in_progress || wildcards > self.wildcards_in_progress {
            let message = "Processing your request will cause you to exceed the maximum number of in-progress invalidations.";
            return Answer { over_rate: true, ..failed(400, "TooManyInvalidationsInProgress", message) };
        }
        let id = format!("I{:013}", self.invalidations.len() + 1);
        let made = Invalidation { id, reference, paths: paths.clone(), since: now, polls: 0 };
        let answer = Answer::new(201, self.show(&made, now)).with("content-type", "text/xml");
        self.invalidations.push(made);
        answer.purging(paths.into_iter().map(purged).collect())
    }

    /// `GetInvalidation`
    pub fn get(&mut self, id: &str, now: Instant) -> Answer {
        let Some(index) = self.invalidations.iter().position(|known| known.id == id) else {
            return failed(404, "NoSuchInvalidation", "The specified invalidation does not exist.");
        };
        self.invalidations[index].polls += 1;
        Answer::new(200, self.show(&self.invalidations[index], now)).with("content-type", "text/xml")
    }

    fn list(&self) -> Answer {
        let body = format!(
            "<?xml version=\"1.0\"?>\n<InvalidationList xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\">\
             <Marker></Marker><MaxItems>100</MaxItems><IsTruncated>false</IsTruncated><Quantity>{}</Quantity>\
             </InvalidationList>",
            self.invalidations.len()
        );
        Answer::new(200, body).with("content-type", "text/xml")
    }

    fn config(&self) -> Answer {
        let aliases: String = self.aliases.iter().map(|name| format!("<CNAME>{name}</CNAME>")).collect();
        let tags = self.tag_header.iter();
        let tags: String = tags
            .map(|name| format!("<CacheTagConfig><HeaderName>{name}</HeaderName></CacheTagConfig>"))
            .collect();
        let body = format!(
            "<?xml version=\"1.0\"?>\n<DistributionConfig xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\">\
             <CallerReference>r</CallerReference><Aliases><Quantity>{}</Quantity><Items>{aliases}</Items></Aliases>\
             <Origins><Quantity>1</Quantity><Items><Origin><Id>shim</Id><CustomHeaders><Quantity>1</Quantity><Items>\
             <OriginCustomHeader><HeaderName>X-Push-Invalidation</HeaderName><HeaderValue>enabled</HeaderValue>\
             </OriginCustomHeader></Items></CustomHeaders></Origin></Items></Origins>\
             <Comment>www</Comment><Enabled>true</Enabled>{tags}</DistributionConfig>",
            self.aliases.len()
        );
        Answer::new(200, body).with("content-type", "text/xml").with("etag", "E2QWRUHAPOMQZL")
    }

    fn is_completed(&self, invalidation: &Invalidation, now: Instant) -> bool {
        match self.completion {
            Completion::After(time) => now.saturating_duration_since(invalidation.since) >= time,
            Completion::AfterPolls(polls) => invalidation.polls >= polls,
        }
    }

    fn show(&self, invalidation: &Invalidation, now: Instant) -> String {
        let status = if self.is_completed(invalidation, now) && invalidation.polls > 0 {
            "Completed"
        } else {
            "InProgress"
        };
        let paths: String =
            invalidation.paths.iter().map(|path| format!("<Path>{}</Path>", escape(path))).collect();
        format!(
            "<?xml version=\"1.0\"?>\n<Invalidation xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><Id>{}</Id>\
             <Status>{status}</Status><CreateTime>2026-11-23T12:00:00.000Z</CreateTime><InvalidationBatch><Paths>\
             <Quantity>{}</Quantity><Items>{paths}</Items></Paths><CallerReference>{}</CallerReference>\
             </InvalidationBatch></Invalidation>",
            invalidation.id,
            invalidation.paths.len(),
            escape(&invalidation.reference),
        )
    }
}

fn purged(path: String) -> Purged {
    match path.strip_prefix('#') {
        Some(tag) => Purged { kind: Kind::Tag, name: tag.to_owned(), hard: true },
        None => Purged { kind: Kind::Url, name: path, hard: true },
    }
}

fn caller_identity() -> Answer {
    let body = format!(
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
         <Arn>{ARN}</Arn><UserId>AIDAFAKEEXAMPLE</UserId><Account>123456789012</Account></GetCallerIdentityResult>\
         <ResponseMetadata><RequestId>01234567-89ab-cdef-0123-456789abcdef</RequestId></ResponseMetadata>\
         </GetCallerIdentityResponse>"
    );
    Answer::new(200, body).with("content-type", "text/xml")
}

fn failed(status: u16, code: &str, message: &str) -> Answer {
    let body = format!(
        "<?xml version=\"1.0\"?>\n<ErrorResponse xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><Error>\
         <Type>Sender</Type><Code>{code}</Code><Message>{}</Message></Error>\
         <RequestId>410c2a4b-e435-49c9-8382-3770d80d7d4c</RequestId></ErrorResponse>",
        escape(message)
    );
    Answer::new(status, body).with("content-type", "text/xml")
}

/// The texts of every element of this name.
fn elements(body: &str, name: &str) -> Vec<String> {
    let (start, end) = (format!("<{name}>"), format!("</{name}>"));
    let texts = body.split(&start).skip(1).filter_map(|rest| rest.split_once(&end));
    texts.filter_map(|(text, _)| Some(unescape(text).ok()?.into_owned())).collect()
}
