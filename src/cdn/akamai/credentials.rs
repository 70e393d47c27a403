//! The check of an Akamai API client.
//!
//! `rate-limit-status` purges nothing and requires what a purge requires: a valid signature and the grant for
//! Fast Purge.

use super::{Akamai, Problem};
use crate::cdn::credentials::{Answers, CredentialReport, Credentials, Draft, Question};
use crate::cdn::pack::Group;
use crate::cdn::{Adapter, Counted, ItemKind, Reply, RequestError, SignContext, Verdict};
use crate::config::{self, AkamaiNetwork, Everything};
use http::{Method, StatusCode};

const SAME_SECTION: &str = "Copy `client_token`, `client_secret`, `access_token` and `endpoint` (the host) from one and the \
    same credential: they only work together. A lost secret cannot be shown again: create a new credential in Control \
    Center, Identity & access, API clients.";
const API: &str = "Akamai's API";
const GRANT: &str =
    "In Control Center, Identity & access, edit this API client and give it “CCU APIs” with READ-WRITE.";

impl Credentials for Akamai {
    fn questions(
        &self,
        so_far: Answers<'_>,
        probe: bool,
        sign: &SignContext,
    ) -> Result<Vec<Question>, RequestError> {
        let is_about_time = |reply: &Reply| Problem::of(reply).says("timestamp");
        let rejected_clock = so_far.reply("grant").is_some_and(is_about_time);
        // The question is repeated one time, with the clock corrected by the first answer.
        if so_far.0.is_empty() || (rejected_clock && so_far.count("grant") == 1) {
            let request =
                self.call(Method::POST, "/ccu/v3/rate-limit-status/tag", String::new(), sign, &sign.nonce)?;
            return Ok(vec![Question { name: "grant", request }]);
        }
        let is_granted = so_far.reply("grant").is_some_and(|reply| self.is_granted(reply));
        let is_known =
            is_granted || so_far.reply("grant").is_some_and(|reply| reply.status == StatusCode::FORBIDDEN);
        if !is_known || so_far.count("client") > 0 {
            return Ok(Vec::new());
        }
        let nonce = |number: u8| format!("{}-{number}", sign.nonce);
        let path = "/-/client-api/active-grants/implicit";
        let request = self.call(Method::GET, path, String::new(), sign, &nonce(1))?;
        let mut questions = vec![Question { name: "client", request }];
        if probe && is_granted {
            let names = vec![format!("origin-shim-check-{}", sign.nonce)];
            let group = Group { kind: ItemKind::Tag, hard: false, names, bytes: 0 };
            questions.push(Question { name: "probe", request: self.purge(&group, sign, &nonce(2))? });
        }
        Ok(questions)
    }

    fn report(&self, cdn: &config::Cdn, answers: Answers<'_>) -> CredentialReport {
        let secrets = [self.client_token.expose(), self.client_secret.expose(), self.access_token.expose()];
        let mut draft = Draft::new(&secrets);
        if let Some(reply) = draft.reply_to(answers, "grant", API) {
            self.describe_grant(&mut draft, reply);
        }
        if let Some(reply) = answers.reply("client") {
            describe_client(&mut draft, reply);
        }
        if let Some(reply) = draft.reply_to(answers, "probe", API) {
            match self.classify(reply).verdict {
                Verdict::Done => draft.proved("A purge of an unused tag was accepted."),
                Verdict::Later(_) | Verdict::Resign => draft.unforeseen(API, &said(&draft, reply)),
                _ => draft.error(
                    format!("Akamai refused a purge of an unused tag: {}", said(&draft, reply)),
                    GRANT,
                ),
            }
        }
        draft.clock(answers, 10);
        self.describe_settings(&mut draft, cdn);
        draft.finish()
    }
}

impl Akamai {
    fn is_granted(&self, reply: &Reply) -> bool {
        reply.status.is_success()
            && (Problem::of(reply).http_status == Some(201) || !self.rate_hints(reply).is_empty())
    }

