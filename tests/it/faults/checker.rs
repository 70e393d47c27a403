//! The comparison of the accepted purges with the calls that each CDN received.
//!
//! - I1: every purge that got a 202 was received by every CDN, as itself or as a later purge of the site.
//! - I2: no CDN received anything that was not requested. The site was purged only if a purge reports that
//!   fallback.
//! - I3: no secret is in any output.
//! - I5: each duplicate has a reason: an answer that did not arrive whole, or a killed process.
//! - No call exceeded the CDN's rate, and nothing was sent again before its `Retry-After`.

use super::cdns::Cdns;
use super::client::{Asked, Client};
use crate::harness::fake_cdn::{Call, Fault, Purged};
use crate::harness::http::Request;
use crate::harness::shim::{Shim, TOKEN};
use std::collections::{HashMap, HashSet};
use std::thread;
use std::time::{Duration, Instant};

/// The tag of the whole site, to which purges fall back.
const SITE_TAG: &str = "site-www";
/// The prefix of the names that credential checks purge.
const CHECK: &str = "origin-shim-check-";
/// The wait that Akamai's documentation demands, because its answers have no `Retry-After`.
const AKAMAI_WAITS: Duration = Duration::from_secs(5);

/// The calls that one CDN received.
pub struct Receipts {
    /// The CDN's name.
    pub cdn: &'static str,
    /// Every call.
    pub calls: Vec<Call>,
    /// The start of the calls' times.
    pub started: Instant,
}

/// The comparison of the two logs.
pub struct Checker<'a> {
    /// The CDNs, with the second log.
    pub cdns: &'a Cdns,
    /// The client, with the first log.
    pub client: &'a Client,
    /// Every secret that the configuration has or had.
    pub secrets: Vec<String>,
    /// The number of times the process was killed.
    pub kills: usize,
}

impl<'a> Checker<'a> {
    /// Returns a checker with the present secrets of the CDNs.
    pub fn new(cdns: &'a Cdns, client: &'a Client) -> Self {
        let mut checker = Self { cdns, client, secrets: vec![TOKEN.to_owned()], kills: 0 };
        checker.learn_secrets();
        checker
    }

    /// Adds the present credentials to the secrets.
    pub fn learn_secrets(&mut self) {
        let cdns = self.cdns;
        self.secrets.push(cdns.fastly.change(|fastly| fastly.token.value.clone()));
        self.secrets.push(cdns.cloudflare.change(|cloudflare| cloudflare.token.clone()));
        self.secrets.push(cdns.cloudfront.change(|cloudfront| cloudfront.secret_access_key.clone()));
        self.secrets.extend(cdns.akamai.change(|akamai| {
            [akamai.client_secret.clone(), akamai.access_token.clone(), akamai.client_token.clone()]
        }));
    }

    /// Waits until every accepted purge has arrived and is done. Returns how long that took.
    pub fn wait(&self, shim: &Shim, patience: Duration) -> Duration {
        let began = Instant::now();
        loop {
            let looked = Instant::now();
            let missing = missing(&self.client.asked(), &self.cdns.receipts());
            let open: Vec<_> = ["pending", "sending", "retrying", "paused"]
                .into_iter()
                .flat_map(|state| purges(shim, state, 1))
                .collect();
            if missing.is_empty() && open.is_empty() {
                return began.elapsed();
            }
            let lost = missing.iter().take(5).collect::<Vec<_>>();
            assert!(began.elapsed() < patience, "I1: {} missing: {lost:?}; open: {open:?}", missing.len());
            // Long logs are compared less often, so that the comparison is not most of the load.
            thread::sleep(looked.elapsed().max(Duration::from_millis(25)) * 4);
        }
    }

