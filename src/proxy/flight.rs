//! A request from its head to the last byte of its response: what is known of it, counted once when it ends.

use super::access::{Ended, Noted};
use super::fields::Single;
use super::peer::{Peer, RequestId};
use super::routing::Site;
use super::worker::{Snapshot, Worker};
use crate::base::with_causes;
use crate::guard::in_flight::{Response, Ticket, Waiting};
use crate::http::head::RequestHead;
use crate::metrics::shard::{OriginErrorKind, SiteMetrics};
use crate::rewrite::{CdnTypes, Decision, DecisionCache, Dialect, Outcome, Provenance, Reason};
use crate::upstream::DownloadError;
use http::StatusCode;
use std::cell::RefMut;
use std::fmt;
use std::rc::Rc;
use std::time::Instant;

/// What requests are counted as whose client left before their response: a 4xx, as in nginx's log.
const CLIENT_LEFT: u16 = 499;

/// A request under way. Dropping it counts the request.
pub struct Flight {
    worker: Rc<Worker>,
    routing: Rc<Snapshot>,
    site: Option<usize>,
    id: RequestId,
    /// Whether the peer's forwarding headers are believed.
    pub trusted: bool,
    /// When it arrived.
    pub started: Instant,
    /// The response's status; none while there is no response.
    pub status: Option<StatusCode>,
    /// What was done to the response.
    pub decision: Decision,
    /// While a CDN that may keep the response gets it.
    ticket: Option<Ticket>,
    /// For the access log.
    noted: Option<Box<Noted>>,
}

impl Flight {
    /// A request with this `X-Request-Id` from this peer has arrived.
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

    /// It will have a line in the access log, if there is one.
    pub fn note(&mut self, peer: &Peer, head: &RequestHead) {
        self.noted = self.routing.access.note(peer.address(), head);
    }

    /// The configuration of this request, from its start to its end.
    pub fn routing(&self) -> Rc<Snapshot> {
        Rc::clone(&self.routing)
    }

    /// What was done to responses before under this configuration.
    pub(super) fn decisions(&self) -> RefMut<'_, DecisionCache> {
        self.routing.decisions.borrow_mut()
    }

    /// It is for the site of this number.
    pub fn enter(&mut self, site: usize) {
        self.site = Some(site);
    }

    /// When it arrived, in milliseconds since the epoch.
    pub(super) fn began_ms(&self) -> i64 {
        self.worker.time.ms(self.started)
    }

    /// The number of the worker that serves it.
    pub(super) fn worker(&self) -> usize {
        self.worker.index()
    }

    /// Now, by the clock of purges.
    pub(super) fn now_ms(&self) -> i64 {
        self.worker.time.now_ms()
    }

    /// Its response sets out to a CDN that may keep it, one of these: purges have to know.
    pub(super) fn sets_out(&mut self, site: &Site, dialects: &[Dialect], provenance: Provenance) {
        let cdns = dialects.iter().map(|dialect| dialect.cdn).collect();
        self.register(site, (cdns, false), provenance);
    }

    /// The same of one that will have none of our tags: which purges cover it is not known.
    pub(super) fn sets_out_untagged(&mut self, site: &Site, cdns: CdnTypes) {
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

    /// Its id.
    pub fn id(&self) -> &RequestId {
        &self.id
    }

    /// The name of its site; empty where it has none.
    pub fn site_name(&self) -> &str {
        self.site().map_or("", |site| &site.name)
    }

    /// Its response ended early: the client's connection will too, so that no cache keeps a part for the whole.
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

impl Drop for Flight {
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

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight")
            .field("id", &self.id)
            .field("site", &self.site_name())
            .finish_non_exhaustive()
    }
}
