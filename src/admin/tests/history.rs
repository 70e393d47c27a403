//! The recent past of a site.

use super::*;
use crate::rewrite::{Decision, Outcome, Reason};

#[tokio::test]
async fn the_past_of_a_site_is_shown_in_points() {
    let api = Api::new();
    let (metrics, now_ms) = (&api.state.metrics, api.state.freshness.clock.now_ms());
    let history = &metrics.history;
    let before = api.call(get("/v1/sites/www/history", "cms")).await.json();
    assert_eq!((&before["since"], &before["points"]), (&serde_json::Value::Null, &serde_json::json!([])));

    history.sample(now_ms - 20_000);
    let decision = Decision { outcome: Outcome::Fallback, reason: Reason::TtlTable };
    metrics.site("www").shard(0).request(200, decision, Duration::from_millis(9));
    api.purge(r#"{"tags": ["t"]}"#).await;
    metrics.publish_to_purged("www", "varnish", Duration::from_millis(300));
    history.sample(now_ms - 10_000);
    history.sample(now_ms);

    let past = api.call(get("/v1/sites/www/history?window=10m", "cms")).await.json();
    assert_eq!((&past["window_seconds"], &past["step_seconds"]), (&600.into(), &10.into()));
    let points = past["points"].as_array().unwrap();
    assert_eq!(points.len(), 1, "{past}");
    let mut point = points[0].clone();
    point["at"].take();
    let expected = serde_json::json!({
        "at": null,
        "seconds": 10.0,
        "requests": { "lengthened": 0, "untouched": 0, "fallback": 1, "guarded": 0 },
        "origin": { "responses": 0, "p50_ms": null, "p99_ms": null },
        "purges": 1,
        "purges_failed": 0,
        "lag_to_accepted": { "count": 1, "mean_ms": 300, "max_ms": 300 },
        "lag_to_verified": { "count": 0, "mean_ms": null, "max_ms": null },
    });
    assert_eq!(point, expected);
    let day = api.call(get("/v1/sites/www/history?window=24h", "cms")).await.json();
    assert_eq!(day["step_seconds"], 60);
}

#[tokio::test]
async fn a_wrong_window_or_site_is_refused() {
    let api = Api::new();
    for (path, status) in [
        ("/v1/sites/www/history?window=25h", StatusCode::BAD_REQUEST),
        ("/v1/sites/www/history?window=9s", StatusCode::BAD_REQUEST),
        ("/v1/sites/www/history?window=hour", StatusCode::BAD_REQUEST),
        ("/v1/sites/www/history?windows=1h", StatusCode::BAD_REQUEST),
        ("/v1/sites/shop/history", StatusCode::FORBIDDEN),
    ] {
        assert_eq!(api.call(get(path, "cms")).await.status, status, "{path}");
    }
    assert_eq!(api.call(get("/v1/sites/none/history", "root")).await.status, StatusCode::NOT_FOUND);
}
