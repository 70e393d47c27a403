//! Folds the data plane's shards into metric families at scrape time.

use super::shard::{FoldedLatency, LATENCY_BUCKETS, Limit, Shards, SiteMetrics};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use std::fmt;
use std::sync::Arc;

/// The metrics of the data plane.
#[derive(Debug)]
pub(super) struct DataPlane(pub(super) Arc<Shards>);

impl Collector for DataPlane {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let shards = &*self.0;
        let sites = shards.sites();

        let mut family =
            counter(&mut encoder, "requests", "Requests, by what was decided for their response")?;
        for site in &sites {
            for (status, decision, total) in site.requests() {
                let labels = [
                    ("site", site.name()),
                    ("status", status),
                    ("decision", decision.outcome.as_str()),
                    ("reason", decision.reason.as_str()),
                ];
                count(&mut family, &labels, total)?;
            }
        }

        let help = "What mode observe would have decided, had it been on";
        let mut family = counter(&mut encoder, "observed_decisions", help)?;
        for site in &sites {
            for (decision, total) in site.observed_decisions() {
                let labels = [
                    ("site", site.name()),
                    ("decision", decision.outcome.as_str()),
                    ("reason", decision.reason.as_str()),
                ];
                count(&mut family, &labels, total)?;
            }
        }

        let help = "From a request's head to the last byte of its response";
        latency(&mut encoder, "request_duration_seconds", help, &sites, SiteMetrics::request_latency)?;
        let help = "From a request sent to the origin to the head of its response";
        latency(&mut encoder, "origin_duration_seconds", help, &sites, SiteMetrics::origin_latency)?;

        let mut family = counter(&mut encoder, "origin_errors", "What went wrong on the way to an origin")?;
        for site in &sites {
            for (kind, total) in site.origin_errors() {
                count(&mut family, &[("site", site.name()), ("kind", kind.as_str())], total)?;
            }
        }

        let help = "Purges that the origin asked for in a response, by result";
        let mut family = counter(&mut encoder, "header_purges", help)?;
        for site in &sites {
            for (result, total) in site.header_purges() {
                count(&mut family, &[("site", site.name()), ("result", result.as_str())], total)?;
            }
        }

        let mut family = counter(&mut encoder, "origin_connections", "Connections made to origins")?;
        per_site(&mut family, &sites, SiteMetrics::origin_connections)?;
        let help = "Requests sent again because a pooled origin connection was stale";
        let mut family = counter(&mut encoder, "origin_retries", help)?;
        per_site(&mut family, &sites, SiteMetrics::origin_retries)?;

        let mut family = gauge(&mut encoder, "connections", "Open client connections")?;
        let plain = shards.total(|worker| &worker.plain_connections);
        let tls = shards.total(|worker| &worker.tls_connections);
        for (listener, open) in [("plain", plain), ("tls", tls)] {
            family.encode_family(&[("listener", listener)])?.encode_gauge(&open)?;
        }
        let help = "What a limit on clients refused or ended";
        let mut family = counter(&mut encoder, "limited", help)?;
        for limit in Limit::ALL {
            count(&mut family, &[("limit", limit.as_str())], shards.limited(limit))?;
        }
        gauge(&mut encoder, "requests_in_flight", "Requests whose response is not written to its end")?
            .encode_gauge(&shards.total(|worker| &worker.in_flight))?;
        counter(&mut encoder, "received_bytes", "Bytes received from clients")?
            .encode_counter::<NoLabelSet, _, f64>(&shards.total(|worker| &worker.received), None)?;
        counter(&mut encoder, "sent_bytes", "Bytes sent to clients")?
            .encode_counter::<NoLabelSet, _, f64>(&shards.total(|worker| &worker.sent), None)
    }
}

fn counter<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Counter)
}

fn gauge<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)
}

fn count(family: &mut MetricEncoder<'_>, labels: &impl EncodeLabelSet, total: u64) -> fmt::Result {
    family.encode_family(labels)?.encode_counter::<NoLabelSet, _, f64>(&total, None)
}

fn per_site(
    family: &mut MetricEncoder<'_>,
    sites: &[Arc<SiteMetrics>],
    of: impl Fn(&SiteMetrics) -> u64,
) -> fmt::Result {
    for site in sites {
        let total = of(site);
        if total > 0 {
            count(family, &[("site", site.name())], total)?;
        }
    }
    Ok(())
}

fn latency(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    sites: &[Arc<SiteMetrics>],
    of: impl Fn(&SiteMetrics) -> FoldedLatency,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for site in sites {
        let folded = of(site);
        let total = folded.buckets.iter().sum::<u64>();
        if total == 0 {
            continue;
        }
        let bounds = LATENCY_BUCKETS.into_iter().chain([f64::INFINITY]);
        // The encoder accumulates the counts of its buckets.
        let buckets: Vec<(f64, u64)> = bounds.zip(folded.buckets).collect();
        let exemplars: Option<&std::collections::HashMap<usize, Exemplar<NoLabelSet, f64>>> = None;
        family.encode_family(&[("site", site.name())])?.encode_histogram(
            folded.sum_seconds,
            total,
            &buckets,
            exemplars,
        )?;
    }
    Ok(())
}
