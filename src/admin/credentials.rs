//! Checks of the credentials of a site's CDNs, as in `origin-shim check --credentials`.

use super::audit;
use super::caller::{Caller, Peer};
use super::extract::{Segment, optional_json};
use super::limits::CHECKS_PER_TOKEN;
use super::problem::{Kind, Problem};
use super::shares::Who;
use super::state::State;
use crate::cdn::{self, CdnReport};
use crate::guard::wall_ms;
use axum::body::Body;
use axum::extract;
use axum::response::Json;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Options of a credential check.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "an object with options for the check")]
pub(super) struct CheckRequest {
    /// Also purge a tag that no response carries, which proves the permission.
    #[serde(default)]
    probe: bool,
}

/// The result of the check for each CDN.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CheckedCredentials {
    /// The site's name.
    site: String,
    /// The CDNs, in the order of the configuration.
    cdns: Vec<CdnReport>,
}

/// `POST /v1/sites/{site}/credentials/check`
pub(super) async fn check(
    extract::State(state): extract::State<Arc<State>>,
    extract::Extension(caller): extract::Extension<Caller>,
    extract::Extension(Peer(peer)): extract::Extension<Peer>,
    Segment(site): Segment,
    body: Body,
) -> Result<Json<CheckedCredentials>, Problem> {
    let site = caller.site(&site)?.clone();
    let CheckRequest { probe } = optional_json(&state.limits, &caller, body).await?;
    // The calls count towards the accounts' rates, so the number of simultaneous checks is limited.
    let _place = state.limits.checkers.take(Who::is(&caller)).map_err(|_| {
        let detail = format!(
            "{CHECKS_PER_TOKEN} checks with token `{}`, or many in all, are under way.",
            caller.name()
        );
        Problem::new(Kind::TooMany, detail)
    })?;
    let _turn = state.limits.credential_checks.acquire().await;
    let what = if probe { "credentials checked with a probe" } else { "credentials checked" };
    audit::changed(audit::place().await?, (&caller, peer), &site.name, "", what);
    let cdns = cdn::report_site(&site, &state.sender, probe, wall_ms()).await;
    for cdn in &cdns {
        state.control.called(&site.name, &cdn.name, cdn.calls, probe);
    }
    Ok(Json(CheckedCredentials { site: site.name.clone(), cdns }))
}
