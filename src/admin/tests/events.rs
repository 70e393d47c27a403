//! Server-sent events, on a clock that the test controls.

use super::*;
use crate::admin::feed;
use crate::admin::feed::poll;
use crate::admin::reload::{ReloadEvent, Reloaded};
use crate::purge::State as PurgeState;
use crate::store::{CdnKey, EndedJob, Verification};
use axum::body::Bytes;
use serde_json::Value;
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

/// A listener.
struct Stream {
    body: Body,
    text: String,
}

impl Stream {
    /// Opens the stream, and skips the health of each CDN.
    async fn open(api: &Api, token: &str, healths: usize) -> Self {
        let response = open(api, token).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut stream = Self { body: response.into_body(), text: String::new() };
        assert_eq!(stream.frame().await.unwrap(), "retry: 2000");
        for _ in 0..healths {
            assert_eq!(stream.next().await.0, "health");
        }
        stream
    }

    /// Returns the name and the data of the next event.
    async fn next(&mut self) -> (String, Value) {
        let frame = self.frame().await.expect("an event");
        let (name, data) = frame.split_once('\n').unwrap();
        let data = data.strip_prefix("data: ").unwrap();
        (name.strip_prefix("event: ").unwrap().to_owned(), serde_json::from_str(data).unwrap())
    }

