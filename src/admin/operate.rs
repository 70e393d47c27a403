//! Calls for operators: retry, acknowledge or cancel a purge; pause and resume a CDN; reload the configuration.

use super::ask::{ask, commit};
use super::caller::{Caller, Peer};
use super::extract::{Segment, optional_json};
use super::json::{Extent, Purge, state_word};
use super::problem::{BadItem, Kind, Problem};
use super::reload::{NotReloaded, ReloadRequest, Reloaded};
use super::state::State;
use super::{audit, purges, sites};
use crate::guard::wall_ms;
use crate::purge::{State as PurgeState, is_too_long};
use crate::store::{CdnKey, EndedJob, HURRIED, PausedBy, PurgeView};
use crate::telemetry::Place;
use axum::body::Body;
use axum::extract;
use axum::response::Json;
use schemars::JsonSchema;
use serde::Deserialize;
use std::net::SocketAddr;
use std::sync::Arc;

/// `POST /v1/purges/{id}/retry`
pub(super) async fn retry(
    extract::State(state): extract::State<Arc<State>>,
    extract::Extension(caller): extract::Extension<Caller>,
    extract::Extension(Peer(peer)): extract::Extension<Peer>,
    Segment(id): Segment,
) -> Result<Json<Purge>, Problem> {
    let purge = purges::visible(&state, &caller, &id).await?;
    let store = state.store()?.clone();
    let act = Act { state: state.clone(), caller, peer, purge, place: audit::place().await? };
    commit("put the purge back in the queue", async move {
        let jobs = store.retry(act.purge.id.clone(), act.state.freshness.clock.steady_ms()).await?;
        if jobs > 0 {
            act.done("purge retried");
        }
        Ok(jobs)
    })
    .await
    .and_then(|jobs| if jobs > 0 { Ok(()) } else { Err(wrong("None of the purge's jobs has failed.")) })?;
    show(&state, &id).await
}

/// `POST /v1/purges/{id}/acknowledge`
pub(super) async fn acknowledge(
    extract::State(state): extract::State<Arc<State>>,
    extract::Extension(caller): extract::Extension<Caller>,
    extract::Extension(Peer(peer)): extract::Extension<Peer>,
    Segment(id): Segment,
) -> Result<Json<Purge>, Problem> {
    let purge = purges::visible(&state, &caller, &id).await?;
    if purge.jobs.iter().all(|job| job.state != PurgeState::Failed) {
        return Err(wrong("None of the purge's jobs has failed."));
    }
    let store = state.store()?.clone();
    let act = Act { state: state.clone(), caller, peer, purge, place: audit::place().await? };
    commit("acknowledge the failure", async move {
        if store.acknowledge(act.purge.id.clone()).await? > 0 {
            act.done("failure acknowledged");
        }
        Ok(())
    })
    .await?;
    show(&state, &id).await
}

/// `DELETE /v1/purges/{id}`
pub(super) async fn cancel(
    extract::State(state): extract::State<Arc<State>>,
    extract::Extension(caller): extract::Extension<Caller>,
    extract::Extension(Peer(peer)): extract::Extension<Peer>,
    Segment(id): Segment,
) -> Result<Json<Purge>, Problem> {
    let purge = purges::visible(&state, &caller, &id).await?;
    let cancelled_before = purge.jobs.iter().any(|job| job.state == PurgeState::Cancelled);
    let store = state.store()?.clone();
    let act = Act { state: state.clone(), caller, peer, purge, place: audit::place().await? };
    let cancelled = commit("cancel the purge", async move {
        let ended = store.cancel(act.purge.id.clone(), wall_ms()).await?;
        for job in &ended {
            act.state.events.job_ended(job);
            act.state.count_end(job);
        }
        if !ended.is_empty() {
            act.done("purge cancelled");
        }
        Ok(!ended.is_empty())
    })
    .await?;
    if !cancelled && !cancelled_before {
        return Err(wrong("The purge has ended: none of its items is pending."));
    }
    show(&state, &id).await
}

/// The reason for pausing a CDN.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "an object with a reason")]
pub(super) struct PauseRequest {
    /// The reason, for people. At most 1,000 characters.
    reason: Option<String>,
}

/// `POST /v1/sites/{site}/cdns/{cdn}/pause`
pub(super) async fn pause(
    extract::State(state): extract::State<Arc<State>>,
    extract::Extension(caller): extract::Extension<Caller>,
    extract::Extension(Peer(peer)): extract::Extension<Peer>,
    Segment((site, cdn)): Segment<(String, String)>,
    body: Body,
) -> Result<Json<sites::Cdn>, Problem> {
    let key = cdn_key(&caller, site, cdn)?;
    let request: PauseRequest = optional_json(&state.limits, &caller, body).await?;
    let reason = request.reason.filter(|reason| !reason.trim().is_empty());
    if reason.as_deref().is_some_and(is_too_long) {
        let item = BadItem { item: "reason".to_owned(), message: "at most 1,000 characters".to_owned() };
        return Err(Problem::new(Kind::Invalid, "The CDN was not paused.").with_errors(vec![item]));
    }
    let reason = reason.unwrap_or_else(|| format!("by `{}`, without a reason", caller.name()));
    set_paused(&state, &caller, peer, key, Some(reason)).await
}

