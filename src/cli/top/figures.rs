//! The figures of one site, from its history and its CDNs. They are those of the console's overview.

use crate::admin::history::{Decisions, History, HistoryPoint, LagJson};
use serde::{Deserialize, Serialize};

/// The time over which rates are taken, in seconds.
const RECENT_SECONDS: f64 = 60.0;

/// A site, as `GET /v1/sites` lists it.
#[derive(Clone, Debug, Deserialize)]
pub struct Site {
    /// The site's name.
    pub name: String,
    /// `on`, `observe` or `off`.
    pub mode: String,
    /// The CDNs of the site.
    pub cdns: Vec<Cdn>,
}

/// A CDN of a site.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cdn {
    /// The CDN's name.
    pub name: String,
    /// Whether purges are known to reach it.
    pub healthy: bool,
    /// Why it is not healthy.
    pub reasons: Vec<String>,
    /// The number of items that it has not accepted yet; nothing while the store is unavailable.
    pub pending: Option<u64>,
    /// The age of the oldest unfinished job, in seconds.
    pub oldest_pending_seconds: Option<i64>,
    /// Whether sending is paused; nothing while the store is unavailable.
    pub paused: Option<bool>,
}

/// What happens at a site.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// The site's name.
    pub site: String,
    /// `on`, `observe` or `off`.
    pub mode: String,
    /// In the last minute; nothing if the history of the site is not known.
    pub now: Option<Now>,
    /// The CDNs of the site.
    pub cdns: Vec<Cdn>,
}

/// What happened at a site in the last minute, and with its purges in the last hour.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Now {
    /// Requests a second.
    pub requests_per_second: f64,
    /// Requests a second by decision.
    pub by_decision: ByDecision,
    /// The share of the requests whose response got its long lifetime, 0 to 1; nothing without requests.
    pub lengthened_share: Option<f64>,
    /// The origin's median time until the head of its response, in milliseconds.
    pub origin_p50_ms: Option<f64>,
    /// The 99th percentile of that time.
    pub origin_p99_ms: Option<f64>,
    /// The purges of the last hour.
    pub purges: u64,
    /// How many of the last hour failed.
    pub purges_failed: u64,
    /// The mean time from a purge to its acceptance by the CDN in the last hour, in milliseconds.
    pub lag_to_accepted_ms: Option<f64>,
    /// The mean time until copies were seen to be fresh.
    pub lag_to_verified_ms: Option<f64>,
}

/// Requests a second, by what was decided for their response.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ByDecision {
    /// The response got its long lifetime.
    pub lengthened: f64,
    /// The response stayed as the origin sent it.
    pub untouched: f64,
    /// The response got a short lifetime or none.
    pub fallback: f64,
    /// The response may be kept for a moment only, because of a purge.
    pub guarded: f64,
}

impl Figures {
    /// Combines what the admin API tells of a site.
    pub fn of(site: Site, history: Option<&History>) -> Self {
        Self { site: site.name, mode: site.mode, now: history.map(Now::of), cdns: site.cdns }
    }
}

impl Now {
    fn of(history: &History) -> Self {
        let time = |text: &Option<String>| text.as_deref().and_then(|text| text.parse().ok());
        let (since, until): (Option<jiff::Timestamp>, Option<jiff::Timestamp>) =
            (time(&history.since), time(&history.until));
        let age = |at: jiff::Timestamp| until.map_or(0.0, |until| until.duration_since(at).as_secs_f64());
        let is_recent = |point: &&HistoryPoint| {
            point.at.parse().is_ok_and(|at: jiff::Timestamp| age(at) < RECENT_SECONDS)
        };
        let recent: Vec<&HistoryPoint> = history.points.iter().filter(is_recent).collect();
        // A process that has just started has not counted for a minute yet.
        let seconds = since.map_or(RECENT_SECONDS, age).clamp(1.0, RECENT_SECONDS);
        let count = |of: fn(&Decisions) -> u32| {
            recent.iter().map(|point| f64::from(of(&point.requests))).sum::<f64>()
        };
        let counts = [
            count(|decisions| decisions.lengthened),
            count(|decisions| decisions.untouched),
            count(|decisions| decisions.fallback),
            count(|decisions| decisions.guarded),
        ];
        let all: f64 = counts.iter().sum();
        let [lengthened, untouched, fallback, guarded] = counts.map(|count| count / seconds);
        let answered = || recent.iter().map(|point| &point.origin).filter(|origin| origin.responses > 0);
        let p50s = answered().filter_map(|origin| Some((f64::from(origin.responses), origin.p50_ms?)));
        Self {
            requests_per_second: all / seconds,
            by_decision: ByDecision { lengthened, untouched, fallback, guarded },
            lengthened_share: (all > 0.0).then(|| counts[0] / all),
            origin_p50_ms: mean(p50s),
            origin_p99_ms: answered().filter_map(|origin| origin.p99_ms).reduce(f64::max),
            purges: history.points.iter().map(|point| u64::from(point.purges)).sum(),
            purges_failed: history.points.iter().map(|point| u64::from(point.purges_failed)).sum(),
            lag_to_accepted_ms: mean_lag(history, |point| &point.lag_to_accepted),
            lag_to_verified_ms: mean_lag(history, |point| &point.lag_to_verified),
        }
    }
}

