//! `Prefer: wait=SECONDS` (RFC 7240): the caller prefers the result of its purge to an immediate answer.

use super::control::Control;
use super::readiness::Readiness;
use crate::purge::State;
use crate::store::{PurgeView, Store};
use axum::http::HeaderMap;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The longest wait, to which longer ones are cut, because intermediaries do not keep connections open forever.
const LONGEST: Duration = Duration::from_secs(300);
/// The longest pause between two queries to the store. A bulk publish settles often, and each query has a cost.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Returns how long the caller would wait. The first `wait` takes effect. A value that is not a number is ignored,
/// as RFC 7240 §2 specifies for preferences that are not understood.
pub(super) fn preferred(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let wait = values.flat_map(|value| value.split(',')).find_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"'))
    })?;
    let digits = !wait.is_empty() && wait.bytes().all(|byte| byte.is_ascii_digit());
    // A number with more digits than fit is a very long time.
    digits.then(|| wait.parse().map_or(LONGEST, Duration::from_secs).min(LONGEST))
}

/// Returns the purge, as in a list, when every job has ended. It returns earlier, with the last known state, if
/// the time is up, the process begins to drain, the store fails, or nothing of the purge can move before a CDN is
/// resumed.
pub(super) async fn until_ended(
    store: &dyn Store,
    control: &dyn Control,
    readiness: &Readiness,
    id: &str,
    wait: Duration,
) -> Option<PurgeView> {
    let deadline = Instant::now() + wait;
    let mut changes = control.changes();
    let mut pause = Duration::ZERO;
    let mut seen = None;
    loop {
        // Marked before the query, so that a change during it is not missed.
        changes.mark_unchanged();
        let looked = Instant::now();
        match store.glance(id.to_owned()).await {
            Ok(view) => seen = view,
            Err(error) => {
                tracing::warn!(id, error = %error, "cannot query the state of a purge");
                return seen;
            }
        }
        if seen.as_ref().is_none_or(|purge| has_ended(purge) || is_paused(purge)) {
            return seen;
        }
        let next_look = async {
            changed(&mut changes).await;
            tokio::time::sleep_until(looked + pause).await;
        };
        tokio::select! {
            () = next_look => pause = (pause * 2).clamp(Duration::from_millis(50), LONGEST_PAUSE),
            () = tokio::time::sleep_until(deadline) => return seen,
            () = readiness.draining() => return seen,
        }
    }
}

/// Whether nothing of the purge is in progress any more.
pub(super) fn has_ended(purge: &PurgeView) -> bool {
    purge.jobs.iter().all(|job| job.state.is_end())
}

/// Whether every unfinished job waits for a paused CDN, which may take days.
fn is_paused(purge: &PurgeView) -> bool {
    purge.jobs.iter().all(|job| job.state.is_end() || job.state == State::Paused)
}

/// Waits for a change. After the delivery tasks have ended there is none, so the wait never ends.
async fn changed(changes: &mut watch::Receiver<u64>) {
    if changes.changed().await.is_err() {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: &[&str], seconds: Option<u64>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("prefer", value.parse().unwrap());
        }
        assert_eq!(preferred(&headers), seconds.map(Duration::from_secs), "{values:?}");
    }

    #[test]
    fn wait_is_found_among_preferences() {
        check(&[], None);
        check(&["wait=10"], Some(10));
        check(&["respond-async, wait=10"], Some(10));
        check(&["respond-async", "Wait = \"7\"; x=y"], Some(7));
        check(&["wait=1, wait=2"], Some(1));
        check(&["wait=0"], Some(0));
        check(&["wait=301"], Some(300));
        check(&["wait=99999999999999999999999"], Some(300));
        check(&["wait=-1"], None);
        check(&["wait=+1"], None);
        check(&["wait=1.5"], None);
        check(&["wait="], None);
        check(&["wait"], None);
        check(&["await=10"], None);
    }
}
