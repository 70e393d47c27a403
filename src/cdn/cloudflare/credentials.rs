//! The check of a Cloudflare token.
//!
//! A user's token is verified by `/user/tokens/verify`. An account's token (`cfat_`) is unknown there and is
//! verified under its account, whose id only a token that may read the zone can learn. Neither call proves the
//! zone or the right to purge; only a purge does
//! (<https://developers.cloudflare.com/fundamentals/api/get-started/account-owned-tokens/>).

use super::{Cloudflare, Envelope, USER_TOKEN};
use crate::cdn::credentials::{Answers, CredentialReport, Credentials, Draft, Question};
use crate::cdn::{Adapter, ItemKind, Reply, RequestError, SignContext, Verdict};
use crate::config::{self, CdnSettings, CloudflarePlan};
use http::{Method, StatusCode};
use serde::Deserialize;

/// The prefix of an account's tokens.
const ACCOUNT_TOKEN: &str = "cfat_";

const API: &str = "Cloudflare's API";
const NEW_TOKEN: &str = "Create a token at https://dash.cloudflare.com/profile/api-tokens with the permission \
    “Zone, Cache Purge, Purge” for this zone, and put it where `api_token` points.";
const PERMISSION: &str = "Edit the token at https://dash.cloudflare.com/profile/api-tokens (one of an account: Manage \
    account, Account API tokens) and give it the permission “Zone, Cache Purge, Purge” for this zone.";
const ZONE_ID: &str = "Compare `zone_id` with the Zone ID on the overview page of the zone in the Cloudflare dashboard, and \
    the zones that the token is for.";
const PROBE: &str = "`--probe` proves it by marking an unused tag as stale.";

impl Credentials for Cloudflare {
    fn questions(
        &self,
        so_far: Answers<'_>,
        probe: bool,
        sign: &SignContext,
    ) -> Result<Vec<Question>, RequestError> {
        let ask = |name, path: String| {
            Ok::<_, RequestError>(Question { name, request: self.call(Method::GET, &path, None)? })
        };
        if so_far.0.is_empty() {
            let mut questions = vec![ask("zone", format!("/zones/{}", self.zone_id))?];
            if !self.is_of_an_account() {
                questions.push(ask("user", "/user/tokens/verify".to_owned())?);
            }
            if probe {
                let names = [format!("origin-shim-check-{}", sign.nonce)];
                questions
                    .push(Question { name: "probe", request: self.purge(ItemKind::Tag, false, &names)? });
            }
            return Ok(questions);
        }
        let is_verified = so_far.reply("user").is_some_and(|reply| verified(reply).is_some());
        let account = so_far.reply("zone").and_then(zone).and_then(|zone| zone.account);
        match account {
            Some(account) if !is_verified && so_far.count("account") == 0 => {
                Ok(vec![ask("account", format!("/accounts/{}/tokens/verify", account.id))?])
            }
            _ => Ok(Vec::new()),
        }
    }

    fn report(&self, cdn: &config::Cdn, answers: Answers<'_>) -> CredentialReport {
        let secrets = [self.api_token.expose()];
        let mut draft = Draft::new(&secrets);
        if let Some(why) = answers.0.iter().find_map(|answer| answer.outcome.as_ref().err()) {
            draft.unreachable(API, why);
            return draft.finish();
        }
        let is_known = self.describe_token(&mut draft, answers);
        self.describe_zone(&mut draft, cdn, answers.reply("zone"));
        match answers.reply("probe") {
            Some(reply) => self.describe_probe(&mut draft, reply),
            None if is_known && !draft.has_errors() => {
                draft.note("Whether the token may purge this zone is not proved.", PROBE)
            }
            None => {}
        }
        draft.finish()
    }
}

impl Cloudflare {
    fn is_of_an_account(&self) -> bool {
        self.api_token.expose().starts_with(ACCOUNT_TOKEN)
    }

