//! The check of a Fastly token.
//!
//! `GET /tokens/self` returns its scopes and services
//! (<https://www.fastly.com/documentation/reference/api/auth-tokens/user/>). Whether the service exists can be
//! asked only with a token that may read, which a purge-only token may not.

use super::{Fastly, Token};
use crate::cdn::credentials::{Answers, CredentialReport, Credentials, Draft, Question};
use crate::cdn::pack::Group;
use crate::cdn::{Adapter, ItemKind, Reply, RequestError, SignContext, Verdict};
use crate::config::{self, Everything};
use bytes::Bytes;
use http::{Method, StatusCode};

const API: &str = "Fastly's API";
const NEW_TOKEN: &str = "Create an API token at https://manage.fastly.com/account/personal/tokens with the scopes \
    “Purge select content” (purge_select) and “Purge full cache” (purge_all) for this service, and put it where \
    `auth_token` points.";
const SERVICE_ID: &str =
    "Compare `service_id` with the ID that the Fastly console shows beside the name of the service.";

impl Credentials for Fastly {
    fn questions(
        &self,
        so_far: Answers<'_>,
        probe: bool,
        sign: &SignContext,
    ) -> Result<Vec<Question>, RequestError> {
        if so_far.0.is_empty() {
            return Ok(vec![self.ask("token", "/tokens/self")?]);
        }
        let is_known = so_far.reply("token").is_some_and(|reply| reply.status == StatusCode::OK);
        if !is_known || so_far.count("service") > 0 {
            return Ok(Vec::new());
        }
        let mut questions = vec![self.ask("service", &format!("/service/{}", self.service_id))?];
        if probe {
            let names = vec![format!("origin-shim-check-{}", sign.nonce)];
            let group = Group { kind: ItemKind::Tag, hard: false, names, bytes: 0 };
            questions.push(Question { name: "probe", request: self.purge(&group)? });
        }
        Ok(questions)
    }

    fn report(&self, cdn: &config::Cdn, answers: Answers<'_>) -> CredentialReport {
        let secrets = [self.auth_token.expose()];
        let mut draft = Draft::new(&secrets);
        let now_ms = answers.get("token").map_or(0, |answer| answer.at_ms);
        if let Some(reply) = draft.reply_to(answers, "token", API) {
            match (reply.status, reply.json::<Token>()) {
                (StatusCode::OK, Some(token)) => {
                    self.describe(&mut draft, &token, now_ms);
                    let exists = self.describe_service(&mut draft, &token, answers);
                    self.describe_scopes(&mut draft, &token, cdn, exists);
                }
                (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
                    draft.error(
                        format!("Fastly does not know this token: {}", said(&draft, reply)),
                        NEW_TOKEN,
                    );
                }
                _ => draft.unforeseen(API, &said(&draft, reply)),
            }
        }
        if let Some(reply) = draft.reply_to(answers, "probe", API) {
            self.describe_probe(&mut draft, reply);
        }
        draft.finish()
    }
}

impl Fastly {
    fn ask(&self, name: &'static str, path: &str) -> Result<Question, RequestError> {
        Ok(Question { name, request: self.call(Method::GET, path)?.body(Bytes::new())? })
    }

    fn describe(&self, draft: &mut Draft<'_>, token: &Token, now_ms: i64) {
        let own = |id: &Option<String>| id.clone().unwrap_or_else(|| "unknown".to_owned());
        let name = token.name.as_deref().filter(|name| !name.is_empty()).unwrap_or("without a name");
        draft.identity(format!(
            "API token “{name}” of user {}, customer {}",
            own(&token.user_id),
            own(&token.customer_id),
        ));
        draft.expiry(token.expires_at.as_deref(), now_ms, NEW_TOKEN);
    }

    /// Whether the token proves that the service exists.
    fn describe_service(&self, draft: &mut Draft<'_>, token: &Token, answers: Answers<'_>) -> bool {
        let id = &self.service_id;
        if !token.covers(id) {
            let services = token.services.join(", ");
            let text = format!("The token is for other services ({services}), and not for {id}.");
            draft.error(text, &format!("{SERVICE_ID} If it is right: {NEW_TOKEN}"));
            return false;
        }
        match answers.reply("service") {
            Some(reply) if reply.status == StatusCode::OK => {
                #[derive(serde::Deserialize)]
                struct Service {
                    name: String,
                }
                let name = reply.json::<Service>().map_or_else(|| id.clone(), |service| service.name);
                draft.ok(format!("The service {id} is “{name}”."));
                true
            }
            Some(reply) if reply.status == StatusCode::NOT_FOUND => {
                draft.error(format!("This customer has no service {id}: {}", said(draft, reply)), SERVICE_ID);
                false
            }
            // A token that names its services proves the id.
            _ if !token.services.is_empty() => true,
            _ => {
                draft.note(
                    format!("The token may not read the service, so nothing proves that {id} exists."),
                    "This is usual for a token that may only purge. `--probe` proves it by a purge of an unused key.",
                );
                false
            }
        }
    }

    fn describe_scopes(&self, draft: &mut Draft<'_>, token: &Token, cdn: &config::Cdn, exists: bool) {
        if !token.may("purge_select") {
            let text = format!("The token may not purge URLs and keys: its scope is “{}”.", token.scope);
            return draft.error(text, NEW_TOKEN);
        }
        let text = "The token may purge URLs and surrogate keys.";
        match exists {
            true => draft.proved(text),
            false => draft.ok(text),
        }
        if token.may("purge_all") {
            return draft.ok("The token may purge the whole service (purge_all).");
        }
        let advice = "Give the token the scope purge_all too.";
        if cdn.everything == Everything::Cdn {
            let text = "The token may not purge the whole service, but `everything = \"cdn\"` needs that: a purge of \
                        everything will fail.";
            draft.warning(text, &format!("{advice} Or set `everything = \"site-tag\"`."));
        } else {
            let text = "The token may not purge the whole service (purge_all): where a purge falls back to that, it will fail.";
            draft.note(text, &format!("{advice} As long as the site has its tag, it is hardly ever needed."));
        }
    }

