use super::*;
use crate::metrics::Metrics;
use crate::rewrite::{Decision, Reason};

const LENGTHENED: Decision = Decision { outcome: Outcome::Lengthened, reason: Reason::TtlTable };

fn serve(metrics: &Metrics, times: usize) {
    let site = metrics.site("www");
    for _ in 0..times {
        site.shard(0).origin_answered(Duration::from_millis(20));
        site.shard(1).request(200, LENGTHENED, Duration::from_millis(21));
    }
}

fn requests(past: &Past) -> Vec<(i64, u32, u32)> {
    past.points.iter().map(|point| (point.at_ms, point.span_ms, point.requests[0])).collect()
}

#[test]
fn a_point_holds_what_happened_since_the_sample_before() {
    let metrics = Metrics::new(2);
    metrics.history.sample(1_000_000);
    serve(&metrics, 3);
    metrics.purge("www", "pending");
    metrics.purge("www", "failed");
    metrics.publish_to_purged("www", "edge", Duration::from_millis(400));
    metrics.publish_to_purged("www", "edge", Duration::from_millis(200));
    metrics.publish_to_verified("www", "edge", Duration::from_secs(2));
    metrics.history.sample(1_010_000);
    metrics.history.sample(1_020_000);
    let past = metrics.history.of("www", FINE);
    let [point] = past.points[..] else { panic!("{past:?}") };
    // All three answers are in the bucket from 10 to 25 ms.
    assert_eq!((point.answers, point.p50_micros, point.p99_micros), (3, 17_500, 24_850));
    assert_eq!((point.at_ms, point.span_ms, point.requests), (1_010_000, 10_000, [3, 0, 0, 0]));
    assert_eq!((point.purges, point.failed), (1, 1));
    assert_eq!(point.purged, Lag { count: 2, sum_ms: 600, max_ms: 400 });
    assert_eq!(point.verified, Lag { count: 1, sum_ms: 2_000, max_ms: 2_000 });
    assert_eq!((past.first_ms, past.last_ms), (Some(1_000_000), Some(1_020_000)));
    assert_eq!(metrics.history.of("other", FINE).points, []);
}

#[test]
fn minutes_hold_all_of_their_samples() {
    let metrics = Metrics::new(2);
    metrics.history.sample(0);
    for at_ms in (10_000..=180_000).step_by(10_000) {
        // Nothing happens in the second minute, and not at the end of the first one.
        if at_ms <= 30_000 || at_ms > 120_000 {
            serve(&metrics, 1);
        }
        metrics.history.sample(at_ms);
    }
    let day = metrics.history.of("www", COARSE);
    assert_eq!(requests(&day), [(60_000, 60_000, 3), (180_000, 60_000, 6)]);
    assert_eq!(day.points[0].answers, 3);
    assert_eq!(metrics.history.of("www", FINE).points.len(), 9);
    assert_eq!(requests(&metrics.history.of("www", Duration::from_secs(20))).len(), 2);
}

#[test]
fn rings_are_bounded_and_forget_idle_sites() {
    let metrics = Metrics::new(2);
    metrics.history.sample(0);
    let step = milliseconds(STEP);
    for sample in 1..=9_000 {
        serve(&metrics, 1);
        metrics.purge("www", "pending");
        metrics.history.sample(sample * step);
    }
    let history = &metrics.history;
    assert_eq!((history.of("www", FINE).points.len(), history.of("www", COARSE).points.len()), (360, 1_440));
    // A day without requests.
    (9_001..=17_700).for_each(|sample| history.sample(sample * step));
    assert_eq!((history.of("www", FINE).points, history.of("www", COARSE).points), (vec![], vec![]));
}

#[test]
fn only_so_many_sites_are_kept_at_a_time() {
    let metrics = Metrics::new(1);
    metrics.history.sample(0);
    (0..SITES + 5).for_each(|site| metrics.purge(&format!("{site:04}"), "pending"));
    metrics.history.sample(10_000);
    let has_points = |site: usize| !metrics.history.of(&format!("{site:04}"), FINE).points.is_empty();
    assert!(has_points(SITES - 1) && !has_points(SITES));
}

#[test]
fn quantiles_lie_within_their_bucket() {
    let mut buckets = [0; BUCKETS];
    assert_eq!(quantile(&buckets, 0.5), 0);
    buckets[0] = 4;
    assert_eq!(quantile(&buckets, 0.5), 500);
    buckets[BUCKETS - 1] = 96;
    assert_eq!(quantile(&buckets, 0.5), 60_000_000);
}
