//! Calls that accept purges and show their progress.

use super::aside::{aside, on_another_thread};
use super::ask::{ask, commit};
use super::caller::{Caller, Peer};
use super::dry_run::DryRun;
use super::extract::{Query, Segment, json as read_json};
use super::fresh::{self, Awaited};
use super::json::{Extent, Page, Purge, state_word};
use super::problem::{Kind, Problem};
use super::shares::Who;
use super::state::State;
use super::{audit, idempotency, wait};
use crate::config::{Scope, Site};
use crate::failpoint;
use crate::guard::wall_ms;
use crate::metrics::Metrics;
use crate::purge::{self, JobPlan, MAX_ITEMS, PurgeMode, PurgeRequest};
use crate::store::{Enqueued, Filter, Listed, NewPurge, PurgeView, Store};
use crate::telemetry::Place;
use axum::body::Body;
use axum::extract;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use schemars::JsonSchema;
use serde::Deserialize;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The largest number of purges on a page, and (`PAGE`) the default number.
const MAX_PAGE: usize = 100;
const PAGE: usize = 20;

/// `POST /v1/sites/{site}/purges`
pub(super) async fn create(
    extract::State(state): extract::State<Arc<State>>,
    extract::Extension(caller): extract::Extension<Caller>,
    extract::Extension(Peer(peer)): extract::Extension<Peer>,
    Segment(site): Segment,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    // Everything that can be refused without the body is refused before it is read.
    let site = caller.site(&site)?;
    let store = state.store()?.clone();

    let request: PurgeRequest = read_json(&state.limits, &caller, body).await?;
    let (of, name, sent) = (caller.clone(), site.name.clone(), headers.clone());
    let (request, idempotency) = aside(request.item_count(), move || {
        let idempotency = idempotency::of_request(&sent, of.name(), &name, &request);
        (request, idempotency)
    })
    .await?;
    accept(&state, store, (&caller, peer), site, Asked { request, idempotency }, &headers).await
}

/// A caller's request, and the `Idempotency-Key` of the call.
pub(super) struct Asked {
    pub(super) request: PurgeRequest,
    pub(super) idempotency: Result<Option<(String, String)>, Problem>,
}

/// Handles every purge after its body has been read: checks, plans and commits it, and only then answers.
pub(super) async fn accept(
    state: &Arc<State>,
    store: Arc<dyn Store>,
    (caller, peer): (&Caller, SocketAddr),
    site: &Site,
    asked: Asked,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    if asked.request.dry_run {
        let Asked { request, idempotency } = asked;
        let items = permitted(caller, site, &request)?;
        idempotency?;
        let (request, jobs) = planned(state, caller, site, request).await?;
        let of = site.clone();
        let shown = aside(items, move || DryRun::of(&of, &request, &jobs)).await?;
        return Ok(Json(shown).into_response());
    }
    let purge = committed(state, &store, (caller, peer), site, asked).await?;
    failpoint::reached("answering");
    Ok(answer(state, &*store, (caller, wait::preferred(headers)), purge).await)
}

/// Checks, plans and commits a purge.
pub(super) async fn committed(
    state: &Arc<State>,
    store: &Arc<dyn Store>,
    (caller, peer): (&Caller, SocketAddr),
    site: &Site,
    asked: Asked,
) -> Result<Purge, Problem> {
    let Asked { request, idempotency } = asked;
    permitted(caller, site, &request)?;
    let idempotency = idempotency?;
    let (mut request, mut jobs) = planned(state, caller, site, request).await?;
    let place = audit::place().await?;

    // The guard starts before the commit, so that it covers every accepted purge. An unnecessary guard costs the
    // origin a few requests.
    let (mut follow_ups, mut awaited) = fresh::guard(&state.freshness, site, &request, &jobs).await;
    if fresh::is_outrun(&state.freshness, site, &jobs) {
        (request, jobs) = planned(state, caller, site, request).await?;
        (follow_ups, awaited) = fresh::guard(&state.freshness, site, &request, &jobs).await;
    }
    let since_ms = state.freshness.clock.steady_ms();
    let settle_ms = i64::try_from(site.origin_settle.as_millis()).unwrap_or(i64::MAX);
    let new = NewPurge {
        id: uuid::Uuid::now_v7().to_string(),
        site: site.name.clone(),
        request,
        caller: caller.name().to_owned(),
        now_ms: wall_ms(),
        since_ms,
        due_ms: since_ms.saturating_add(settle_ms),
        jobs,
        idempotency,
        follow_ups,
    };
    let purge = Purge::accepted(&new);
    match enqueue(state, store.clone(), new, awaited, purge.clone(), (peer, place)).await? {
        Enqueued::Created => Ok(purge),
        Enqueued::Existing(id) => repeated(state, &**store, id).await,
        Enqueued::KeyReused => {
            let detail = "This Idempotency-Key was used within 24 hours for another request body.";
            Err(Problem::new(Kind::Conflict, detail))
        }
    }
}

