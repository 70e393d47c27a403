//! The monitor of the origins, in a thread of its own beside the workers. It resolves their names again, checks
//! their health, gives failed addresses another chance, and publishes the state of all.

use super::address::{Address, OriginId, Upstream};
use super::connect;
use super::error::{ExchangeError, OriginError};
use super::h1;
use super::h2;
use super::origin::{Origin, OriginTls};
use crate::base::with_causes;
use crate::config::{Limits, OriginCheck, OriginProtocol};
use crate::http::h1::scratch::Scratch;
use crate::http::head::Headers;
use crate::http::head::limits::HeadLimits;
use crate::http::timer::Clock;
use crate::metrics::Metrics;
use crate::view::{OriginStatus, OriginsView};
use bytes::Bytes;
use http::uri::Scheme;
use http::{HeaderValue, Method, header};
use http_body_util::Empty;
use std::cell::Cell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::spawn_local;

/// The monitor, and its memory of each origin between two rounds.
#[derive(Debug, Default)]
pub struct OriginMonitor {
    monitored: HashMap<OriginId, Monitored>,
    published: Vec<OriginStatus>,
}

/// One origin.
#[derive(Debug, Default)]
struct Monitored {
    resolving: Rc<Repeated>,
    checks: HashMap<SocketAddr, Rc<Checks>>,
}

/// A repeated task of which only one run is in progress at a time.
#[derive(Debug, Default)]
struct Repeated {
    begun: Cell<Option<Instant>>,
    is_running: Cell<bool>,
    is_failing: Cell<bool>,
}

impl Repeated {
    /// Whether it is time to begin. If so, the task is marked as begun.
    fn begins(&self, interval: Duration, now: Instant) -> bool {
        let is_due = self.begun.get().is_none_or(|begun| now.saturating_duration_since(begun) >= interval);
        let begins = is_due && !self.is_running.get();
        if begins {
            self.begun.set(Some(now));
            self.is_running.set(true);
        }
        begins
    }

    /// Records the end of a run. Returns whether it failed and the run before did not.
    fn ended(&self, failed: bool) -> bool {
        self.is_running.set(false);
        !self.is_failing.replace(failed) && failed
    }
}

/// The checks of one address.
#[derive(Debug, Default)]
struct Checks {
    repeated: Repeated,
    /// The number of consecutive successful checks.
    good: Cell<u32>,
    bad: Cell<u32>,
}

impl Checks {
    /// Adds one more result. Returns the address's new state if there are enough equal results in a row.
    fn verdict(&self, is_well: bool, check: &OriginCheck) -> Option<bool> {
        let (count, other) = if is_well { (&self.good, &self.bad) } else { (&self.bad, &self.good) };
        count.set(count.get().saturating_add(1));
        other.set(0);
        let enough = if is_well { check.rise } else { check.fall };
        (count.get() >= enough).then_some(is_well)
    }
}

impl OriginMonitor {
    /// Does the work that is due at `now` for these origins, each with the name of its site. Must be called several
    /// times a second, in a runtime with local tasks (`spawn_local`). The state of the origins goes to `metrics` and
    /// to `view`.
    pub fn run<'o>(
        &mut self,
        origins: impl Iterator<Item = (&'o str, &'o Origin)> + Clone,
        limits: &Limits,
        now: Instant,
        (metrics, view): (&Metrics, &OriginsView),
    ) {
        let mut monitored = HashMap::new();
        for (_, origin) in origins.clone() {
            let id = origin.upstream.id;
            if monitored.contains_key(&id) {
                continue;
            }
            let mut of_origin = self.monitored.remove(&id).unwrap_or_default();
            of_origin.run(origin, limits, now);
            monitored.insert(id, of_origin);
        }
        self.monitored = monitored;
        let statuses: Vec<_> = origins.map(status).collect();
        if self.published != statuses {
            let rows = statuses.iter().map(|status| (&*status.site, &*status.url, status.counts()));
            metrics.origin_addresses(rows);
            view.set(statuses.clone());
            self.published = statuses;
        }
    }
}

fn status((site, origin): (&str, &Origin)) -> OriginStatus {
    let addresses = origin.upstream.addresses();
    OriginStatus {
        site: site.to_owned(),
        url: origin.upstream.url.clone(),
        addresses: addresses.iter().map(|address| (address.socket, address.reason())).collect(),
    }
}

impl Monitored {
    fn run(&mut self, origin: &Origin, limits: &Limits, now: Instant) {
        let upstream = &origin.upstream;
        if upstream.is_named() && self.resolving.begins(limits.origin_resolve_interval, now) {
            spawn_local(resolve(Arc::clone(upstream), Rc::clone(&self.resolving)));
        }
        let addresses = upstream.addresses();
        for address in addresses.iter() {
            address.pardon(limits.origin_max_fails, now);
        }
        let Some(check) = &origin.check else { return };
        self.checks.retain(|socket, _| addresses.iter().any(|address| address.socket == *socket));
        for address in addresses.iter() {
            let checks = self.checks.entry(address.socket).or_default();
            if checks.repeated.begins(check.interval, now) {
                let checking = Checking {
                    address: Arc::clone(address),
                    protocol: origin.protocol,
                    tls: origin.tls.clone(),
                    check: check.clone(),
                    limits: limits.clone(),
                };
                spawn_local(checking.run(Rc::clone(checks)));
            }
        }
    }
}