fn mean_lag(history: &History, of: impl Fn(&HistoryPoint) -> &LagJson) -> Option<f64> {
    mean(
        history.points.iter().map(of).filter_map(|lag| Some((f64::from(lag.count), f64::from(lag.mean_ms?)))),
    )
}

/// Returns the mean of values with their weights.
fn mean(values: impl Iterator<Item = (f64, f64)>) -> Option<f64> {
    let (weights, sum) =
        values.fold((0.0, 0.0), |(weights, sum), (weight, value)| (weights + weight, sum + weight * value));
    (weights > 0.0).then(|| sum / weights)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use serde_json::json;

    /// A history of three points, of which the first is older than a minute.
    pub fn history() -> History {
        let point = |at: &str, lengthened: u32, responses: u32, p50: f64, purges: u32| {
            let lag = |count: u32, mean: u32| json!({ "count": count, "mean_ms": mean, "max_ms": mean });
            json!({
                "at": at, "seconds": 10.0,
                "requests": { "lengthened": lengthened, "untouched": 0, "fallback": 10, "guarded": 0 },
                "origin": { "responses": responses, "p50_ms": p50, "p99_ms": p50 * 10.0 },
                "purges": purges, "purges_failed": 0,
                "lag_to_accepted": lag(purges, 20 * purges),
                "lag_to_verified": json!({ "count": 0, "mean_ms": null, "max_ms": null }),
            })
        };
        let history = json!({
            "site": "www", "window_seconds": 3600, "step_seconds": 10,
            "since": "2026-01-01T00:00:00Z", "until": "2026-01-01T00:10:00Z",
            "points": [
                point("2026-01-01T00:08:59Z", 10_000, 1_000, 900.0, 3),
                point("2026-01-01T00:09:30Z", 390, 30, 2.0, 1),
                point("2026-01-01T00:10:00Z", 190, 10, 6.0, 0),
            ],
        });
        serde_json::from_value(history).unwrap()
    }

    #[test]
    fn rates_are_those_of_the_last_minute_and_purges_those_of_the_window() {
        let now = Now::of(&history());
        let expected = Now {
            requests_per_second: 10.0,
            by_decision: ByDecision {
                lengthened: 580.0 / 60.0,
                untouched: 0.0,
                fallback: 20.0 / 60.0,
                guarded: 0.0,
            },
            lengthened_share: Some(580.0 / 600.0),
            origin_p50_ms: Some(3.0),
            origin_p99_ms: Some(60.0),
            purges: 4,
            purges_failed: 0,
            lag_to_accepted_ms: Some((3.0 * 60.0 + 20.0) / 4.0),
            lag_to_verified_ms: None,
        };
        assert_eq!(now, expected);
    }

    #[test]
    fn a_process_that_has_just_started_counts_for_less_than_a_minute() {
        let mut history = History { since: Some("2026-01-01T00:09:50Z".to_owned()), ..history() };
        history.points.drain(..2);
        assert_eq!(Now::of(&history).requests_per_second, 20.0);

        let silent = History { since: None, until: None, points: Vec::new(), ..history };
        let now = Now::of(&silent);
        assert_eq!((now.requests_per_second, now.lengthened_share, now.origin_p99_ms), (0.0, None, None));
    }
}
