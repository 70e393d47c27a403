//! `check --edge URL`: proves the chain with one page of the public host. The page is visited until a copy is
//! served, purged through the admin API, and visited until it is fresh. Meanwhile the shim's counters show
//! whether the CDN opted in.

mod counters;
mod report;
mod visit;

pub use report::Checked;

use crate::admin::json::{Job, Purge};
use crate::base::with_causes;
use crate::cli::client::{AdminArgs, Client};
use crate::purge::State;
use crate::rewrite::{Outcome, Reason};
use anyhow::{Context, bail};
use counters::{Counters, OptIn, between, judge, read};
use reqwest::Url;
use serde::Deserialize;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::time::sleep;
use visit::{Cache, Visit, Visitor};

/// The number of visits until a copy must have been served, because the servers of a large CDN fill one by one.
const VISITS: usize = 6;
/// The time between two visits, if the first did not show the desired result.
const PAUSE: Duration = Duration::from_secs(1);
/// The time within which the counters of a request change after its answer.
const TO_COUNT: Duration = Duration::from_secs(1);

/// A site as the admin API shows it, as far as it is needed here.
#[derive(Debug, Deserialize)]
struct Site {
    name: String,
    hosts: Vec<String>,
    default: bool,
    mode: String,
    cdns: Vec<Cdn>,
}

#[derive(Debug, Deserialize)]
struct Cdn {
    name: String,
    #[serde(rename = "type")]
    cdn_type: String,
    healthy: bool,
    reasons: Vec<String>,
}

/// The arguments of the check.
#[derive(Clone, Debug, clap::Args)]
pub struct EdgeArgs {
    /// Prove the whole chain with a page of the public host: the CDN opts in, caches the page, and can purge it
    #[arg(long = "edge", value_name = "URL")]
    pub url: Option<String>,

    /// With --edge: connect to this address instead of the one that the host's name has (before DNS is
    /// switched)
    #[arg(long, value_name = "ADDRESS[:PORT]", requires = "url", value_parser = visit::address)]
    connect: Option<SocketAddr>,

    /// With --edge: the time limit for the purge, and again for its effect
    #[arg(long, value_name = "SECONDS", requires = "url", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=300))]
    wait: u64,

    #[command(flatten)]
    admin: AdminArgs,
}

/// Visits, purges and checks the page. An error is returned only if the check cannot be made at all.
pub async fn check(url: &str, args: &EdgeArgs) -> anyhow::Result<Checked> {
    let url = Url::parse(url).with_context(|| format!("--edge {url} is not a URL"))?;
    if !matches!(url.scheme(), "http" | "https") {
        bail!("--edge {url} must start with http:// or https://");
    }
    let client = Client::from_env(&args.admin)?;
    let host = url.host_str().unwrap_or_default().to_owned();
    let visitor = Visitor::new(&url, args.connect)?;
    let mut checked = Checked::new(url.as_str());
    let Some(site) = site_of(&client, &host).await? else {
        checked.failed(
            "site",
            format!("No site of this shim that the token sees has the host {host}."),
            "Add the host to `hosts` of a site, or name the right shim with --admin.",
        );
        return Ok(checked);
    };
    let wait = Duration::from_secs(args.wait);
    let chain = Chain { url: url.to_string(), wait, client, visitor, site };
    chain.prove(&mut checked).await?;
    Ok(checked)
}

/// Returns the site that serves `host`: by its name, by a wildcard, or by default.
async fn site_of(client: &Client, host: &str) -> anyhow::Result<Option<Site>> {
    let sites: Vec<Site> = client.sites().await?;
    // A site's claim to the host is the number of characters that match; an exact match is the strongest claim.
    let claim = |site: &Site| {
        let of_name = |name: &String| match name.strip_prefix('*') {
            Some(end) => host.ends_with(end).then_some(end.len()),
            None => (name == host).then_some(usize::MAX),
        };
        site.hosts.iter().filter_map(of_name).max().or(site.default.then_some(0))
    };
    let claims = sites.into_iter().filter_map(|site| Some((claim(&site)?, site)));
    Ok(claims.max_by_key(|(claim, _)| *claim).map(|(_, site)| site))
}

/// The page to visit, and the clients for it.
struct Chain {
    url: String,
    /// The time limit for a purge, and again for its effect. CloudFront, the slowest CDN, names 25 s.
    wait: Duration,
    client: Client,
    visitor: Visitor,
    site: Site,
}

/// A visit, and the decisions of the shim meanwhile.
struct Look {
    visit: Visit,
    /// The decisions; `None` if the counters cannot be read.
    decisions: Option<Vec<(String, String)>>,
}

impl Look {
    /// Whether a copy was served; if the CDN does not report it, whether the shim got no request.
    fn cache(&self) -> Cache {
        match (self.visit.cache(), &self.decisions) {
            (Cache::Unknown, Some(decisions)) if decisions.is_empty() => Cache::Hit,
            (Cache::Unknown, Some(_)) => Cache::Miss,
            (cache, _) => cache,
        }
    }
}