/// Checks that the caller may purge this, and returns the number of items.
fn permitted(caller: &Caller, site: &Site, request: &PurgeRequest) -> Result<usize, Problem> {
    let items = request.item_count();
    if items > MAX_ITEMS {
        let detail =
            format!("{items} items are too many: send at most {MAX_ITEMS} at once, or a broader item.");
        return Err(Problem::new(Kind::TooLarge, detail));
    }
    caller.require(&[scope_of(request, site)])?;
    Ok(items)
}

/// Returns the one scope that a request needs, for the broadest kind of item in it.
fn scope_of(request: &PurgeRequest, site: &Site) -> Scope {
    if request.purges_everything(site) { Scope::PurgeEverything } else { Scope::Purge }
}

/// Returns the request with its jobs.
async fn planned(
    state: &Arc<State>,
    caller: &Caller,
    site: &Site,
    request: PurgeRequest,
) -> Result<(PurgeRequest, Vec<JobPlan>), Problem> {
    let (state, caller, name) = (state.clone(), caller.clone(), site.name.clone());
    aside(request.item_count(), move || {
        let jobs = plan(&state, &caller, caller.site(&name)?, &request)?;
        Ok((request, jobs))
    })
    .await?
}

/// Returns the jobs of a purge. There is at least one, or else the purge would be "done" without having reached
/// any CDN.
fn plan(
    state: &State,
    caller: &Caller,
    site: &Site,
    request: &PurgeRequest,
) -> Result<Vec<JobPlan>, Problem> {
    match (state.planner)(caller.config(), site, request) {
        Ok(jobs) if jobs.is_empty() => {
            let inner = "the plan of a valid purge has no job";
            Err(Problem::new(Kind::Internal, "The purge could not be planned.").because(inner))
        }
        Ok(jobs) => Ok(jobs),
        Err(errors) => {
            let detail = "Nothing was purged, because some items are invalid: see `errors`.";
            Err(Problem::new(Kind::Invalid, detail).with_errors(errors))
        }
    }
}

/// Commits the purge, then wakes the site's delivery tasks and informs the listeners of events.
async fn enqueue(
    state: &Arc<State>,
    store: Arc<dyn Store>,
    new: NewPurge,
    awaited: Awaited,
    accepted: Purge,
    (peer, place): (SocketAddr, Place),
) -> Result<Enqueued, Problem> {
    let state = state.clone();
    commit("commit the purge", async move {
        let audit = Audit::of(&new);
        let mut follow_ups = vec![0; new.jobs.len()];
        new.follow_ups.items.iter().for_each(|(job, _)| follow_ups[*job] += 1);
        failpoint::reached("accepting");
        awaited.counts_for(&new.site, &new.id, &new.jobs);
        let enqueued = match store.enqueue(new).await {
            Ok(enqueued) => enqueued,
            Err(error) => {
                // If the purge was committed nevertheless, its follow-ups must not wait for ever.
                if error.is_in_doubt() {
                    let (id, site) = (accepted.id, accepted.site);
                    tokio::spawn(awaited.then_follow_up(store, state.control.clone(), id, site));
                }
                return Err(error);
            }
        };
        failpoint::reached("committed");
        if enqueued == Enqueued::Created {
            let (id, site) = (accepted.id.clone(), accepted.site.clone());
            for (job, items) in accepted.jobs.iter().zip(follow_ups).filter(|(_, items)| *items > 0) {
                tracing::info!(
                    site,
                    cdn = job.cdn,
                    purge = id,
                    items,
                    "responses in flight: purge will be repeated for these items"
                );
                state.metrics.purge_follow_ups(&site, &job.cdn, items);
            }
            tokio::spawn(awaited.then_follow_up(store, state.control.clone(), id, site));
            state.control.wake(&accepted.site);
            place.write(|| audit.write(peer));
            state.events.purge(&accepted);
            count(&state.metrics, &accepted);
        }
        Ok(enqueued)
    })
    .await
}

fn count(metrics: &Metrics, accepted: &Purge) {
    metrics.purge(&accepted.site, state_word(accepted.state));
    for job in accepted.jobs.iter().filter(|job| !job.fallback.is_empty()) {
        metrics.purge_fallback(&accepted.site, &job.cdn);
    }
}

/// The content of a purge's audit line: numbers of items, not the items.
struct Audit {
    token: String,
    site: String,
    id: String,
    mode: &'static str,
    counts: [usize; 4],
    everything: bool,
}

impl Audit {
    fn of(new: &NewPurge) -> Self {
        let request = &new.request;
        Self {
            token: new.caller.clone(),
            site: new.site.clone(),
            id: new.id.clone(),
            mode: match request.mode {
                Some(PurgeMode::Soft) => "soft",
                Some(PurgeMode::Hard) => "hard",
                None => "as configured",
            },
            counts: [request.urls.len(), request.paths.len(), request.tags.len(), request.prefixes.len()],
            everything: request.everything,
        }
    }

