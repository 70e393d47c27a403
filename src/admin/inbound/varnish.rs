//! The conventions of plug-ins that purge Varnish.

use super::desk::{Answer, Desk, Outcome};
use crate::admin::caller::Caller;
use crate::config::{Claims, Site, UnknownPattern};
use crate::inbound::refused::Refused;
use crate::inbound::varnish::{Asked, Reading, accepted, read};
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};

pub(super) async fn answer(desk: &Desk<'_>, request: Request<Bytes>) -> Result<Answer, Refused> {
    let caller = match &desk.inbound.token_header {
        Some(name) => desk.caller(request.headers().get(name).map(HeaderValue::as_bytes))?,
        None => desk.anyone(),
    };
    let widen = desk.inbound.on_unknown_pattern == UnknownPattern::Everything;
    // A client may use the header in which a site's responses list their tags, whatever its name.
    let tag_headers = desk.config.sites.iter().flat_map(|site| site.policy.tags.fields.read());
    let tag_headers = tag_headers.map(|(name, _)| name.clone()).collect();
    let asked = read(&request, &Reading { widen, refresh: desk.inbound.refresh, tag_headers })?;
    let site = site(desk, &caller, &asked)?;
    let claims = Claims::of(&desk.config.sites);
    let purge = asked.request(|host| claims.may_purge(&site.name, host));
    let agent = request.headers().get(header::USER_AGENT);
    let id = match desk.purge(&caller, site, purge, agent).await {
        // A CDN of the site lacks what was asked for.
        Err(refused) if widen && refused.status == StatusCode::UNPROCESSABLE_ENTITY => {
            let purge = asked.widened(refused.detail).request(|_| true);
            desk.purge(&caller, site, purge, agent).await?
        }
        other => other?,
    };
    Ok((accepted(&asked, &id), Outcome::Accepted))
}

/// Returns the site that is purged. Clients inside a network name the host of the cache, which is no site's.
fn site<'c>(desk: &Desk<'_>, caller: &'c Caller, asked: &Asked) -> Result<&'c Site, Refused> {
    let mut found: Option<&Site> = None;
    for host in &asked.hosts {
        let Ok(site) = desk.site(caller, None, Some(host)) else { continue };
        if found.is_some_and(|other| other.name != site.name) {
            let detail = "the hosts are those of several sites: purge each by itself".to_owned();
            return Err(Refused { status: StatusCode::UNPROCESSABLE_ENTITY, detail });
        }
        found = Some(site);
    }
    match found {
        Some(site) => Ok(site),
        None => desk.site(caller, None, asked.hosts.first().map(String::as_str)).map(|site| &**site),
    }
}