    /// Waits in the same way, but gives up as soon as `is_well` is false.
    pub fn wait_while(&self, shim: &Shim, patience: Duration, is_well: impl Fn(&Shim) -> bool) {
        let began = Instant::now();
        while is_well(shim) {
            let missing = missing(&self.client.asked(), &self.cdns.receipts());
            if missing.is_empty() {
                return;
            }
            assert!(began.elapsed() < patience, "I1: {} missing, and all is green", missing.len());
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Checks everything else after all has arrived. Returns a line of figures.
    pub fn check(&self, shim: &Shim) -> String {
        let (asked, receipts) = (self.client.asked(), self.cdns.receipts());
        assert_eq!(missing(&asked, &receipts), [], "I1");
        assert_eq!(purges(shim, "failed", 1), [] as [serde_json::Value; 0]);
        self.no_secrets(shim);
        let mut figures = Vec::new();
        for receipts in &receipts {
            let sites = only_what_was_asked(&asked, receipts).unwrap_or_else(|broken| panic!("I2: {broken}"));
            assert!(sites == 0 || fell_back(shim, receipts.cdn), "I2: {} sites at {}", sites, receipts.cdn);
            let duplicates = self.duplicates(receipts);
            let over_rate = receipts.calls.iter().filter(|call| call.is_over_rate()).count();
            assert_eq!(over_rate, 0, "{} calls over the rate of {}", over_rate, receipts.cdn);
            if self.kills == 0 {
                waited_as_told(receipts).unwrap_or_else(|early| panic!("{early}"));
            }
            let calls = receipts.calls.iter().filter(|call| !carried(call).is_empty()).count();
            figures.push(format!("{} {calls} calls, {duplicates} duplicates, {sites} sites", receipts.cdn));
        }
        let accepted = asked.iter().filter(|asked| asked.is_accepted()).count();
        format!("{} asked, {accepted} accepted, 0 lost; {}", asked.len(), figures.join("; "))
    }

    /// Returns the number of purges that took effect more than once. Each must have a reason.
    pub fn duplicates(&self, receipts: &Receipts) -> usize {
        let mut seen: HashMap<String, (usize, usize)> = HashMap::new();
        for call in &receipts.calls {
            let arrived =
                call.fault.is_none() && call.answer.as_ref().is_some_and(|answer| !answer.broken_off);
            for purged in effects(call).filter(|purged| is_tag(&purged.name)) {
                let (times, unknown) = seen.entry(purged.name.clone()).or_default();
                *times += 1;
                *unknown += usize::from(!arrived);
            }
        }
        let mut duplicates = 0;
        for (tag, (times, unknown)) in seen {
            let most = 1 + unknown + self.kills;
            assert!(
                times <= most,
                "I5: {} got {tag} {times} times, with {unknown} answers lost",
                receipts.cdn
            );
            duplicates += times - 1;
        }
        duplicates
    }

    fn no_secrets(&self, shim: &Shim) {
        let mut outputs = vec![("log and store", shim.written())];
        for target in ["/metrics", "/readyz", "/v1/purges?limit=100", "/v1/sites", "/v1/sites/www"] {
            outputs.push((target, shim.call(Request::get(target)).body));
        }
        for (output, bytes) in outputs {
            for secret in &self.secrets {
                let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!found, "I3: {secret} in {output}");
            }
        }
    }
}

/// Returns the accepted purges that have not been received, by CDN.
fn missing(asked: &[Asked], receipts: &[Receipts]) -> Vec<(&'static str, String)> {
    let mut missing = Vec::new();
    for receipts in receipts {
        let all = || receipts.calls.iter().flat_map(|call| effects(call).map(move |item| (call.at, item)));
        let tags: HashSet<&str> = all().map(|(_, item)| item.name.as_str()).collect();
        let site = all().filter(|(_, item)| item.name == SITE_TAG).map(|(at, _)| receipts.started + at).max();
        let lost = asked
            .iter()
            .filter(|asked| asked.is_accepted())
            .filter(|asked| !tags.contains(asked.tag.as_str()) && site.is_none_or(|site| site <= asked.at));
        missing.extend(lost.map(|asked| (receipts.cdn, asked.tag.clone())));
    }
    missing
}

/// Returns how often the site was purged, or an error if something was purged that was not requested.
fn only_what_was_asked(asked: &[Asked], receipts: &Receipts) -> Result<usize, String> {
    let asked: HashSet<&str> = asked.iter().map(|asked| asked.tag.as_str()).collect();
    let mut sites = 0;
    for purged in receipts.calls.iter().flat_map(effects) {
        sites += usize::from(purged.name == SITE_TAG);
        let is_known =
            asked.contains(purged.name.as_str()) || purged.name == SITE_TAG || purged.name.starts_with(CHECK);
        if !is_known {
            return Err(format!("{} received {purged:?}", receipts.cdn));
        }
    }
    Ok(sites)
}

/// Checks that no call refused for its rate was repeated before the time that the CDN gave.
fn waited_as_told(receipts: &Receipts) -> Result<(), String> {
    let mut not_before: HashMap<String, Duration> = HashMap::new();
    for call in &receipts.calls {
        for tag in carried(call) {
            if let Some(moment) = not_before.get(&tag).filter(|moment| call.at < **moment) {
                return Err(format!("{}: {tag} at {:?}, not before {moment:?}", receipts.cdn, call.at));
            }
        }
        let wait = match &call.answer {
            Some(answer) if call.status() == Some(429) => {
                let header = answer.headers.iter().find(|(name, _)| *name == "retry-after");
                let seconds = header.map(|(_, value)| Duration::from_secs(value.parse().unwrap()));
                seconds.or((receipts.cdn == "akamai").then_some(AKAMAI_WAITS))
            }
            _ => None,
        };
        not_before.extend(
            wait.into_iter().flat_map(|wait| carried(call).into_iter().map(move |tag| (tag, call.at + wait))),
        );
    }
    Ok(())
}

/// Returns the purges that took effect by a call.
fn effects(call: &Call) -> impl Iterator<Item = &Purged> {
    call.answer.iter().flat_map(|answer| &answer.purged)
}

/// Returns the tags that a call contained, whatever its result.
pub fn carried(call: &Call) -> Vec<String> {
    let keys = call.headers.get_all("xkey-purge").iter().filter_map(|keys| keys.to_str().ok());
    let text = keys.fold(String::from_utf8_lossy(&call.body).into_owned(), |text, keys| text + " " + keys);
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    words.filter(|word| is_tag(word)).map(str::to_owned).collect()
}

fn is_tag(name: &str) -> bool {
    name.starts_with("tag-")
}

/// Returns purges in this state.
fn purges(shim: &Shim, state: &str, limit: usize) -> Vec<serde_json::Value> {
    let answer = shim.call(Request::get(&format!("/v1/purges?state={state}&limit={limit}")));
    answer.json()["purges"].as_array().unwrap().clone()
}

/// Whether a purge reports that it fell back at this CDN.
fn fell_back(shim: &Shim, cdn: &str) -> bool {
    let mut target = "/v1/purges?limit=100".to_owned();
    loop {
        let page = shim.call(Request::get(&target)).json();
        let jobs =
            page["purges"].as_array().unwrap().iter().flat_map(|purge| purge["jobs"].as_array().unwrap());
        if jobs.into_iter().any(|job| job["cdn"] == cdn && job["fallback"] != serde_json::json!([])) {
            return true;
        }
        let Some(cursor) = page["next_cursor"].as_str() else { return false };
        target = format!("/v1/purges?limit=100&cursor={cursor}");
    }
}

impl std::fmt::Debug for Receipts {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} calls at {}", self.calls.len(), self.cdn)
    }
}

