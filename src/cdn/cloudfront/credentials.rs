//! The check of an AWS key for CloudFront.
//!
//! STS reports the owner of every key. Each of the four actions that the shim uses is tried,
//! `CreateInvalidation` only by a probe. The distribution's own configuration shows whether tag purges can work
//! at all: without `CacheTagConfig`, CloudFront accepts them and does nothing
//! (<https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/invalidation-by-tags.html>).

use super::{Cloudfront, ResponseBody as Document, config as facts, invalidation_batch};
use crate::cdn::credentials::{Answers, CredentialReport, Credentials, Draft, Question};
use crate::cdn::{Adapter, Reply, RequestError, SignContext, Verdict};
use crate::config;
use http::Method;

const API: &str = "CloudFront's API";
/// The advice that lists every action that the shim uses.
const POLICY: &str = "Its IAM policy needs cloudfront:CreateInvalidation, GetInvalidation, ListInvalidations and \
    GetDistributionConfig on this distribution.";
const DISTRIBUTION: &str = "Compare `distribution_id` with the ID in the list of distributions (CloudFront console), and \
    check that the key belongs to the same AWS account.";
/// The resource of an invalidation that does not exist.
const NO_INVALIDATION: &str = "/invalidation/I0ORIGINSHIMCHECK";

impl Credentials for Cloudfront {
    fn questions(
        &self,
        so_far: Answers<'_>,
        probe: bool,
        sign: &SignContext,
    ) -> Result<Vec<Question>, RequestError> {
        let rejected_clock = so_far.reply("list").is_some_and(is_about_time);
        // All questions are repeated one time, with the clock corrected by the first answers.
        if !(so_far.0.is_empty() || (rejected_clock && so_far.count("list") == 1)) {
            return Ok(Vec::new());
        }
        let get = |path: &str| self.call(Method::GET, path, String::new(), sign);
        let mut questions = vec![
            Question { name: "identity", request: self.who(sign)? },
            Question { name: "list", request: get("/invalidation")? },
            Question { name: "config", request: get("/config")? },
            Question { name: "get", request: get(NO_INVALIDATION)? },
        ];
        if probe {
            // The probe is a path, because a path needs no tag header and requires the same permission. AWS
            // counts it as one path.
            let reference = format!("origin-shim-check-{}", sign.nonce);
            let body = invalidation_batch(&[format!("/{reference}")], &reference);
            questions.push(Question {
                name: "probe",
                request: self.call(Method::POST, "/invalidation", body, sign)?,
            });
        }
        Ok(questions)
    }

    fn report(&self, cdn: &config::Cdn, answers: Answers<'_>) -> CredentialReport {
        let secrets = self.secrets();
        let mut draft = Draft::new(&secrets);
        let Some(list) = draft.reply_to(answers, "list", API) else { return draft.finish() };
        let identity = answers.reply("identity").and_then(facts::caller);
        if let Some(arn) = &identity {
            draft.identity(arn.clone());
            if arn.ends_with(":root") {
                draft.warning(
                    "This is the root key of the AWS account, which may do everything.",
                    "Create an IAM user for the shim alone and delete the root key.",
                );
            }
        }
        if self.describe_key(&mut draft, list) {
            self.describe_actions(&mut draft, answers);
            self.describe_distribution(&mut draft, cdn, answers.reply("config"));
        }
        draft.clock(answers, 120);
        if self.session_token.is_some() {
            draft.warning(
                "These are temporary credentials (session_token): they expire after some hours, and the shim does \
                 not renew them.",
                "Use a key of an IAM user, or write new credentials to the files that the configuration names and \
                 reload before the old ones expire.",
            );
        }
        draft.finish()
    }
}