    /// Returns the next frame, or `None` at the end.
    async fn frame(&mut self) -> Option<String> {
        loop {
            if let Some((frame, rest)) = self.text.split_once("\n\n") {
                let (frame, rest) = (frame.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(frame);
            }
            let bytes: Bytes = self.body.frame().await?.unwrap().into_data().unwrap();
            self.text += std::str::from_utf8(&bytes).unwrap();
        }
    }
}

async fn open(api: &Api, token: &str) -> axum::response::Response {
    let mut request = get("/v1/events", token);
    request.extensions_mut().insert(Peer(SocketAddr::from(([192, 0, 2, 1], 4711))));
    TowerToHyperService::new(router(api.state.clone())).call(request).await.unwrap()
}

fn ended(purge: &str, site: &str) -> EndedJob {
    EndedJob {
        key: CdnKey { site: site.to_owned(), cdn: "varnish".to_owned() },
        purge: purge.to_owned(),
        state: PurgeState::Done,
        purge_ended: Some(PurgeState::Done),
        since_ms: 0,
        verify: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_shows_the_life_of_a_purge() {
    let api = Api::new();
    let polling = tokio::spawn(poll::poll(api.state.clone()));
    let mut stream = Stream::open(&api, "cms", 2).await;
    let id = api.purge(r#"{"tags": ["t"], "cdns": ["varnish"]}"#).await["id"].clone();
    let (name, purge) = stream.next().await;
    assert_eq!((name.as_str(), &purge["id"], &purge["state"]), ("purge", &id, &"pending".into()));

    for state in [PurgeState::Sending, PurgeState::Retrying] {
        // The purges are polled before and after the change.
        tokio::time::sleep(Duration::from_secs(2)).await;
        api.store.end_all(state);
        let (name, job) = stream.next().await;
        assert_eq!(name, "job");
        assert_eq!((&job["purge"], &job["cdn"]), (&id, &"varnish".into()));
        assert_eq!(job["state"], crate::admin::json::state_word(state));
    }

    // The workers report the end of a job; a poll does not.
    api.store.end_all(PurgeState::Done);
    tokio::time::sleep(Duration::from_secs(5)).await;
    api.state.events.job_ended(&ended(id.as_str().unwrap(), "www"));
    let (_, job) = stream.next().await;
    assert_eq!((&job["state"], &job["purge_ended"]), (&"done".into(), &"done".into()));
    for seen in [Verification::Stale, Verification::Fresh] {
        api.store.verify_all(seen);
        let (_, job) = stream.next().await;
        assert_eq!((&job["state"], &job["verification"]), (&"done".into(), &seen.as_str().into()));
    }
    polling.abort();
}

#[tokio::test(start_paused = true)]
async fn health_is_told_at_the_start_and_when_it_changes() {
    let api = Api::new();
    let _polling = tokio::spawn(poll::poll(api.state.clone()));
    let mut stream = Stream::open(&api, "cms", 0).await;
    let (name, health) = stream.next().await;
    assert_eq!(
        (name.as_str(), &health["cdn"], &health["healthy"]),
        ("health", &"fastly".into(), &false.into())
    );
    assert_eq!(health["reasons"][0], "bad credentials (401)");
    assert_eq!(stream.next().await.1["healthy"], true);

    // A change between two polls is sent, too, because it is compared with what the listener received.
    *api.control.varnish.lock().unwrap() = vec!["the last purge call failed: 503".to_owned()];
    let (name, health) = stream.next().await;
    assert_eq!(
        (name.as_str(), &health["cdn"], &health["healthy"]),
        ("health", &"varnish".into(), &false.into())
    );
}

#[tokio::test(start_paused = true)]
async fn a_listener_hears_of_a_change_since_it_came_whatever_the_last_look_saw() {
    let api = Api::new();
    let failing = vec!["the credentials are not checked yet".to_owned()];
    *api.control.varnish.lock().unwrap() = failing.clone();
    let _polling = tokio::spawn(poll::poll(api.state.clone()));
    tokio::time::sleep(Duration::from_millis(1)).await;

    api.control.varnish.lock().unwrap().clear();
    let mut stream = Stream::open(&api, "cms", 1).await;
    assert_eq!(stream.next().await.1["healthy"], true);
    *api.control.varnish.lock().unwrap() = failing;
    assert_eq!(stream.next().await.1["healthy"], false);
}

#[tokio::test(start_paused = true)]
async fn a_stream_shows_only_the_sites_of_its_token() {
    let api = Api::new();
    let (mut cms, mut root) = (Stream::open(&api, "cms", 2).await, Stream::open(&api, "root", 3).await);
    api.state.events.job_ended(&ended("1", "shop"));
    api.state.events.reload(&ReloadEvent::of(&Ok(Reloaded::default())));
    api.state.events.job_ended(&ended("2", "www"));
    assert_eq!(cms.next().await.1["purge"], "2");
    assert_eq!(root.next().await.1["purge"], "1");
    assert_eq!(root.next().await.0, "reload");
    assert_eq!(root.next().await.1["purge"], "2");
    assert_eq!(open(&api, "button").await.status(), StatusCode::FORBIDDEN);
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_its_token() {
    let api = Api::new();
    let (mut cms, mut root) = (Stream::open(&api, "cms", 2).await, Stream::open(&api, "root", 3).await);
    let mut next = config();
    next.admin.tokens.retain(|token| token.name != "cms");
    api.state.config.store(Arc::new(next));
    api.state.events.job_ended(&ended("1", "www"));
    assert_eq!(cms.frame().await, None);
    assert_eq!(root.next().await.1["purge"], "1");
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_is_kept_alive_until_the_process_drains() {
    let api = Api::new();
    let mut stream = Stream::open(&api, "cms", 2).await;
    assert_eq!(stream.frame().await.as_deref(), Some(": keep-alive"));
    assert_eq!(stream.frame().await.as_deref(), Some(": keep-alive"));
    api.state.readiness.set_draining();
    assert_eq!(stream.frame().await, None);
}

#[tokio::test(start_paused = true)]
async fn what_others_are_told_does_not_keep_a_stream_quiet() {
    let api = Api::new();
    let mut stream = Stream::open(&api, "cms", 2).await;
    let state = api.state.clone();
    let _others = AbortOnDropHandle::new(tokio::spawn(async move {
        for number in 0.. {
            state.events.job_ended(&ended(&number.to_string(), "shop"));
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }));
    let began = tokio::time::Instant::now();
    assert_eq!(stream.frame().await.as_deref(), Some(": keep-alive"));
    assert_eq!(began.elapsed().as_secs(), 15);
}

#[tokio::test(start_paused = true)]
async fn whoever_reads_too_slowly_is_told_what_was_missed() {
    let api = Api::new();
    let mut stream = Stream::open(&api, "cms", 2).await;
    let told = 3 * feed::RING as u64;
    for index in 0..told {
        api.state.events.job_ended(&ended(&index.to_string(), "www"));
    }
    let (name, lagged) = stream.next().await;
    assert_eq!(name, "lagged");
    let missed = lagged["missed"].as_u64().unwrap();
    assert!((feed::RING as u64..told).contains(&missed), "{missed}");
    assert_eq!(stream.next().await.1["purge"], missed.to_string(), "and goes on from there");
}

#[tokio::test(start_paused = true)]
async fn streams_are_limited_and_their_places_are_given_back() {
    let api = Api::new();
    let mut streams = Vec::new();
    for _ in 0..crate::admin::limits::STREAMS_PER_TOKEN {
        streams.push(Stream::open(&api, "cms", 0).await);
    }
    let refused = open(&api, "cms").await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers().contains_key("retry-after"));
    // Other tokens have their own share.
    Stream::open(&api, "root", 0).await;
    streams.clear();
    // Each listener detects that its client is gone.
    tokio::time::sleep(Duration::from_millis(1)).await;
    Stream::open(&api, "cms", 0).await;
}