#[test]
fn the_checker_finds_what_is_wrong() {
    use crate::harness::fake_cdn::{Answer, Kind};
    let started = Instant::now();
    let asked = |tag: &str, status| Asked { tag: tag.into(), at: started, status };
    let call = |at_ms, names: &[&str], status, fault| Call {
        at: Duration::from_millis(at_ms),
        method: "POST".into(),
        target: "/".into(),
        headers: http::HeaderMap::new(),
        body: names.join(",").into(),
        answer: Some(Answer::new(status, "").with("retry-after", 1).purging(if status == 200 {
            Purged::all(Kind::Tag, true, names.to_vec())
        } else {
            vec![]
        })),
        fault,
    };
    let receipts = |calls| Receipts { cdn: "fastly", calls, started };

    let log = [asked("tag-1", Some(202)), asked("tag-2", None), asked("tag-3", Some(202))];
    let got = [receipts(vec![call(10, &["tag-1", "tag-2"], 200, None), call(20, &["tag-3"], 429, None)])];
    assert_eq!(missing(&log, &got), [("fastly", "tag-3".to_owned())]);
    assert_eq!(only_what_was_asked(&log, &got[0]), Ok(0));
    let site = [receipts(vec![call(10, &[SITE_TAG], 200, None)])];
    assert_eq!((missing(&log, &site), only_what_was_asked(&log, &site[0])), (vec![], Ok(1)));
    assert!(only_what_was_asked(&log[..1], &got[0]).is_err());

    let again = |at_ms| {
        receipts(vec![call(20, &["tag-3"], 429, Some(Fault::TooMany)), call(at_ms, &["tag-3"], 200, None)])
    };
    assert!(waited_as_told(&again(1_019)).is_err());
    assert!(waited_as_told(&again(1_020)).is_ok());
}
