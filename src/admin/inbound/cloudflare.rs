//! Cloudflare's purge API.

use super::desk::{Answer, Desk, Outcome};
use crate::config::Site;
use crate::inbound::cloudflare::{self, Asked, Zone};
use crate::inbound::refused::Refused;
use crate::rewrite::CdnType;
use bytes::Bytes;
use http::{Request, header};
use std::sync::Arc;

pub(super) async fn answer(desk: &Desk<'_>, request: Request<Bytes>) -> Result<Answer, Refused> {
    let caller = desk.caller(cloudflare::token(request.headers()))?;
    match cloudflare::read(&request)? {
        Asked::Facts(facts) => {
            let sites = caller.config().sites.iter().filter(|site| caller.sees(&site.name));
            let ids: Vec<(String, &Arc<Site>)> = sites.map(|site| (id(site), site)).collect();
            let zones: Vec<_> =
                ids.iter().map(|(id, site)| Zone { id, site: &site.name, hosts: &site.hosts }).collect();
            Ok((cloudflare::facts(&facts, &zones)?, Outcome::Nothing))
        }
        Asked::Purge { zone, request: purge } => {
            let site = desk.site(&caller, Some((&zone, CdnType::Cloudflare)), None)?;
            let id = desk.purge(&caller, site, purge, request.headers().get(header::USER_AGENT)).await?;
            Ok((cloudflare::accepted(&id), Outcome::Accepted))
        }
    }
}

/// Returns the id by which clients know a site: that of its zone, if it has one.
fn id(site: &Site) -> String {
    let zone = site.cdns.iter().find(|cdn| cdn.dialect.cdn == CdnType::Cloudflare);
    let id = zone.and_then(|cdn| cdn.settings.services().into_iter().next());
    id.unwrap_or_else(|| site.name.clone())
}