/// How a CDN resumes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "an object with `now`")]
pub(super) struct ResumeRequest {
    /// Whether to send at once, in addition, what waits for another attempt after a failure. This ignores what the
    /// CDN answered, but keeps to its account's rate.
    now: bool,
}

/// `POST /v1/sites/{site}/cdns/{cdn}/resume`
pub(super) async fn resume(
    extract::State(state): extract::State<Arc<State>>,
    extract::Extension(caller): extract::Extension<Caller>,
    extract::Extension(Peer(peer)): extract::Extension<Peer>,
    Segment((site, cdn)): Segment<(String, String)>,
    body: Body,
) -> Result<Json<sites::Cdn>, Problem> {
    let key = cdn_key(&caller, site, cdn)?;
    let request: ResumeRequest = optional_json(&state.limits, &caller, body).await?;
    if request.now {
        let place = audit::place().await?;
        let (store, task, by) = (state.store()?.clone(), (state.clone(), key.clone()), caller.clone());
        commit("send what waits", async move {
            let (state, key) = task;
            let now_ms = state.freshness.clock.steady_ms();
            while store.hurry(key.clone(), now_ms).await? >= HURRIED {}
            state.control.hurry(&key.site, &key.cdn);
            audit::changed(place, (&by, peer), &key.site, &key.cdn, "CDN hurried");
            Ok(())
        })
        .await?;
    }
    set_paused(&state, &caller, peer, key, None).await
}

fn cdn_key(caller: &Caller, site: String, cdn: String) -> Result<CdnKey, Problem> {
    if caller.site(&site)?.cdns.iter().all(|known| known.name != cdn) {
        return Err(Problem::new(Kind::NotFound, format!("The site `{site}` has no CDN `{cdn}`.")));
    }
    Ok(CdnKey { site, cdn })
}

async fn set_paused(
    state: &Arc<State>,
    caller: &Caller,
    peer: SocketAddr,
    key: CdnKey,
    reason: Option<String>,
) -> Result<Json<sites::Cdn>, Problem> {
    let store = state.store()?.clone();
    let what = if reason.is_some() { "CDN paused" } else { "CDN resumed" };
    let (task, by, place) = ((state.clone(), key.clone()), caller.clone(), audit::place().await?);
    commit("pause or resume the CDN", async move {
        let (state, key) = task;
        store.set_paused(key.clone(), PausedBy::Person, reason).await?;
        state.control.wake(&key.site);
        audit::changed(place, (&by, peer), &key.site, &key.cdn, what);
        Ok(())
    })
    .await?;
    let site = caller.site(&key.site)?;
    let shown = sites::cdns(state, site).await.into_iter().find(|cdn| cdn.is(&key.cdn));
    let shown = shown.ok_or_else(|| Problem::new(Kind::Internal, "The CDN cannot be shown."))?;
    Ok(Json(shown))
}

/// An operator's action on one purge.
struct Act {
    state: Arc<State>,
    caller: Caller,
    peer: SocketAddr,
    /// The purge before the action.
    purge: PurgeView,
    place: Place,
}

impl Act {
    fn done(self, what: &'static str) {
        let Self { state, caller, peer, purge, place } = self;
        state.control.wake(&purge.site);
        audit::changed(place, (&caller, peer), &purge.site, &purge.id, what);
    }
}

/// `POST /v1/reload`: reloads the configuration and the certificates, as SIGHUP does.
pub(super) async fn reload(
    extract::State(state): extract::State<Arc<State>>,
    extract::Extension(caller): extract::Extension<Caller>,
    extract::Extension(Peer(peer)): extract::Extension<Peer>,
    body: Body,
) -> Result<Json<Reloaded>, Problem> {
    if caller.limited_to().is_some() {
        let detail = format!("Token `{}` is for some sites only; a reload concerns all.", caller.name());
        return Err(Problem::new(Kind::Forbidden, detail));
    }
    let ReloadRequest { dry_run } = optional_json(&state.limits, &caller, body).await?;
    if dry_run {
        return state.reload.compare().await.map(Json).map_err(not_reloaded);
    }
    let place = audit::place().await?;
    match state.reload.reload().await {
        Ok(reloaded) => {
            audit::changed(place, (&caller, peer), "", "", "configuration reloaded");
            Ok(Json(reloaded))
        }
        Err(error) => Err(not_reloaded(error)),
    }
}

fn not_reloaded(error: NotReloaded) -> Problem {
    Problem::new(Kind::Configuration, error.detail).with_errors(error.problems)
}

fn wrong(detail: &str) -> Problem {
    Problem::new(Kind::WrongState, detail)
}

/// Returns the purge as it is now, and sends it to the listeners.
async fn show(state: &State, id: &str) -> Result<Json<Purge>, Problem> {
    let view = ask("show the purge", state.store()?.get(id.to_owned())).await?;
    let view = view.ok_or_else(|| Problem::new(Kind::NotFound, format!("There is no purge `{id}`.")))?;
    let purge = Purge::of(&view, state.freshness.clock, Extent::Brief);
    state.events.purge(&purge);
    Ok(Json(purge))
}

impl State {
    /// Counts the end of a purge, if this was its last job. A cancelled job ends here, so no delivery task counts it.
    fn count_end(&self, job: &EndedJob) {
        if let Some(state) = job.purge_ended {
            self.metrics.purge(&job.key.site, state_word(state));
        }
    }
}