    /// Whether Cloudflare recognises the token.
    fn describe_token(&self, draft: &mut Draft<'_>, answers: Answers<'_>) -> bool {
        let of = |question, owner| {
            let answer = answers.get(question)?;
            Some((verified(answer.reply()?)?, answer.at_ms, owner))
        };
        if let Some((token, now_ms, owner)) = of("user", "a user").or_else(|| of("account", "an account")) {
            draft.identity(format!("API token {} of {owner}", token.id));
            if token.status == "active" {
                draft.ok("The token is active.");
                draft.expiry(token.expires_on.as_deref(), now_ms, NEW_TOKEN);
            } else {
                draft.error(format!("The token is {}.", token.status), NEW_TOKEN);
            }
            return true;
        }
        // A token that can read a zone is recognised, whatever the verification returns.
        let reads_zone = answers.reply("zone").and_then(zone).is_some();
        let proved = |reply: &Reply| self.classify(reply).verdict == Verdict::Done;
        let purges = answers.reply("probe").is_some_and(proved);
        let Some(refusal) = answers.reply("user").or(answers.reply("account")) else {
            draft.identity("API token of an account");
            if !reads_zone && !purges {
                draft.note(
                    "A token of an account cannot be verified without the permission to read the zone.",
                    PROBE,
                );
            }
            return reads_zone;
        };
        let envelope = Envelope::of(refusal);
        if envelope.has(&[6003, 6111]) {
            draft.error(
                format!("This is not an API token: {}", said(draft, refusal)),
                &format!("The Global API Key and the Origin CA key do not work here. {NEW_TOKEN}"),
            );
        } else if refusal.status.is_server_error() || refusal.status == StatusCode::TOO_MANY_REQUESTS {
            draft.unforeseen(API, &said(draft, refusal));
        } else if self.api_token.expose().starts_with(USER_TOKEN) {
            draft.error(format!("Cloudflare does not know this token: {}", said(draft, refusal)), NEW_TOKEN);
        } else if !reads_zone && !purges {
            draft.note(
                format!("Cloudflare has no such token of a user: {}", said(draft, refusal)),
                "If it is a token of an account, that is as it should be, and `--probe` proves it by marking an unused \
                 tag as stale. If not, it is wrong.",
            );
        }
        reads_zone
    }

    fn describe_zone(&self, draft: &mut Draft<'_>, cdn: &config::Cdn, answer: Option<&Reply>) {
        let Some(answer) = answer else { return };
        let Some(zone) = zone(answer) else {
            let envelope = Envelope::of(answer);
            if answer.status == StatusCode::NOT_FOUND || envelope.has(&[7000, 7003, 1001]) {
                draft.error(format!("There is no zone {}: {}", self.zone_id, said(draft, answer)), ZONE_ID);
            } else if !draft.has_errors() {
                draft.note(
                    "The token may not read the zone, so neither its name nor its plan could be compared.",
                    "This is usual for a token that may only purge; nothing needs to be done.",
                );
            }
            return;
        };
        let account =
            zone.account.as_ref().map_or_else(String::new, |account| format!(" of {}", account.name));
        draft.ok(format!("The zone {} is {}{account}.", self.zone_id, zone.name));
        let below = format!(".{}", zone.name);
        draft.strange_hosts(
            cdn,
            |host| host == zone.name || host.ends_with(&below),
            &format!("the zone {}", zone.name),
        );
        if let (CdnSettings::Cloudflare(crate::config::cdns::Cloudflare { plan, .. }), Some(real)) =
            (&cdn.settings, zone.plan)
            && let Some(real_plan) = plan_of(&real.legacy_id)
            && real_plan != *plan
        {
            let text = format!(
                "The zone is on the {} plan, and the configuration says `plan = \"{}\"`: the shim keeps to the wrong rates.",
                real.legacy_id,
                plan_name(*plan),
            );
            draft.warning(text, &format!("Set `plan = \"{}\"`.", plan_name(real_plan)));
        }
    }