    fn describe_grant(&self, draft: &mut Draft<'_>, reply: &Reply) {
        let problem = Problem::of(reply);
        match reply.status.as_u16() {
            _ if self.is_granted(reply) => {
                let left = self.rate_hints(reply).into_iter().find(|hint| hint.counted == Counted::Items);
                let left = left.map_or_else(String::new, |hint| {
                    format!("; {} tags may be purged at once right now", hint.remaining)
                });
                draft.proved(format!("The client may use Fast Purge{left}."));
            }
            400 | 401 if problem.says("timestamp") => draft.error(
                format!("Akamai refuses the time of the signature: {}", said(draft, reply)),
                "Let the machine keep its time by NTP (for example: timedatectl set-ntp true).",
            ),
            401 if problem.says("inactive") => draft.error(
                format!("Akamai knows the client, but it is not active: {}", said(draft, reply)),
                "Activate the credential in Control Center, Identity & access, API clients, or use another one.",
            ),
            400 | 401 => draft.error(format!("Akamai does not accept the credentials: {}", said(draft, reply)), SAME_SECTION),
            403 => draft.error(format!("The client may not use Fast Purge: {}", said(draft, reply)), GRANT),
            404 => draft.error(
                format!("There is no Fast Purge at this address: {}", said(draft, reply)),
                "Take `endpoint` from the credential (its host, such as akab-….luna.akamaiapis.net).",
            ),
            429 => draft.note(
                format!("The account's rate is used up, which proves that the client is known: {}", said(draft, reply)),
                "Try again in a minute.",
            ),
            _ => draft.unforeseen(API, &said(draft, reply)),
        }
    }

    fn describe_settings(&self, draft: &mut Draft<'_>, cdn: &config::Cdn) {
        if self.network == AkamaiNetwork::Staging {
            draft.warning(
                "Purges go to the staging network: visitors keep what the production network holds.",
                "Set `network = \"production\"` when visitors are served.",
            );
        }
        let advice = "Add the CP codes of the site's property (Control Center, CP codes) to `cp_codes`.";
        match (self.cp_codes.is_empty(), cdn.everything) {
            (false, _) => {}
            (true, Everything::Cdn) => draft.warning(
                "`everything = \"cdn\"` purges CP codes, and `cp_codes` is empty: a purge of everything will fail.",
                advice,
            ),
            (true, Everything::SiteTag) => draft.note(
                "`cp_codes` is empty: where a purge falls back to everything of the CDN, it will fail.",
                advice,
            ),
        }
    }
}

/// Adds the client's identity and its grants as URLs separated by spaces, from `GET
/// /-/client-api/active-grants/implicit`. Few clients may make this call; for the others both are unknown,
/// which is no error.
fn describe_client(draft: &mut Draft<'_>, reply: &Reply) {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Client {
        name: String,
        created_by: Option<String>,
        #[serde(default)]
        scope: String,
    }
    let Some(client) = reply.json::<Client>().filter(|_| reply.status.is_success()) else { return };
    let by = client.created_by.map_or_else(String::new, |by| format!(", created by {by}"));
    draft.identity(format!("API client “{}”{by}", client.name));
    let is_fast_purge = |grant: &&str| grant.contains("/scope/ccu/");
    let grant = client.scope.split_whitespace().find(is_fast_purge);
    if grant.is_some_and(|grant| grant.contains("READ-ONLY")) {
        draft.error("The client may only read at Fast Purge.", GRANT);
    }
}

