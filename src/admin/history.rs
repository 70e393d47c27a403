//! `GET /v1/sites/{site}/history`: the recent past of a site, as this instance saw it.

use super::caller::Caller;
use super::extract::{Query, Segment};
use super::json::rfc3339;
use super::problem::{Kind, Problem};
use super::state::State;
use crate::config::duration;
use crate::guard::{Clock, wall_ms};
use crate::metrics::Metrics;
use crate::metrics::history::{COARSE, FINE, Lag, Past, Point, STEP};
use axum::extract;
use axum::response::Json;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// The query of `GET /v1/sites/{site}/history`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryQuery {
    /// How far to look back, such as `10m`, `1h` (the default) or `24h` (the most).
    window: Option<String>,
}

/// The recent past of a site, since this process started. It is kept in memory.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct History {
    /// The site's name.
    pub site: String,
    /// How far the answer looks back, in seconds.
    pub window_seconds: u64,
    /// The time that a point covers, in seconds: 10 in a window of at most an hour, otherwise 60.
    pub step_seconds: u64,
    /// Since when this process counts, RFC 3339; null before the first sample.
    pub since: Option<String>,
    /// The last sample, RFC 3339; null before it. Samples are taken every 10 seconds.
    pub until: Option<String>,
    /// The points, oldest first. Times in which nothing happened have no point.
    pub points: Vec<HistoryPoint>,
}

/// What happened at a site during a short time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryPoint {
    /// The end of that time, RFC 3339.
    pub at: String,
    /// The length of that time, in seconds.
    pub seconds: f64,
    /// The number of requests by decision.
    pub requests: Decisions,
    /// The responses of the origin.
    pub origin: OriginLatency,
    /// The number of purges that were accepted.
    pub purges: u32,
    /// The number of purges that failed.
    pub purges_failed: u32,
    /// From the acceptance of a purge to the CDN's acceptance of its last item, for each job that was done.
    pub lag_to_accepted: LagJson,
    /// From the acceptance of a purge to the check that found no older copy at the CDN, for each verified job.
    pub lag_to_verified: LagJson,
}

/// The number of requests by what was decided for their response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Decisions {
    /// The response got its long lifetime.
    pub lengthened: u32,
    /// The caching fields stayed as the origin sent them.
    pub untouched: u32,
    /// The response got a short lifetime or none.
    pub fallback: u32,
    /// A purge was under way that may concern the response, so the CDN may keep it for a moment only.
    pub guarded: u32,
}

/// How long the origin took until the head of its response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OriginLatency {
    /// The number of responses.
    pub responses: u32,
    /// The median, in milliseconds; estimated from a histogram, null without responses.
    pub p50_ms: Option<f64>,
    /// The 99th percentile, in milliseconds; estimated likewise.
    pub p99_ms: Option<f64>,
}

/// How long something took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Lag")]
pub struct LagJson {
    /// How often it happened.
    pub count: u32,
    /// The mean, in milliseconds; null if it did not happen.
    pub mean_ms: Option<u32>,
    /// The longest, in milliseconds.
    pub max_ms: Option<u32>,
}

/// `GET /v1/sites/{site}/history`
pub(super) async fn get(
    extract::State(state): extract::State<Arc<State>>,
    extract::Extension(caller): extract::Extension<Caller>,
    Segment(site): Segment,
    Query(HistoryQuery { window }): Query<HistoryQuery>,
) -> Result<Json<History>, Problem> {
    caller.require_site(&site)?;
    let site = caller.site(&site)?;
    let window = match window {
        None => FINE,
        Some(text) => {
            duration::parse(&text).ok().filter(|window| (STEP..=COARSE).contains(window)).ok_or_else(
                || Problem::new(Kind::BadRequest, "`window` must be from `10s` to `24h`, such as `1h`."),
            )?
        }
    };
    let past = state.metrics.history.of(&site.name, window);
    Ok(Json(show(&site.name, window, past, state.freshness.clock)))
}

fn show(site: &str, window: Duration, past: Past, clock: Clock) -> History {
    // The clock of the samples never goes back. Readers compare the times with those of their own clocks.
    let ahead_ms = wall_ms().saturating_sub(clock.now_ms());
    let time = |at_ms: i64| rfc3339(at_ms.saturating_add(ahead_ms));
    History {
        site: site.to_owned(),
        window_seconds: window.as_secs(),
        step_seconds: past.step.as_secs(),
        since: past.first_ms.map(time),
        until: past.last_ms.map(time),
        points: past.points.iter().map(|point| HistoryPoint { at: time(point.at_ms), ..of(point) }).collect(),
    }
}

fn of(point: &Point) -> HistoryPoint {
    let [lengthened, untouched, fallback, guarded] = point.requests;
    let ms = |micros: u32| (point.answers > 0).then_some(f64::from(micros / 10) / 100.0);
    HistoryPoint {
        at: String::new(),
        seconds: f64::from(point.span_ms) / 1_000.0,
        requests: Decisions { lengthened, untouched, fallback, guarded },
        origin: OriginLatency {
            responses: point.answers,
            p50_ms: ms(point.p50_micros),
            p99_ms: ms(point.p99_micros),
        },
        purges: point.purges,
        purges_failed: point.failed,
        lag_to_accepted: lag(point.purged),
        lag_to_verified: lag(point.verified),
    }
}

fn lag(Lag { count, sum_ms, max_ms }: Lag) -> LagJson {
    LagJson { count, mean_ms: sum_ms.checked_div(count), max_ms: (count > 0).then_some(max_ms) }
}

/// Takes the samples of the history, as long as the control plane lives. No sample is made up for one that came late:
/// the next point covers the whole time.
pub async fn record(metrics: Arc<Metrics>, clock: Clock) {
    let mut ticks = interval(STEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last_ms = i64::MIN;
    loop {
        ticks.tick().await;
        last_ms = last_ms.max(clock.now_ms());
        metrics.history.sample(last_ms);
    }
}
