//! The decisions of the shim while a page was visited, by the difference of its counters. Other visitors of the
//! site are counted, too. The difference therefore proves only that a decision was not made, or that it was the
//! only one.

use crate::rewrite::{Outcome, Reason};
use std::collections::BTreeMap;

/// The number of times that each decision was made for a site.
pub type Counters = BTreeMap<(String, String), u64>;

/// Reads the decisions of `site` so far from the metrics in OpenMetrics text.
pub fn read(metrics: &str, site: &str) -> Counters {
    let mut counters = Counters::new();
    for line in metrics.lines() {
        let Some(rest) = line.strip_prefix("origin_shim_requests_total{") else { continue };
        let Some((labels, value)) = rest.rsplit_once("} ") else { continue };
        let label = |name: &str| {
            let start = format!("{name}=\"");
            let (before, rest) = labels.split_once(&start)?;
            let is_whole_name = before.is_empty() || before.ends_with(',');
            is_whole_name.then(|| rest.split('"').next().unwrap_or_default().to_owned())
        };
        let count = value.split(' ').next().and_then(|value| value.parse::<f64>().ok());
        let (Some(of), Some(decision), Some(reason), Some(count)) =
            (label("site"), label("decision"), label("reason"), count)
        else {
            continue;
        };
        if of == site {
            *counters.entry((decision, reason)).or_default() += count as u64;
        }
    }
    counters
}

/// Returns the decisions that were made in between.
pub fn between(before: &Counters, after: &Counters) -> Vec<(String, String)> {
    let grew = |key: &&(String, String)| after.get(*key) > before.get(*key);
    after.keys().filter(grew).cloned().collect()
}

/// The conclusion about the opt-in from the decisions.
#[derive(Debug, PartialEq, Eq)]
pub enum OptIn {
    /// The shim saw no request at all.
    NoRequest,
    /// The opt-in was seen, and this decision was made, with its reason.
    Seen(Outcome, Reason),
    /// No opt-in was seen, or none that is trusted.
    NotSeen(Reason),
    /// There were other visitors, so nothing can be concluded.
    Mixed,
}

/// Judges the decisions that were made while one page was visited.
pub fn judge(decisions: &[(String, String)]) -> OptIn {
    let mut opted_in = None;
    let mut refused = None;
    for (decision, reason) in decisions {
        let Some(outcome) = Outcome::ALL.into_iter().find(|outcome| outcome.as_str() == decision) else {
            continue;
        };
        let Some(reason) = Reason::ALL.into_iter().find(|known| known.as_str() == reason) else { continue };
        match reason {
            Reason::NotOptedIn | Reason::OptInUntrusted | Reason::OptInMalformed | Reason::NoCdn => {
                refused = Some(reason);
            }
            // These reasons reveal nothing about the request.
            Reason::ModeOff | Reason::ModeObserve | Reason::ShimError => {}
            _ => opted_in = Some((outcome, reason)),
        }
    }
    match (opted_in, refused) {
        (Some((outcome, reason)), None) => OptIn::Seen(outcome, reason),
        (None, Some(reason)) => OptIn::NotSeen(reason),
        (None, None) if decisions.is_empty() => OptIn::NoRequest,
        _ => OptIn::Mixed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = "# TYPE origin_shim_requests counter\n\
        origin_shim_requests_total{site=\"www\",status=\"2xx\",decision=\"lengthened\",reason=\"ttl-table\"} 3\n\
        origin_shim_requests_total{site=\"www\",status=\"3xx\",decision=\"lengthened\",reason=\"ttl-table\"} 1\n\
        origin_shim_requests_total{site=\"other\",status=\"2xx\",decision=\"untouched\",reason=\"vary\"} 9\n\
        origin_shim_requests_total{site=\"www\",status=\"2xx\",decision=\"untouched\",reason=\"not-opted-in\"} 2\n\
        origin_shim_requests_in_flight 0\n# EOF\n";

    fn pair(decision: &str, reason: &str) -> (String, String) {
        (decision.to_owned(), reason.to_owned())
    }

    #[test]
    fn counters_of_one_site() {
        let counters = read(METRICS, "www");
        let expected = [(pair("lengthened", "ttl-table"), 4), (pair("untouched", "not-opted-in"), 2)];
        assert_eq!(counters, expected.into_iter().collect());
        let later = read(&METRICS.replace("\"not-opted-in\"} 2", "\"not-opted-in\"} 3"), "www");
        assert_eq!(between(&counters, &later), [pair("untouched", "not-opted-in")]);
        assert!(between(&later, &later).is_empty());
        assert_eq!(between(&Counters::new(), &counters).len(), 2);
        assert!(read("<html>", "www").is_empty());
    }

    #[test]
    fn what_decisions_say() {
        let check = |decisions: &[(&str, &str)], expected: OptIn| {
            let decisions: Vec<_> =
                decisions.iter().map(|(decision, reason)| pair(decision, reason)).collect();
            assert_eq!(judge(&decisions), expected, "{decisions:?}");
        };
        let lengthened = ("lengthened", "ttl-table");
        check(&[], OptIn::NoRequest);
        check(&[lengthened], OptIn::Seen(Outcome::Lengthened, Reason::TtlTable));
        check(&[("fallback", "purging-unhealthy")], OptIn::Seen(Outcome::Fallback, Reason::PurgingUnhealthy));
        check(&[("untouched", "set-cookie")], OptIn::Seen(Outcome::Untouched, Reason::SetCookie));
        check(&[("untouched", "not-opted-in")], OptIn::NotSeen(Reason::NotOptedIn));
        check(&[lengthened, ("untouched", "not-opted-in")], OptIn::Mixed);
        check(&[("untouched", "mode-off")], OptIn::Mixed);
        check(&[("brand", "new")], OptIn::Mixed);
    }
}