    fn describe_probe(&self, draft: &mut Draft<'_>, reply: &Reply) {
        let refused = format!("Fastly refused a purge of an unused key: {}", said(draft, reply));
        match self.classify(reply).verdict {
            Verdict::Done => draft.proved("A purge of an unused key was accepted."),
            Verdict::BadCredentials => draft.error(refused, NEW_TOKEN),
            Verdict::Refused => draft.error(refused, SERVICE_ID),
            _ => draft.unforeseen(API, &said(draft, reply)),
        }
    }
}

fn said(draft: &Draft<'_>, reply: &Reply) -> String {
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct Problem {
        msg: String,
        detail: String,
    }
    let problem: Problem = reply.json().unwrap_or_default();
    draft.said(reply, format!("{} {}", problem.msg, problem.detail).trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cdn::credentials::testing::{Cases, asked, cdn, said, secret, silence, told};

    fn fastly() -> config::Cdn {
        cdn(config::CdnSettings::Fastly(crate::config::cdns::Fastly {
            service_id: "SU1Z0isxPaozGVKXdv0eY".to_owned(),
            auth_token: secret(),
            api_url: "https://api.fastly.com".to_owned(),
        }))
    }

    fn token(scope: &str, services: &str, expires_at: &str) -> Result<Reply, String> {
        said(
            200,
            &format!(
                r#"{{"name":"deploy","user_id":"u1","customer_id":"c1","scope":"{scope}","services":[{services}],"expires_at":{expires_at}}}"#
            ),
        )
    }

    #[test]
    fn what_is_asked() {
        let good = token("purge_select", "", "null");
        assert_eq!(asked(&fastly(), &[], true), ["token: GET /tokens/self"]);
        let then = [
            "service: GET /service/SU1Z0isxPaozGVKXdv0eY",
            "probe: POST /service/SU1Z0isxPaozGVKXdv0eY/purge",
        ];
        assert_eq!(asked(&fastly(), &[("token", good.clone())], true), then);
        assert_eq!(asked(&fastly(), &[("token", good.clone())], false), then[..1]);
        assert!(asked(&fastly(), &[("token", good), ("service", said(403, ""))], true).is_empty());
        assert!(asked(&fastly(), &[("token", said(401, ""))], true).is_empty());
        assert!(asked(&fastly(), &[("token", silence())], true).is_empty());
    }

    #[test]
    fn what_is_told() {
        let mut cases = Cases::new("fastly_what_is_told");
        let service = said(200, r#"{"id":"SU1Z0isxPaozGVKXdv0eY","name":"shop"}"#);
        cases.case(
            "A token for everything",
            told(&fastly(), &[("token", token("global", "", "null")), ("service", service.clone())]),
        );
        // This token is for purging alone.
        let denied = said(403, r#"{"msg":"You are not authorized to perform this action"}"#);
        let narrow = ("token", token("purge_select", "", r#""2026-12-01T00:00:00Z""#));
        cases.case(
            "A token for purging alone, which ends soon",
            told(&fastly(), &[narrow.clone(), ("service", denied.clone())]),
        );
        let probe = ("probe", said(200, r#"{"origin-shim-check-0":"108-1"}"#));
        cases.case(
            "The same with a probe",
            told(&fastly(), &[narrow.clone(), ("service", denied.clone()), probe]),
        );
        let everything = config::Cdn { everything: Everything::Cdn, ..fastly() };
        cases.case(
            "The same where everything is the CDN's own",
            told(&everything, &[narrow.clone(), ("service", service)]),
        );
        // These tokens are restricted to services.
        let of = |services| {
            [("token", token("purge_select purge_all", services, "null")), ("service", denied.clone())]
        };
        cases.case("A token for this service", told(&fastly(), &of(r#""SU1Z0isxPaozGVKXdv0eY""#)));
        cases.case("A token for another service", told(&fastly(), &of(r#""other""#)));
        cases.check();
    }

    #[test]
    fn what_is_wrong() {
        let mut cases = Cases::new("fastly_what_is_wrong");
        cases.case(
            "A wrong token",
            told(
                &fastly(),
                &[("token", said(401, r#"{"msg":"Provided credentials are missing or invalid"}"#))],
            ),
        );
        cases.case("No answer", told(&fastly(), &[("token", silence())]));
        cases.case(
            "An answer of somebody else",
            told(&fastly(), &[("token", said(200, "<html>Welcome</html>"))]),
        );
        let reader = ("token", token("global:read", "", r#""2026-01-01T00:00:00Z""#));
        let missing = (
            "service",
            said(404, r#"{"msg":"Record not found","detail":"Cannot find service canary-3f9a"}"#),
        );
        cases.case(
            "A token that may only read, has ended, and a service that is not there",
            told(&fastly(), &[reader, missing]),
        );
        let good = ("token", token("purge_select purge_all", "", "null"));
        let refused = ("probe", said(403, r#"{"msg":"You are not authorized to perform this action"}"#));
        cases.case("A refused probe", told(&fastly(), &[good, ("service", said(403, "")), refused]));
        cases.check();
    }
}