    fn describe_probe(&self, draft: &mut Draft<'_>, reply: &Reply) {
        let what = "Cloudflare refused to mark an unused tag as stale";
        match self.classify(reply).verdict {
            Verdict::Done => {
                draft.proved("An unused tag was marked as stale: the token may purge this zone.")
            }
            Verdict::BadCredentials => draft.error(format!("{what}: {}", said(draft, reply)), PERMISSION),
            Verdict::Refused | Verdict::Split => {
                draft.error(format!("{what}: {}", said(draft, reply)), ZONE_ID)
            }
            Verdict::Later(_) if reply.status == StatusCode::TOO_MANY_REQUESTS => draft.note(
                format!("The account's rate is used up, so nothing is proved: {}", said(draft, reply)),
                "Try again in a minute.",
            ),
            _ => draft.unforeseen(API, &said(draft, reply)),
        }
    }
}

#[derive(Deserialize)]
struct Verified {
    id: String,
    status: String,
    expires_on: Option<String>,
}

fn verified(reply: &Reply) -> Option<Verified> {
    result(reply)
}

#[derive(Deserialize)]
struct Zone {
    name: String,
    account: Option<Account>,
    plan: Option<Plan>,
}

#[derive(Deserialize)]
struct Account {
    id: String,
    name: String,
}

#[derive(Deserialize)]
struct Plan {
    legacy_id: String,
}

fn zone(reply: &Reply) -> Option<Zone> {
    result(reply)
}

fn result<T: serde::de::DeserializeOwned>(reply: &Reply) -> Option<T> {
    let envelope = Envelope::of(reply);
    let result = envelope.result.filter(|_| reply.status.is_success() && envelope.success)?;
    serde_json::from_value(result).ok()
}

fn plan_of(legacy_id: &str) -> Option<CloudflarePlan> {
    [CloudflarePlan::Free, CloudflarePlan::Pro, CloudflarePlan::Business, CloudflarePlan::Enterprise]
        .into_iter()
        .find(|plan| plan_name(*plan) == legacy_id)
}

fn plan_name(plan: CloudflarePlan) -> &'static str {
    match plan {
        CloudflarePlan::Free => "free",
        CloudflarePlan::Pro => "pro",
        CloudflarePlan::Business => "business",
        CloudflarePlan::Enterprise => "enterprise",
    }
}

