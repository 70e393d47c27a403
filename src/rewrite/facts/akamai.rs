//! Akamai.

use super::row::{
    Facts, Methods, PurgingFacts, StaleFacts, StoringFacts, TagFacts, Trace, Traces, alphanumeric_and,
};
use crate::rewrite::field::{EDGE_CACHE_TAG, EDGE_CONTROL, Field};
use std::time::Duration;

pub(super) static FACTS: Facts = Facts {
    name: "akamai",
    title: "Akamai",
    ttl_header: &EDGE_CONTROL,
    tag_header: Some(&EDGE_CACHE_TAG),
    tags: TagFacts {
        // techdocs.akamai.com/purge-cache, "Cache tag requirements".
        longest: 128,
        alphabet: alphanumeric_and(b"!#$%&'+-./^_`|~"),
        // "Assign cache tags": 128 tags of the first line; the byte limit is reported by users.
        most: 128,
        bytes: 8_192,
        line_bytes: None,
        separator: b',',
        ignores_case: false,
        // Tags of a 304 are ignored ("Assign cache tags").
        in_304: false,
    },
    traces: Traces { any: &[Trace::Via("akamai")], unless: &[] },
    takes_interim: true,
    is_told_the_page: false,
    storing: StoringFacts {
        reads: &[Field::EdgeControl, Field::AkamaiCacheControl, Field::CdnCacheControl],
        // Akamai has no default: the property decides, and its templates keep static files for a week.
        default_seconds: 604_800,
        only_private_forbids: false,
        hides_cache_control: None,
        // A property can be configured to ignore the origin's `Cache-Control`.
        always_obeys: false,
        can_be_forbidden: true,
        keeps_errors: false,
        // Nearly any method can be made cacheable.
        other_methods: Methods::Any,
        statuses: None,
    },
    stale: StaleFacts {
        set_elsewhere: Some("the behavior \"serve stale\" of the property sets it"),
        soft_risk: None,
    },
    purging: PurgingFacts { prefixes: false, paths: false, repeat_after: [Duration::ZERO; 2] },
};