async fn resolve(upstream: Arc<Upstream>, resolving: Rc<Repeated>) {
    let result = upstream.resolve().await;
    let is_news = resolving.ended(result.is_err());
    if let Err(failure) = result
        && is_news
    {
        tracing::warn!(
            origin = upstream.url,
            error = with_causes(&failure),
            "the name of an origin cannot be resolved; its previous addresses stay in use"
        );
    }
}

/// One check of one address.
struct Checking {
    address: Arc<Address>,
    protocol: OriginProtocol,
    tls: Option<OriginTls>,
    check: OriginCheck,
    limits: Limits,
}

/// The reasons why a check of an address fails.
#[derive(Debug, thiserror::Error)]
enum NotWell {
    #[error("it cannot be reached")]
    Origin(#[source] OriginError),
    #[error("its answer is not acceptable")]
    Exchange(#[source] ExchangeError),
    #[error("it answers with status {0}")]
    Status(u16),
    #[error("it does not answer in time")]
    Timeout,
}

impl Checking {
    async fn run(self, checks: Rc<Checks>) {
        let limit = self.limits.origin_first_byte_timeout.min(self.check.interval);
        let result = tokio::time::timeout(limit, self.ask()).await.unwrap_or(Err(NotWell::Timeout));
        let is_news = checks.repeated.ended(result.is_err());
        if let Err(failure) = &result
            && is_news
        {
            tracing::warn!(address = %self.address.socket, error = with_causes(failure), "a check of an origin fails");
        }
        // A lack of descriptors on our side reveals nothing about the address.
        if matches!(result, Err(NotWell::Origin(OriginError::NoRoom(_)))) {
            return;
        }
        if let Some(is_well) = checks.verdict(result.is_ok(), &self.check) {
            self.address.checked(is_well);
        }
    }

    async fn ask(&self) -> Result<(), NotWell> {
        let limit = self.limits.origin_connect_timeout;
        let (socket, tls) = (self.address.socket, self.tls.as_ref());
        let mut uncounted = None;
        let stream = connect::establish(socket, tls, self.protocol, limit, &mut uncounted);
        let stream = stream.await.map_err(NotWell::Origin)?;
        let host = self.check.host.as_deref().and_then(|host| HeaderValue::from_str(host).ok());
        let host = host.unwrap_or(HeaderValue::from_static(""));
        let fields = Headers::from_iter([
            (header::HOST, host),
            (header::USER_AGENT, HeaderValue::from_static("origin-shim")),
            (header::CONNECTION, HeaderValue::from_static("close")),
        ]);
        let headers = fields.lines();
        let limits =
            HeadLimits { fields: self.limits.origin_headers, bytes: self.limits.origin_header_bytes };
        let (method, path, body) = (&Method::GET, self.check.path.as_str(), None::<Empty<Bytes>>);
        let status = if stream.speaks_http2(self.protocol) {
            // The clock stands still, because the check as a whole has its own time limit.
            let clock = Clock::new(Instant::now());
            let connection = h2::open(stream, &clock, limits)
                .await
                .map_err(|lost| NotWell::Origin(OriginError::Http2(lost)))?;
            let scheme = if self.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
            let target = &path.parse().unwrap_or_default();
            let interim = false;
            let request = h2::Request { method, target, scheme, headers, body, limits, interim };
            let exchange = connection.send(request).map_err(NotWell::Exchange)?;
            exchange.await.map_err(NotWell::Exchange)?.0.status.as_u16()
        } else {
            let (target, upgrade, interim) = (path.as_bytes(), false, false);
            let request = h1::Request { method, target, headers, body, limits, upgrade, interim };
            let connection = h1::Connection::new(stream, &Scratch::default());
            let exchange = connection.send(request, |_| {}).map_err(NotWell::Exchange)?;
            exchange.await.map_err(NotWell::Exchange)?.0.status.as_u16()
        };
        if status == self.check.status { Ok(()) } else { Err(NotWell::Status(status)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_not_too_often() {
        let (repeated, start) = (Repeated::default(), Instant::now());
        let begins = |seconds| repeated.begins(Duration::from_secs(10), start + Duration::from_secs(seconds));
        assert!(begins(0));
        assert!(!begins(20), "it is running");
        assert!(repeated.ended(true), "news");
        assert!(begins(20));
        assert!(!repeated.ended(true), "known");
        assert!(!begins(29));
        assert!(begins(30));
        assert!(!repeated.ended(false));
        assert!(begins(40));
        assert!(repeated.ended(true), "news again");
    }

    #[test]
    fn so_many_in_a_row_count() {
        let check = OriginCheck {
            path: "/".to_owned(),
            host: None,
            interval: Duration::from_secs(10),
            status: 200,
            rise: 2,
            fall: 3,
        };
        let checks = Checks::default();
        let verdicts = |results: &[bool]| {
            results.iter().map(|is_well| checks.verdict(*is_well, &check)).collect::<Vec<_>>()
        };
        assert_eq!(verdicts(&[false, false, true, false, false]), [None; 5]);
        assert_eq!(verdicts(&[false, false]), [Some(false); 2]);
        assert_eq!(verdicts(&[true, true, true]), [None, Some(true), Some(true)]);
    }
}
