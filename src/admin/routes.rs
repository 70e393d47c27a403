//! The table of all calls of the admin API, from which both the router and the OpenAPI document are made.

use super::dry_run::DryRun;
use super::feed::stream;
use super::feed::{HealthEvent, JobEvent, LaggedEvent};
use super::json::{Page, Purge};
use super::reload::{ReloadEvent, ReloadRequest, Reloaded};
use super::route::{Route, Type, schema};
use super::{
    console, copies, credentials, explain, history, log, openapi, operate, ops, publish, purges, sites,
};
use crate::config::Scope::{Operate, Purge as MayPurge, PurgeEverything, Read};
use crate::explain::Explanation;
use crate::purge::PurgeRequest;
use crate::purge::publish::Event;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::{delete, get, post, put};
use schemars::Schema;
use std::sync::LazyLock;

const PURGE: &str = "/v1/sites/{site}/purges";
const HEADERS: &[(&str, &str)] = &[
    ("Prefer", "`wait=SECONDS`, at most 300: answer when every job ended, or when the time is up."),
    ("Idempotency-Key", "A repeat within 24 hours gives the purge of the first call."),
];

/// Returns every call, in the order of the document.
pub(super) fn routes() -> Vec<Route> {
    let purges = vec![
        Route {
            headers: HEADERS,
            ..Route::new(
                "createPurge",
                "post",
                PURGE,
                &[MayPurge, PurgeEverything],
                post(purges::create),
                "Purge items of a site",
            )
        }
        .body::<PurgeRequest>(true)
        .json::<Settled>(200, "Every job ended while the caller waited; or, with `dry_run`, what would be sent.")
        .json::<Purge>(202, "Accepted: it is on disk, and will reach every CDN. `Location` names it.")
        .problems(&[404, 409, 503]),
        Route {
            headers: HEADERS,
            ..Route::new(
                "publish",
                "post",
                "/v1/sites/{site}/events",
                &[MayPurge, PurgeEverything],
                post(publish::create),
                "Report a publish event; the site's profile and rules decide what to purge",
            )
        }
        .body::<Event>(true)
        .json::<Settled>(
            200,
            "Every job of the event's purge ended while the caller waited; or, with `dry_run`, what would be sent.",
        )
        .json::<Purge>(
            202,
            "The event's purge is accepted: it is on disk, and will reach every CDN. `Location` names it.",
        )
        .problems(&[400, 404, 408, 409, 413, 422, 503]),
        Route {
            query: Some(schema::<purges::ListQuery>),
            ..Route::new(
                "listPurges",
                "get",
                "/v1/purges",
                &[Read],
                get(purges::list),
                "List purges, newest first",
            )
        }
        .json::<Page>(200, "A page; `next_cursor` leads to the next.")
        .problems(&[400, 503]),
        Route::new(
            "getPurge",
            "get",
            "/v1/purges/{id}",
            &[Read],
            get(purges::get),
            "Show a purge, its jobs and their attempts",
        )
        .json::<Purge>(200, "The purge.")
        .problems(&[404, 503]),
        Route::new(
            "cancelPurge",
            "delete",
            "/v1/purges/{id}",
            &[Operate],
            delete(operate::cancel),
            "Cancel the pending part of a purge",
        )
        .json::<Purge>(200, "The purge. Items that were being sent may still reach the CDN.")
        .problems(&[404, 409, 503]),
        Route::new(
            "retryPurge",
            "post",
            "/v1/purges/{id}/retry",
            &[Operate],
            post(operate::retry),
            "Retry the failed items of a purge, and clear the failure",
        )
        .json::<Purge>(200, "The purge, in progress again.")
        .problems(&[404, 409, 503]),
        Route::new(
            "acknowledgePurge",
            "post",
            "/v1/purges/{id}/acknowledge",
            &[Operate],
            post(operate::acknowledge),
            "Acknowledge a failed purge, so that it no longer makes its CDN unhealthy",
        )
        .json::<Purge>(200, "The purge.")
        .problems(&[404, 409, 503]),
    ];
    let sites = vec![
        Route {
            query: Some(schema::<sites::ListQuery>),
            ..Route::new(
                "listSites",
                "get",
                "/v1/sites",
                &[Read],
                get(sites::list),
                "List the caller's sites by name, with the state of their CDNs",
            )
        }
        .json::<sites::Sites>(200, "A page of sites, without secrets; `next_cursor` leads to the next.")
        .problems(&[400]),
        Route::new(
            "getSite",
            "get",
            "/v1/sites/{site}",
            &[Read],
            get(sites::get),
            "Show a site and the state of its CDNs",
        )
        .json::<sites::Site>(200, "The site, without secrets.")
        .problems(&[404]),
        Route {
            query: Some(schema::<history::HistoryQuery>),
            ..Route::new(
                "getHistory",
                "get",
                "/v1/sites/{site}/history",
                &[Read],
                get(history::get),
                "Show the recent past of a site, as this instance saw it",
            )
        }
        .json::<history::History>(200, "The points of the window.")
        .problems(&[400, 404]),
        Route::new(
            "pauseCdn",
            "post",
            "/v1/sites/{site}/cdns/{cdn}/pause",
            &[Operate],
            post(operate::pause),
            "Stop sending purges to a CDN; they wait, and its responses get short lifetimes",
        )
        .body::<operate::PauseRequest>(false)
        .json::<sites::Cdn>(200, "The CDN.")
        .problems(&[404, 503]),
        Route::new(
            "resumeCdn",
            "post",
            "/v1/sites/{site}/cdns/{cdn}/resume",
            &[Operate],
            post(operate::resume),
            "Resume sending to a CDN; with `now`, also send at once what waits for another attempt",
        )
        .body::<operate::ResumeRequest>(false)
        .json::<sites::Cdn>(200, "The CDN.")
        .problems(&[404, 503]),
        Route::new(
            "checkCredentials",
            "post",
            "/v1/sites/{site}/credentials/check",
            &[Operate],
            post(credentials::check),
            "Check the credentials of each CDN; no content is purged",
        )
        .body::<credentials::CheckRequest>(false)
        .json::<credentials::CheckedCredentials>(200, "The result for each CDN.")
        .problems(&[404]),
        Route::new(
            "lookAtCopies",
            "post",
            "/v1/sites/{site}/freshness",
            &[Operate],
            post(copies::look),
            "Request a page from the site's CDNs as a visitor does, and tell how old their copies are",
        )
        .body::<copies::PageOfSite>(true)
        .json::<copies::Copies>(200, "The copies.")
        .problems(&[404]),
        Route::new(
            "explain",
            "post",
            "/v1/sites/{site}/explain",
            &[Read],
            post(explain::explain),
            "Explain how a response would be rewritten, and why",
        )
        .body::<explain::Question>(true)
        .json::<Explanation>(200, "The explanation.")
        .problems(&[404]),
    ];
    let process = vec![
        Route::new(
            "reload",
            "post",
            "/v1/reload",
            &[Operate],
            post(operate::reload),
            "Reload the configuration and certificates",
        )
        .body::<ReloadRequest>(false)
        .json::<Reloaded>(200, "Reloaded; lists the changed keys. With `dry_run`, those that would change.")
        .problems(&[422]),
        Route::new(
            "getLogFilter",
            "get",
            "/v1/log-filter",
            &[Operate],
            get(log::show),
            "Show the log filter",
        )
        .json::<log::LogFilter>(200, "The current filter.")
        .problems(&[503]),
        Route::new(
            "setLogFilter",
            "put",
            "/v1/log-filter",
            &[Operate],
            put(log::change),
            "Set the log filter, until a reload changes the configured one or the process ends",
        )
        .body::<log::LogFilter>(true)
        .json::<log::LogFilter>(200, "The new filter, which is in effect.")
        .problems(&[503]),
        Route::new(
            "listen",
            "get",
            "/v1/events",
            &[Read],
            get(stream::events),
            "Listen to events, as server-sent events",
        )
        .answer(
            200,
            "A stream of `purge`, `job`, `health`, `reload` and `lagged` events.",
            "text/event-stream",
            Some(|generator| {
                let events: Vec<Schema> = [
                    schema::<Purge> as Type,
                    schema::<JobEvent>,
                    schema::<HealthEvent>,
                    schema::<ReloadEvent>,
                    schema::<LaggedEvent>,
                ]
                .into_iter()
                .map(|event| event(generator))
                .collect();
                schemars::json_schema!({ "description": "The `data` of an event.", "anyOf": events })
            }),
        ),
        Route::new("getOpenapi", "get", "/v1/openapi.json", &[], get(document), "This document").answer(
            200,
            "This document.",
            "application/json",
            None,
        ),
        Route::new("isAlive", "get", "/healthz", &[], get(ops::healthz), "Whether the process answers")
            .answer(200, "The process answers.", "text/plain", None),
        Route::new(
            "isReady",
            "get",
            "/readyz",
            &[],
            get(ops::readyz),
            "Whether the process serves, and what is degraded",
        )
        .json::<ops::Ready>(200, "The process serves requests.")
        .json::<ops::Ready>(503, "The process is starting or draining."),
        Route::new("getMetrics", "get", "/metrics", &[], get(ops::metrics), "Metrics").answer(
            200,
            "OpenMetrics text.",
            "application/openmetrics-text",
            None,
        ),
        Route::new("getConsole", "get", "/", &[], get(console::page), "The console, for people").answer(
            200,
            "A page.",
            "text/html",
            None,
        ),
    ];
    purges.into_iter().chain(sites).chain(process).collect()
}

/// The answer with status 200 to a call that purges. Only the document uses this type.
#[derive(serde::Serialize, schemars::JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it is a schema")]
enum Settled {
    /// The purge has ended.
    Purge(Purge),
    /// Nothing was accepted.
    DryRun(DryRun),
}

/// `GET /v1/openapi.json`: the document of this very table.
async fn document() -> impl IntoResponse {
    static TEXT: LazyLock<String> = LazyLock::new(|| openapi::text(&routes()));
    ([(header::CONTENT_TYPE, "application/json")], TEXT.as_str())
}
