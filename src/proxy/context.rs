//! A request from its head to the last byte of its response: the facts about it, counted when it ends.

use super::access::{Ended, Noted};
use super::fields::Single;
use super::peer::{Peer, RequestId};
use super::routing::Site;
use super::worker::{Snapshot, Worker};
use crate::base::with_causes;
use crate::guard::in_flight::{Response, Ticket, Waiting};
use crate::http::head::RequestHead;
use crate::metrics::shard::{OriginErrorKind, SiteMetrics};
use crate::rewrite::{CdnTypes, Decision, Dialect, Outcome, Provenance, Reason};
use crate::upstream::DownloadError;
use http::StatusCode;
use std::fmt;
use std::rc::Rc;
use std::time::Instant;

/// The status under which a request is counted if its client left before the response: a 4xx, as in nginx's log.
const CLIENT_LEFT: u16 = 499;

/// A request in progress. Dropping it counts the request.
pub struct RequestContext {
    worker: Rc<Worker>,
    routing: Rc<Snapshot>,
    site: Option<usize>,
    id: RequestId,
    /// Whether the peer's forwarding fields are trusted.
    pub trusted: bool,
    /// When the request arrived.
    pub started: Instant,
    /// The response's status, or `None` while there is no response.
    pub status: Option<StatusCode>,
    /// The decision about the response.
    pub decision: Decision,
    /// The ticket of a response in flight to a CDN that may keep it.
    ticket: Option<Ticket>,
    /// The request as the access log will show it, if it is logged.
    noted: Option<Box<Noted>>,
}

impl RequestContext {
    /// Begins a request with this `X-Request-Id` from this peer.
    pub fn begin(worker: &Rc<Worker>, peer: &Peer, id: Single<'_>) -> Self {
        let routing = worker.routing();
        let trusted = routing.trusts_proxy(peer.address());
        worker.counters.in_flight.add(1);
        Self {
            worker: Rc::clone(worker),
            routing,
            site: None,
            id: RequestId::of(id, trusted, || fastrand::u128(..)),
            trusted,
            started: Instant::now(),
            status: None,
            decision: Decision { outcome: Outcome::Untouched, reason: Reason::ShimError },
            ticket: None,
            noted: None,
        }
    }

    /// Notes the request for the access log, if there is one.
    pub fn note(&mut self, peer: &Peer, head: &RequestHead) {
        self.noted = self.routing.access.note(peer.address(), head);
    }

    /// Returns the configuration of this request, which stays the same from its start to its end.
    pub fn routing(&self) -> Rc<Snapshot> {
        Rc::clone(&self.routing)
    }

    /// Assigns the request to the site of this number.
    pub fn enter(&mut self, site: usize) {
        self.site = Some(site);
    }

    /// Returns when the request arrived, in milliseconds since the epoch.
    pub(super) fn began_ms(&self) -> i64 {
        self.worker.time.ms(self.started)
    }

    /// Returns the number of the worker that serves the request.
    pub(super) fn worker(&self) -> usize {
        self.worker.index()
    }

    /// Returns the present moment by the clock that purges use.
    pub(super) fn now_ms(&self) -> i64 {
        self.worker.time.now_ms()
    }

    /// Registers the response as in flight to a CDN of one of these dialects that may keep it, because purges must
    /// be able to find it.
    pub(super) fn register_response(&mut self, site: &Site, dialects: &[Dialect], provenance: Provenance) {
        let cdns = dialects.iter().map(|dialect| dialect.cdn).collect();
        self.register(site, (cdns, false), provenance);
    }

    /// Registers a response that will have none of our tags, so that it is unknown which purges cover it.
    pub(super) fn register_untagged(&mut self, site: &Site, cdns: CdnTypes) {
        let (keys, generated_ms) = (Rc::clone(&self.worker.unknown), self.began_ms());
        self.register(site, (cdns, true), Provenance { keys, generated_ms });
    }

    fn register(&mut self, site: &Site, (cdns, untagged): (CdnTypes, bool), provenance: Provenance) {
        let response = Response {
            site: site.purged.number,
            cdns,
            untagged,
            margin_ms: site.follow_up_margin_ms,
            provenance,
            waiting: Waiting::default(),
        };
        self.ticket = Some(Ticket::new(&self.worker.in_flight, self.worker.time, response));
    }

    pub(super) fn take_ticket(&mut self) -> Option<Ticket> {
        self.ticket.take()
    }

    /// Returns the request's id.
    pub fn id(&self) -> &RequestId {
        &self.id
    }

    /// Returns the name of the request's site, or an empty string if it has none.
    pub fn site_name(&self) -> &str {
        self.site().map_or("", |site| &site.name)
    }

    /// Records that the response ended early. The client's connection will end early as well, so that no cache
    /// keeps a part as the whole.
    pub(super) fn download_failed(&self, failure: &DownloadError) {
        let kind = match failure {
            DownloadError::Stalled => OriginErrorKind::BodyTimeout,
            DownloadError::Origin(_) => OriginErrorKind::Body,
        };
        self.counters().shard(self.worker.index()).origin_error(kind);
        tracing::warn!(
            request_id = self.id.as_str(),
            site = self.site_name(),
            error = with_causes(failure),
            "the origin failed after its response had begun"
        );
    }

    pub(super) fn site(&self) -> Option<&Site> {
        self.site.map(|site| self.routing.site(site))
    }

    fn counters(&self) -> &SiteMetrics {
        self.site().map_or(&self.routing.no_site, |site| &site.metrics)
    }
}

impl Drop for RequestContext {
    fn drop(&mut self) {
        self.worker.counters.in_flight.sub(1);
        let shard = self.counters().shard(self.worker.index());
        let status = self.status.map_or(CLIENT_LEFT, |status| status.as_u16());
        let took = self.started.elapsed();
        shard.request(status, self.decision, took);
        if let Some(noted) = &self.noted {
            let (request_id, site, decision) = (self.id.as_str(), self.site_name(), self.decision);
            self.routing.access.write(noted, &Ended { request_id, site, status, decision, took });
        }
    }
}

impl fmt::Debug for RequestContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestContext")
            .field("id", &self.id)
            .field("site", &self.site_name())
            .finish_non_exhaustive()
    }
}