impl Cloudfront {
    /// Whether AWS recognises the key and its signature.
    fn describe_key(&self, draft: &mut Draft<'_>, list: &Reply) -> bool {
        let document = Document::read(&list.text());
        let code = document.code.as_deref().unwrap_or_default();
        let text = format!("AWS does not accept the key: {}", said(draft, list));
        match code {
            _ if is_about_time(list) => draft.error(
                format!("AWS refuses the time of the signature: {}", said(draft, list)),
                "Let the machine keep its time by NTP (for example: timedatectl set-ntp true).",
            ),
            "InvalidClientTokenId" | "InvalidAccessKeyId" | "UnrecognizedClientException" => {
                let temporary = self.access_key_id.starts_with("ASIA") && self.session_token.is_none();
                let advice = match temporary {
                    true => "Keys that begin with ASIA are temporary and only work together with their `session_token`.",
                    false => "Check `access_key_id` in IAM: the key must exist and be active.",
                };
                draft.error(text, advice);
            }
            "SignatureDoesNotMatch" | "IncompleteSignature" => draft.error(
                text,
                "The `secret_access_key` does not belong to this `access_key_id`. A lost secret cannot be shown again: \
                 create a new key in IAM.",
            ),
            "ExpiredToken" | "ExpiredTokenException" => {
                draft.error(text, "The temporary credentials have expired: put new ones into the configuration.");
            }
            "NoSuchDistribution" => {
                draft.error(format!("There is no distribution {}: {}", self.distribution_id, said(draft, list)), DISTRIBUTION);
            }
            "AccessDenied" | "AccessDeniedException" => return true,
            _ if list.status.is_success() && document.root == "InvalidationList" => return true,
            _ if matches!(self.classify(list).verdict, Verdict::Later(_) | Verdict::Resign) => {
                draft.unforeseen(API, &said(draft, list));
            }
            _ => draft.error(text, POLICY),
        }
        false
    }

    fn describe_actions(&self, draft: &mut Draft<'_>, answers: Answers<'_>) {
        let is_denied = |name| answers.reply(name).is_some_and(is_access_denied);
        if is_denied("list") {
            draft.note(
                "The key is known, but may not list invalidations, so the shim's own check cannot prove it before the \
                 first purge.",
                "Allow cloudfront:ListInvalidations in its IAM policy.",
            );
        } else {
            draft.ok(format!(
                "The distribution {} exists, and the key may list its invalidations.",
                self.distribution_id
            ));
        }
        if is_denied("get") {
            draft.note(
                "The key may not look at an invalidation: purges work, but the shim cannot say when they are completed.",
                "Allow cloudfront:GetInvalidation in its IAM policy.",
            );
        }
        if answers.get("probe").is_none() {
            draft.note(
                "Whether the key may purge (cloudfront:CreateInvalidation) is not proved.",
                "`--probe` proves it by an invalidation of an unused path; AWS counts it as one path.",
            );
        }
        if let Some(reply) = draft.reply_to(answers, "probe", API) {
            match self.classify(reply).verdict {
                Verdict::Done => draft.proved("An invalidation of an unused path was accepted."),
                Verdict::Later(_) | Verdict::Resign => draft.note(
                    format!("CloudFront is throttling or busy, so nothing is proved: {}", said(draft, reply)),
                    "Try again in a minute.",
                ),
                _ => draft.error(format!("The key may not purge: {}", said(draft, reply)), POLICY),
            }
        }
    }

    fn describe_distribution(&self, draft: &mut Draft<'_>, cdn: &config::Cdn, reply: Option<&Reply>) {
        let ours = self.tag_header.as_ref();
        let Some(distribution) = reply.and_then(facts::distribution) else {
            if let Some(ours) = ours {
                draft.note(
                    format!(
                        "The key may not read the distribution's configuration, so nothing proves that its tag header is \
                         {ours}; if it is not, purges by tag do nothing.",
                    ),
                    "Allow cloudfront:GetDistributionConfig in its IAM policy, or compare `tag_header` with the cache tag \
                     header in the distribution's settings.",
                );
            }
            return;
        };
        match distribution.tags(ours) {
            facts::Tags::Agree => {
                if let Some(ours) = ours {
                    draft.ok(format!("The distribution takes tags from {ours}, as configured."));
                }
            }
            wrong @ (facts::Tags::Missing | facts::Tags::Differ(_)) => draft.error(
                facts::complaint(&wrong, ours),
                "Set the cache tag header (CacheTagConfig) of the distribution and `tag_header` in the configuration to \
                 the same name, or remove `tag_header`: then a purge by tag becomes a purge of everything.",
            ),
            facts::Tags::Unused(theirs) => draft.note(
                format!("The distribution takes tags from {theirs}, but the configuration has no `tag_header`: a purge by \
                         tag becomes a purge of everything."),
                &format!("Set `tag_header = \"{theirs}\"`."),
            ),
        }
        if !distribution.enabled {
            draft.warning(
                "The distribution is disabled: it serves no requests.",
                "Enable it in the CloudFront console.",
            );
        }
        draft.strange_hosts(
            cdn,
            |host| distribution.serves(host),
            &format!("the distribution {}", self.distribution_id),
        );
    }
}