impl Chain {
    async fn prove(&self, checked: &mut Checked) -> anyhow::Result<()> {
        let first = match self.look().await {
            Ok(look) => look,
            Err(error) => {
                checked.failed(
                    "reached",
                    format!("The page cannot be reached: {error}."),
                    "See that the name points to the CDN (or use --connect) and that its certificate is valid.",
                );
                return Ok(());
            }
        };
        if !self.reached(checked, &first.visit) {
            return Ok(());
        }
        let mut looks = vec![first];
        let copy = self.until(&mut looks, VISITS, |look| look.cache() == Cache::Hit).await;
        let is_kept = copy.is_some();
        let purged = self.purge().await?;
        let since = Instant::now();
        let mut after = Vec::new();
        let fresh = match &purged {
            Ok(_) if is_kept => {
                let tries = usize::try_from(self.wait.as_secs() / PAUSE.as_secs()).unwrap_or(VISITS);
                self.until(&mut after, tries, |look| is_fresh(look, since)).await
            }
            _ => None,
        };

        let decisions = looks.iter().chain(&after).filter(|look| look.cache() != Cache::Hit);
        self.opted_in(checked, decisions.map(|look| look.decisions.as_deref()));
        match copy {
            Some(index) => checked.ok("cached", format!("A copy was served on visit {}.", index + 1)),
            None => {
                let last = looks.last().map_or_else(String::new, |look| look.visit.why_not_kept());
                checked.failed("cached", format!("No copy was served in {} visits.", looks.len()), &last);
            }
        }
        match purged {
            Ok(text) => checked.ok("purged", text),
            Err((text, advice)) => checked.failed("purged", text, &advice),
        }
        match fresh {
            Some(_) => checked.ok("fresh", "The next visit got a fresh page from the origin.".to_owned()),
            None if after.is_empty() => checked.skipped("fresh", "Not tried, because of what failed above."),
            None => checked.failed(
                "fresh",
                format!("The old copy was still served {} s after the purge.", since.elapsed().as_secs()),
                "See that `hosts` of the CDN are the names that visitors use, and that the CDN's cache key has nothing \
                 in it that a purge by URL does not name (a device, a cookie, a country).",
            ),
        }
        Ok(())
    }

    /// Visits until `enough` is true or there are `most` visits, and returns the index of the visit for which
    /// it is true. A visit that fails is left out.
    async fn until(
        &self,
        looks: &mut Vec<Look>,
        most: usize,
        enough: impl Fn(&Look) -> bool,
    ) -> Option<usize> {
        for visits in looks.len()..most {
            if looks.last().is_some_and(&enough) {
                break;
            }
            if visits > 1 {
                sleep(PAUSE).await;
            }
            looks.extend(self.look().await);
        }
        looks.iter().position(enough)
    }