fn said(draft: &Draft<'_>, reply: &Reply) -> String {
    draft.said(reply, &Envelope::of(reply).words())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cdn::credentials::testing::{Cases, asked, cdn, said, silence, told};
    use crate::config::secret::Secret;

    fn cloudflare(token: &str) -> config::Cdn {
        cdn(CdnSettings::Cloudflare(crate::config::cdns::Cloudflare {
            zone_id: "z1".to_owned(),
            api_token: Secret::new(token),
            plan: CloudflarePlan::Free,
            enterprise_only: false,
            api_url: "https://api.cloudflare.com/client/v4".to_owned(),
        }))
    }

    fn token(status: &str, expires_on: &str) -> Result<Reply, String> {
        said(
            200,
            &format!(
                r#"{{"success":true,"result":{{"id":"t1","status":"{status}","expires_on":{expires_on}}}}}"#
            ),
        )
    }

    fn zone(name: &str, plan: &str) -> Result<Reply, String> {
        said(
            200,
            &format!(
                r#"{{"success":true,"result":{{"id":"z1","name":"{name}","account":{{"id":"a1","name":"Example Ltd"}},"plan":{{"legacy_id":"{plan}"}}}}}}"#
            ),
        )
    }

    fn failed(status: u16, code: u32, message: &str) -> Result<Reply, String> {
        said(
            status,
            &format!(
                r#"{{"success":false,"errors":[{{"code":{code},"message":"{message}"}}],"result":null}}"#
            ),
        )
    }

    fn unknown() -> Result<Reply, String> {
        failed(401, 1000, "Invalid API Token")
    }

    fn unreadable() -> Result<Reply, String> {
        failed(403, 9109, "Unauthorized to access requested resource")
    }

    #[test]
    fn what_is_asked() {
        let all = [
            "zone: GET /client/v4/zones/z1",
            "user: GET /client/v4/user/tokens/verify",
            "probe: POST /client/v4/zones/z1/invalidate_cache",
        ];
        assert_eq!(asked(&cloudflare("canary"), &[], true), all);
        assert_eq!(asked(&cloudflare("cfut_canary"), &[], false), all[..2]);
        assert_eq!(asked(&cloudflare("cfat_canary"), &[], false), all[..1]);
        // The zone reveals the account, which recognises its tokens.
        let account = ["account: GET /client/v4/accounts/a1/tokens/verify"];
        let known = zone("example.com", "free");
        assert_eq!(asked(&cloudflare("cfat_canary"), &[("zone", known.clone())], false), account);
        assert_eq!(
            asked(&cloudflare("canary"), &[("zone", known.clone()), ("user", unknown())], false),
            account
        );
        let verified = [("zone", known.clone()), ("user", token("active", "null"))];
        assert!(asked(&cloudflare("canary"), &verified, false).is_empty());
        assert!(asked(&cloudflare("cfat_canary"), &[("zone", unreadable())], false).is_empty());
        let twice = [("zone", known), ("account", unknown())];
        assert!(asked(&cloudflare("cfat_canary"), &twice, false).is_empty());
    }

    #[test]
    fn what_is_told() {
        let mut cases = Cases::new("cloudflare_what_is_told");
        let purging = [("zone", unreadable()), ("user", token("active", r#""2027-06-01T00:00:00Z""#))];
        cases.case("A token for purging alone", told(&cloudflare("cfut_canary"), &purging));
        let probe = ("probe", said(200, r#"{"success":true,"errors":[],"result":{"id":"z1"}}"#));
        let probed = [purging.to_vec(), vec![probe.clone()]].concat();
        cases.case("The same with a probe", told(&cloudflare("cfut_canary"), &probed));
        let reading =
            [("zone", zone("example.com", "free")), ("user", token("active", "null")), probe.clone()];
        cases.case("A token that reads the zone, with a probe", told(&cloudflare("cfut_canary"), &reading));
        let other = [
            ("zone", zone("example.org", "enterprise")),
            ("account", token("active", "null")),
            probe.clone(),
        ];
        cases.case(
            "A token of an account, another zone, another plan",
            told(&cloudflare("cfat_canary"), &other),
        );
        cases.case(
            "A token of an account for purging alone",
            told(&cloudflare("cfat_canary"), &[("zone", unreadable())]),
        );
        cases.case(
            "The same with a probe (account)",
            told(&cloudflare("cfat_canary"), &[("zone", unreadable()), probe]),
        );
        // An older token does not show its owner.
        cases.case(
            "An older token, whose owner is not known",
            told(&cloudflare("canary"), &[("zone", unreadable()), ("user", unknown())]),
        );
        cases.check();
    }

    #[test]
    fn what_is_wrong() {
        let mut cases = Cases::new("cloudflare_what_is_wrong");
        let refused = ("probe", failed(401, 10000, "Authentication error"));
        let check =
            |answers: &[(&'static str, Result<Reply, String>)]| told(&cloudflare("cfut_canary"), answers);
        cases.case("A wrong token", check(&[("zone", unreadable()), ("user", unknown())]));
        let malformed = said(
            400,
            r#"{"success":false,"errors":[{"code":6003,"message":"Invalid request headers","error_chain":[{"code":6111,"message":"Invalid format for Authorization header"}]}]}"#,
        );
        cases.case("A key that is no token", check(&[("zone", malformed.clone()), ("user", malformed)]));
        let expired = token("expired", r#""2026-11-01T00:00:00Z""#);
        cases.case("An expired token", check(&[("zone", unreadable()), ("user", expired)]));
        let active = ("user", token("active", "null"));
        cases.case("A refused probe", check(&[("zone", unreadable()), active.clone(), refused]));
        let no_zone =
            failed(404, 7003, "Could not route to /zones/z1, perhaps your object identifier is invalid?");
        cases.case("A wrong zone", check(&[("zone", no_zone), active]));
        cases.case("No answer", check(&[("zone", silence()), ("user", silence())]));
        cases.case("Cloudflare is down", check(&[("zone", said(503, "")), ("user", said(503, "upstream"))]));
        cases.check();
    }
}