fn is_access_denied(reply: &Reply) -> bool {
    let code = Document::read(&reply.text()).code;
    matches!(code.as_deref(), Some("AccessDenied" | "AccessDeniedException"))
}

fn is_about_time(reply: &Reply) -> bool {
    let document = Document::read(&reply.text());
    let message = document.message.unwrap_or_default();
    match document.code.as_deref() {
        Some("RequestExpired" | "RequestTimeTooSkewed") => true,
        Some("SignatureDoesNotMatch") => {
            message.starts_with("Signature expired") || message.starts_with("Signature not yet current")
        }
        _ => false,
    }
}

fn said(draft: &Draft<'_>, reply: &Reply) -> String {
    draft.said(reply, &Document::read(&reply.text()).words())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cdn::credentials::testing::{Cases, asked, cdn, said, secret, silence, told};
    use crate::cdn::tests::reply;
    use http::HeaderName;

    fn cloudfront(tag_header: Option<&'static str>) -> config::Cdn {
        let mut cdn = cdn(config::CdnSettings::Cloudfront(crate::config::cdns::Cloudfront {
            distribution_id: "E1".to_owned(),
            access_key_id: "AKIAEXAMPLE".to_owned(),
            secret_access_key: secret(),
            session_token: None,
            api_url: "https://cloudfront.amazonaws.com".to_owned(),
        }));
        cdn.dialect.tag_header = tag_header.map(HeaderName::from_static);
        cdn
    }

    fn temporary(access_key_id: &str, with_token: bool) -> config::Cdn {
        let mut cdn = cloudfront(None);
        if let config::CdnSettings::Cloudfront(crate::config::cdns::Cloudfront {
            access_key_id: id,
            session_token,
            ..
        }) = &mut cdn.settings
        {
            *id = access_key_id.to_owned();
            *session_token = with_token.then(secret);
        }
        cdn
    }

    fn failed(code: &str, message: &str) -> Result<Reply, String> {
        said(
            403,
            &format!(
                "<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
            ),
        )
    }

    fn denied() -> Result<Reply, String> {
        failed("AccessDenied", "User: arn:aws:iam::1:user/shim is not authorized")
    }

    fn identity(arn: &str) -> (&'static str, Result<Reply, String>) {
        let body = format!(
            "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>{arn}</Arn></GetCallerIdentityResult></GetCallerIdentityResponse>"
        );
        ("identity", said(200, &body))
    }

    fn list() -> (&'static str, Result<Reply, String>) {
        ("list", said(200, "<InvalidationList><Quantity>0</Quantity></InvalidationList>"))
    }

    fn config(enabled: bool, alias: &str, tags: &str) -> (&'static str, Result<Reply, String>) {
        let tags = match tags {
            "" => String::new(),
            name => format!("<CacheTagConfig><HeaderName>{name}</HeaderName></CacheTagConfig>"),
        };
        let body = format!(
            "<DistributionConfig><Aliases><Items><CNAME>{alias}</CNAME></Items></Aliases><Enabled>{enabled}</Enabled>{tags}</DistributionConfig>"
        );
        ("config", said(200, &body))
    }

    fn no_invalidation() -> (&'static str, Result<Reply, String>) {
        ("get", said(404, "<ErrorResponse><Error><Code>NoSuchInvalidation</Code></Error></ErrorResponse>"))
    }

    #[test]
    fn what_is_asked() {
        let all = [
            "identity: POST /",
            "list: GET /2020-05-31/distribution/E1/invalidation",
            "config: GET /2020-05-31/distribution/E1/config",
            "get: GET /2020-05-31/distribution/E1/invalidation/I0ORIGINSHIMCHECK",
            "probe: POST /2020-05-31/distribution/E1/invalidation",
        ];
        assert_eq!(asked(&cloudfront(None), &[], true), all);
        assert_eq!(asked(&cloudfront(None), &[], false), all[..4]);
        assert!(asked(&cloudfront(None), &[list()], true).is_empty());
        let late = (
            "list",
            failed("SignatureDoesNotMatch", "Signature expired: 20261123T120000Z is now earlier than x"),
        );
        assert_eq!(asked(&cloudfront(None), std::slice::from_ref(&late), true), all);
        assert!(asked(&cloudfront(None), &[late.clone(), late], true).is_empty());
    }

    #[test]
    fn what_is_told() {
        let mut cases = Cases::new("cloudfront_what_is_told");
        let user = || identity("arn:aws:iam::123456789012:user/shim");
        let good = [user(), list(), config(true, "*.example.com", "Cache-Tag"), no_invalidation()];
        cases.case("A good key", told(&cloudfront(Some("cache-tag")), &good));
        let accepted =
            ("probe", said(201, "<Invalidation><Id>I1</Id><Status>InProgress</Status></Invalidation>"));
        let probed = [good.to_vec(), vec![accepted.clone()]].concat();
        cases.case("The same with a probe", told(&cloudfront(Some("cache-tag")), &probed));
        // The policy allows purging alone.
        let narrow = [user(), ("list", denied()), ("config", denied()), ("get", denied()), accepted.clone()];
        cases.case("A policy that allows purging alone", told(&cloudfront(Some("cache-tag")), &narrow));
        // The distribution has unused capabilities, serves other hosts, and is disabled; the key has too many
        // rights.
        let root = [
            identity("arn:aws:iam::123456789012:root"),
            list(),
            config(false, "www.example.org", "X-Tags"),
            no_invalidation(),
        ];
        cases.case(
            "A root key; a distribution that is disabled, takes tags and has another name",
            told(&cloudfront(None), &root),
        );
        cases.case(
            "Temporary credentials",
            told(&temporary("ASIAEXAMPLE", true), &[user(), list(), no_invalidation(), accepted]),
        );
        cases.check();
    }

    #[test]
    fn what_is_wrong() {
        let mut cases = Cases::new("cloudfront_what_is_wrong");
        let check = |answer| {
            told(&cloudfront(None), &[("identity", denied()), ("list", answer), ("config", denied())])
        };
        cases.case(
            "A wrong key id",
            check(failed("InvalidClientTokenId", "The security token included in the request is invalid.")),
        );
        cases.case(
            "A wrong secret",
            check(failed("SignatureDoesNotMatch", "The request signature we calculated does not match")),
        );
        cases.case(
            "Temporary credentials that have ended",
            check(failed("ExpiredToken", "The security token included in the request is expired")),
        );
        cases.case(
            "A wrong distribution",
            check(failed("NoSuchDistribution", "The specified distribution does not exist.")),
        );
        cases.case("No answer", check(silence()));
        cases.case("CloudFront is down", check(said(503, "<html>")));
        let unknown = ("list", failed("InvalidClientTokenId", "x"));
        cases.case("A temporary key without its token", told(&temporary("ASIAEXAMPLE", false), &[unknown]));
        let body = "<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code><Message>Signature expired: x</Message></Error></ErrorResponse>";
        let late = Ok(reply(403, &[("date", "Mon, 23 Nov 2026 11:50:00 GMT")], body));
        cases.case("A clock that is wrong", check(late));
        cases.check();
    }

    #[test]
    fn tags_that_would_do_nothing() {
        let mut cases = Cases::new("cloudfront_tags_that_would_do_nothing");
        let check = |tags| {
            let answers =
                [list(), config(true, "www.example.com", tags), no_invalidation(), ("probe", denied())];
            told(&cloudfront(Some("cache-tag")), &answers)
        };
        cases.case("A distribution without a tag header", check(""));
        cases.case("A distribution with another tag header", check("X-Tags"));
        cases.check();
    }
}