    async fn look(&self) -> Result<Look, String> {
        let before = self.counters().await;
        let visit = self.visitor.get().await.map_err(|error| with_causes(&error.without_url()))?;
        let Some(before) = before else { return Ok(Look { visit, decisions: None }) };
        let asked = Instant::now();
        loop {
            let decisions = self.counters().await.map(|after| between(&before, &after));
            let is_counted = decisions.as_ref().is_none_or(|decisions| !decisions.is_empty());
            // No decision will be counted for a copy.
            if is_counted || visit.cache() == Cache::Hit || asked.elapsed() > TO_COUNT {
                return Ok(Look { visit, decisions });
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn counters(&self) -> Option<Counters> {
        let answer = self.client.get(&["metrics"], &[]).await.ok()?;
        Some(read(&answer.body, &self.site.name))
    }

    fn reached(&self, checked: &mut Checked, visit: &Visit) -> bool {
        let types: Vec<&str> = self.site.cdns.iter().map(|cdn| cdn.cdn_type.as_str()).collect();
        let through = visit.cdn();
        match visit.status {
            200 | 203 => {}
            status @ 300..400 => {
                let target = visit
                    .headers
                    .get("location")
                    .and_then(|value| value.to_str().ok())
                    .unwrap_or("elsewhere");
                checked.failed(
                    "reached",
                    format!("The page answers {status} and points to {target}."),
                    self.visitor.advice_on_redirect(target),
                );
                return false;
            }
            status => {
                checked.failed(
                    "reached",
                    format!("The page answers {status}."),
                    "Check a page that everybody may see.",
                );
                return false;
            }
        }
        match through {
            Some(cdn) if !types.contains(&cdn) => checked.failed(
                "reached",
                format!(
                    "The page came through {cdn}, and the site {} has no such CDN ({}).",
                    self.site.name,
                    types.join(", ")
                ),
                "Add it to the site's CDNs, or see where the name points.",
            ),
            Some(cdn) => checked.ok("reached", format!("The page came through {cdn}.")),
            None => checked.ok("reached", "The page answers; it does not show through which CDN.".to_owned()),
        }
        if self.site.mode != "on" {
            checked.failed(
                "mode",
                format!("The site's mode is {:?}, so nothing is changed.", self.site.mode),
                "Set `mode = \"on\"` when it is time.",
            );
        }
        true
    }

    /// Judges the decisions that the shim made while the page was fetched from it.
    fn opted_in<'a>(
        &self,
        checked: &mut Checked,
        decisions: impl Iterator<Item = Option<&'a [(String, String)]>>,
    ) {
        let judged: Vec<OptIn> = decisions.map(|decisions| decisions.map_or(OptIn::Mixed, judge)).collect();
        let told = |judged: &&OptIn| !matches!(judged, OptIn::Mixed | OptIn::NoRequest);
        match judged.iter().find(told) {
            Some(OptIn::Seen(Outcome::Fallback, Reason::PurgingUnhealthy)) => {
                let sick = self.site.cdns.iter().filter(|cdn| !cdn.healthy);
                let sick: Vec<String> =
                    sick.map(|cdn| format!("{}: {}", cdn.name, cdn.reasons.join("; "))).collect();
                checked.failed(
                    "opt-in",
                    format!("The CDN opted in, but the page gets the short TTL, because the CDN is unhealthy ({}).", sick.join("; ")),
                    "Run `origin-shim check --credentials`.",
                );
            }
            Some(OptIn::Seen(outcome @ (Outcome::Lengthened | Outcome::Guarded), reason)) => {
                checked.ok("opt-in", format!("The CDN opted in, and the page is {outcome}: {}", reason.describe()));
            }
            Some(OptIn::Seen(Outcome::Fallback, reason @ Reason::CdnInDispute)) => checked.failed(
                "opt-in",
                format!("The CDN opted in, but the page gets the short TTL. {}", reason.describe()),
                "Let the CDN send `X-BYO-CDN-Type` with its type, and drop what visitors send under that name.",
            ),
            Some(OptIn::Seen(outcome, reason)) => checked.failed(
                "opt-in",
                format!("The CDN opted in, but the page is {outcome}: {}", reason.describe()),
                "`origin-shim explain` shows what would change that. Other pages may be lengthened.",
            ),
            Some(OptIn::NotSeen(reason)) => checked.failed(
                "opt-in",
                format!("The request reached the shim without a valid opt-in: {}", reason.describe()),
                "Let the CDN send `X-Push-Invalidation: enabled` to the shim (and `X-Origin-Shim-Secret`, if \
                 `opt_in.trust` asks for it); `X-BYO-CDN-Type` names its type.",
            ),
            _ if !judged.is_empty() && judged.iter().all(|judged| *judged == OptIn::NoRequest) => checked.failed(
                "opt-in",
                "The CDN fetched the page, but not from this shim.".to_owned(),
                "See that the CDN's origin is this shim. With several instances, name the one that it asks by --admin.",
            ),
            _ => checked.unclear(
                "opt-in",
                "It is not clear whether the CDN opted in: other visitors came at the same time, or the shim's \
                 counters cannot be read.",
                "Try again, or look at origin_shim_requests_total in the metrics.",
            ),
        }
    }

    /// Purges the page from every CDN, and returns the result in words, or the reason why it failed and advice.
    async fn purge(&self) -> anyhow::Result<Result<String, (String, String)>> {
        let body = serde_json::json!({ "urls": [self.url], "mode": "hard", "reason": "check --edge" });
        let path = ["v1", "sites", &self.site.name, "purges"];
        let began = Instant::now();
        let answer = match self.client.post(&path, body.to_string(), Some(self.wait)).await {
            Ok(answer) => answer,
            Err(error) => {
                let advice = "The token in ORIGIN_SHIM_TOKEN needs the scope `purge` for this site.";
                return Ok(Err((format!("The purge was not accepted: {error:#}"), advice.to_owned())));
            }
        };
        let purge: Purge = answer.json()?;
        if purge.state == State::Done {
            let cdns: Vec<&str> = purge.jobs.iter().map(|job| job.cdn.as_str()).collect();
            let took = began.elapsed().as_millis();
            return Ok(Ok(format!("The page was purged from {} within {took} ms.", cdns.join(", "))));
        }
        let state = |job: &Job| {
            let message = job.attempts.last().map_or("not sent yet", |attempt| &attempt.message);
            format!("{}: {}", job.cdn, message)
        };
        let jobs: Vec<String> = purge.jobs.iter().filter(|job| job.state != State::Done).map(state).collect();
        let text = format!("The page was not purged within {} s ({}).", self.wait.as_secs(), jobs.join("; "));
        let advice =
            format!("Run `origin-shim check --credentials`, and see `origin-shim purges {}`.", purge.id);
        Ok(Err((text, advice)))
    }
}

/// Whether the response is not older than the purge.
fn is_fresh(look: &Look, purged: Instant) -> bool {
    match (look.cache(), look.visit.age()) {
        (Cache::Miss, _) => true,
        // Another visitor was faster.
        (Cache::Hit, Some(age)) => age <= purged.elapsed().as_secs(),
        _ => false,
    }
}
