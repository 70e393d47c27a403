//! Amazon CloudFront.

use super::row::{
    Facts, Methods, PurgingFacts, StaleFacts, StoringFacts, TagFacts, Trace, Traces, visible_but,
};
use crate::rewrite::field::GENERAL;
use std::time::Duration;

pub(super) static FACTS: Facts = Facts {
    name: "cloudfront",
    title: "CloudFront",
    ttl_header: &GENERAL,
    // CloudFront reads tags only if the distribution's `CacheTagConfig` names a header.
    tag_header: None,
    // "What you need to know when invalidating tags": excess tags are dropped silently. The headers of a response
    // share one limit, so tags get a part of it.
    tags: TagFacts {
        longest: 256,
        // The star is not a wildcard in a tag, but it is one in the path list that tags share.
        alphabet: visible_but(b",*"),
        most: 50,
        bytes: 8_192,
        line_bytes: None,
        separator: b',',
        ignores_case: true,
        in_304: true,
    },
    traces: Traces { any: &[Trace::Via("cloudfront")], unless: &[] },
    takes_interim: true,
    is_told_the_page: false,
    storing: StoringFacts {
        reads: &[],
        // The "default TTL" of a cache policy.
        default_seconds: 86_400,
        only_private_forbids: false,
        hides_cache_control: None,
        // A behaviour may have a minimum TTL, which overrules everything that the origin sends.
        always_obeys: false,
        can_be_forbidden: false,
        // "CloudFront caches the response for the error caching minimum TTL" regardless of the origin (Developer
        // Guide, "Control how long CloudFront caches errors").
        keeps_errors: true,
        other_methods: Methods::These(&["OPTIONS"]),
        statuses: None,
    },
    stale: StaleFacts { set_elsewhere: None, soft_risk: None },
    purging: PurgingFacts { prefixes: true, paths: true, repeat_after: [Duration::ZERO; 2] },
};