fn said(draft: &Draft<'_>, reply: &Reply) -> String {
    let problem = Problem::of(reply);
    let words: Vec<String> =
        [problem.title, problem.detail].into_iter().filter(|text| !text.is_empty()).collect();
    draft.said(reply, &words.join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cdn::credentials::testing::{Cases, asked, cdn, said, secret, silence, told};
    use crate::cdn::tests::reply;

    fn akamai(network: AkamaiNetwork, cp_codes: Vec<u64>) -> config::Cdn {
        cdn(config::CdnSettings::Akamai(crate::config::cdns::Akamai {
            api_url: "https://akab.luna.akamaiapis.net".to_owned(),
            client_token: secret(),
            client_secret: secret(),
            access_token: secret(),
            network,
            cp_codes,
        }))
    }

    fn gateway(status: u16, title: &str, detail: &str) -> Result<Reply, String> {
        said(
            status,
            &format!(
                r#"{{"type":"t","title":"{title}","status":{status},"detail":"{detail}","requestId":"r"}}"#
            ),
        )
    }

    fn granted() -> Result<Reply, String> {
        let headers = [("x-ratelimit-remaining", "100"), ("x-ratelimit-remaining-objects", "4998")];
        Ok(reply(201, &headers, r#"{"httpStatus":201,"detail":"Request accepted","supportId":"s"}"#))
    }

    fn client(grant: &str) -> Result<Reply, String> {
        let scope = format!(
            "https://luna.akamaiapis.net/-/scope/papi/-/READ-WRITE https://luna.akamaiapis.net/-/scope/ccu/-/{grant}"
        );
        said(200, &format!(r#"{{"name":"purging","createdBy":"ops","scope":"{scope}"}}"#))
    }

    #[test]
    fn what_is_asked() {
        let production = akamai(AkamaiNetwork::Production, vec![1]);
        let first = "grant: POST /ccu/v3/rate-limit-status/tag";
        let then = [
            "client: GET /-/client-api/active-grants/implicit",
            "probe: POST /ccu/v3/invalidate/tag/production",
        ];
        assert_eq!(asked(&production, &[], true), [first]);
        assert_eq!(asked(&production, &[("grant", granted())], false), then[..1]);
        assert_eq!(asked(&production, &[("grant", granted())], true), then);
        assert_eq!(asked(&production, &[("grant", gateway(403, "Forbidden", "no grant"))], true), then[..1]);
        assert!(asked(&production, &[("grant", granted()), ("client", said(403, ""))], true).is_empty());
        assert!(asked(&production, &[("grant", gateway(401, "Not authorized", "x"))], true).is_empty());
        // The question is repeated one time with a corrected clock.
        let clock = ("grant", gateway(400, "Bad request", "Invalid timestamp"));
        assert_eq!(asked(&production, std::slice::from_ref(&clock), true), [first]);
        assert!(asked(&production, &[clock.clone(), clock.clone()], true).is_empty());
        assert_eq!(asked(&production, &[clock, ("grant", granted())], true), then);
    }

    #[test]
    fn what_is_told() {
        let mut cases = Cases::new("akamai_what_is_told");
        let production = akamai(AkamaiNetwork::Production, vec![1]);
        let good = [("grant", granted()), ("client", client("READ-WRITE"))];
        cases.case("A good client", told(&production, &good));
        let accepted =
            said(201, r#"{"httpStatus":201,"detail":"Request accepted","purgeId":"p","supportId":"s"}"#);
        let probed = [good.to_vec(), vec![("probe", accepted)]].concat();
        cases.case(
            "Staging, no CP codes, with a probe",
            told(&akamai(AkamaiNetwork::Staging, Vec::new()), &probed),
        );
        let everything =
            config::Cdn { everything: Everything::Cdn, ..akamai(AkamaiNetwork::Production, Vec::new()) };
        cases.case(
            "No CP codes where they are needed, and a client that may not look at itself",
            told(&everything, &[("grant", granted()), ("client", said(403, ""))]),
        );
        cases.check();
    }

    #[test]
    fn what_is_wrong() {
        let mut cases = Cases::new("akamai_what_is_wrong");
        let production = akamai(AkamaiNetwork::Production, vec![1]);
        let check = |answer| told(&production, &[("grant", answer)]);
        cases.case("A wrong secret", check(gateway(401, "Not authorized", "The signature does not match")));
        cases.case("An inactive client", check(gateway(401, "Not authorized", "Inactive client token")));
        cases.case("No grant", check(gateway(403, "Forbidden", "no grant")));
        cases.case("Another address", check(gateway(404, "Not Found", "")));
        cases.case("No answer", check(silence()));
        cases.case("An answer of somebody else", check(said(200, "<html>Welcome</html>")));
        cases.case("Too many calls", check(said(429, r#"{"httpStatus":429,"title":"Rate Limit exceeded"}"#)));
        let reader = [
            ("grant", granted()),
            ("client", client("READ-ONLY")),
            ("probe", gateway(403, "Forbidden", "no grant")),
        ];
        cases.case("A grant for reading", told(&production, &reader));
        let noon = Ok(reply(
            400,
            &[("date", "Mon, 23 Nov 2026 12:01:40 GMT")],
            r#"{"title":"Bad request","detail":"Invalid timestamp"}"#,
        ));
        cases.case("A clock that is wrong", told(&production, &[("grant", noon)]));
        cases.check();
    }
}