    fn write(&self, peer: SocketAddr) {
        let [urls, paths, tags, prefixes] = self.counts;
        tracing::info!(
            target: "audit",
            token = self.token, site = self.site, purge = self.id, mode = self.mode,
            urls, paths, tags, prefixes, everything = self.everything, %peer,
            "purge accepted"
        );
    }
}

/// Returns the purge that belongs to an idempotency key.
async fn repeated(state: &State, store: &dyn Store, id: String) -> Result<Purge, Problem> {
    match ask("show the purge of this Idempotency-Key", store.get(id.clone())).await? {
        Some(view) => Ok(Purge::of(&view, state.freshness.clock, Extent::Brief)),
        None => {
            let detail =
                format!("This Idempotency-Key stands for purge {id}, which ended and is no longer kept.");
            Err(Problem::new(Kind::Conflict, detail))
        }
    }
}

/// Returns the 202, or the 200 of a purge that ended while the caller waited. Nothing can fail any more, because
/// the purge is committed.
async fn answer(
    state: &State,
    store: &dyn Store,
    (caller, wait): (&Caller, Option<Duration>),
    purge: Purge,
) -> Response {
    let location = format!("/v1/purges/{}", purge.id);
    let waiting = wait.and_then(|wait| Some((wait, state.limits.waiters.take(Who::is(caller)).ok()?)));
    let Some((wait, _place)) = waiting else {
        return (StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(purge)).into_response();
    };
    let seen = wait::until_ended(store, &*state.control, &state.readiness, &purge.id, wait).await;
    let status =
        if seen.as_ref().is_some_and(wait::has_ended) { StatusCode::OK } else { StatusCode::ACCEPTED };
    // The items have not changed, so those of a large purge are not read again.
    let purge = match seen {
        Some(view) => Purge { items: purge.items, ..Purge::of(&view, state.freshness.clock, Extent::Brief) },
        None => purge,
    };
    let applied = (HeaderName::from_static("preference-applied"), format!("wait={}", wait.as_secs()));
    (status, [(header::LOCATION, location), applied], Json(purge)).into_response()
}

/// `GET /v1/purges/{id}`
pub(super) async fn get(
    extract::State(state): extract::State<Arc<State>>,
    extract::Extension(caller): extract::Extension<Caller>,
    Segment(id): Segment,
) -> Result<Response, Problem> {
    // A purge takes up to 8 MiB, so only a few are read at the same time.
    let _place = state.limits.whole_purges.acquire().await;
    let view = visible(&state, &caller, &id).await?;
    let clock = state.freshness.clock;
    let write = move || serde_json::to_vec(&Purge::of(&view, clock, Extent::Full));
    const CANNOT: &str = "The purge cannot be written as JSON.";
    // Writing a large purge takes time, and the delivery tasks run on this thread, too.
    let written = on_another_thread(CANNOT, write).await?;
    let json = written.map_err(|error| Problem::new(Kind::Internal, CANNOT).because(error))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}

/// Returns a purge that the caller may see. A purge of another site is reported like a missing one.
pub(super) async fn visible(state: &State, caller: &Caller, id: &str) -> Result<PurgeView, Problem> {
    let view = ask("show the purge", state.store()?.get(id.to_owned())).await?;
    let view = view.filter(|view| caller.sees(&view.site));
    view.ok_or_else(|| Problem::new(Kind::NotFound, format!("There is no purge `{id}`.")))
}

/// The query of `GET /v1/purges`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Only purges of this site.
    site: Option<String>,
    /// Only purges in this state.
    state: Option<purge::State>,
    /// Number of purges on the page, 1 to 100 (default 20).
    #[schemars(range(min = 1, max = 100))]
    limit: Option<usize>,
    /// The `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// `GET /v1/purges`
pub(super) async fn list(
    extract::State(state): extract::State<Arc<State>>,
    extract::Extension(caller): extract::Extension<Caller>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page>, Problem> {
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Problem::new(Kind::BadRequest, format!("`limit` must be from 1 to {MAX_PAGE}.")));
    }
    if query.cursor.as_ref().is_some_and(|cursor| uuid::Uuid::try_parse(cursor).is_err()) {
        return Err(Problem::new(
            Kind::BadRequest,
            "`cursor` must be the `next_cursor` of an earlier answer.",
        ));
    }
    let sites = match query.site {
        Some(site) => {
            caller.require_site(&site)?;
            Some(vec![site])
        }
        None => caller.limited_to(),
    };
    let filter = Filter { sites, state: query.state, limit, before: query.cursor };
    let Listed { purges, next: next_cursor } = ask("list purges", state.store()?.list(filter)).await?;
    let purges = purges.iter().map(|view| Purge::of(view, state.freshness.clock, Extent::Brief)).collect();
    Ok(Json(Page { purges, next_cursor }))
}
