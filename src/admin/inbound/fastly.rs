//! Fastly's purge API.

use super::desk::{Answer, Desk, Outcome, may};
use crate::admin::caller::Caller;
use crate::config::Site;
use crate::inbound::fastly::{self, Asked, Service, TokenFacts};
use crate::inbound::refused::Refused;
use crate::rewrite::CdnType;
use bytes::Bytes;
use http::{Request, Uri, header};
use std::sync::Arc;

pub(super) async fn answer(desk: &Desk<'_>, request: Request<Bytes>) -> Result<Answer, Refused> {
    let caller = desk.caller(fastly::token(request.headers()))?;
    match fastly::read(&request)? {
        Asked::Facts(facts) => {
            let ids: Vec<(String, &Arc<Site>)> = sites(&caller).map(|site| (id(site), site)).collect();
            let services: Vec<_> = ids.iter().map(|(id, site)| Service { id, name: &site.name }).collect();
            let [purge_select, purge_all] = may(&caller);
            let token = TokenFacts { name: caller.name(), purge_select, purge_all };
            Ok((fastly::facts(&facts, &services, token)?, Outcome::Nothing))
        }
        Asked::Purge(purge) => {
            let named = purge.service.as_deref().map(|service| (service, CdnType::Fastly));
            // The address of a listener is no host of a site, but the one in a URL is.
            let url = purge.request.urls.first().and_then(|url| url.parse::<Uri>().ok());
            let host = url.as_ref().and_then(Uri::authority).map(|authority| authority.as_str());
            let site = desk.site(&caller, named, host)?;
            let agent = request.headers().get(header::USER_AGENT);
            let id = desk.purge(&caller, site, purge.request, agent).await?;
            Ok((fastly::accepted(&purge.about, &id), Outcome::Accepted))
        }
    }
}

fn sites(caller: &Caller) -> impl Iterator<Item = &Arc<Site>> {
    caller.config().sites.iter().filter(|site| caller.sees(&site.name))
}

/// Returns the id by which clients know a site: that of its service, if it has one.
fn id(site: &Site) -> String {
    let service = site.cdns.iter().find(|cdn| cdn.dialect.cdn == CdnType::Fastly);
    let id = service.and_then(|cdn| cdn.settings.services().into_iter().next());
    id.unwrap_or_else(|| site.name.clone())
}
