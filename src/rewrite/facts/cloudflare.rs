//! Cloudflare.

use super::row::{
    Facts, Methods, PurgingFacts, StaleFacts, StoringFacts, TagFacts, Trace, Traces, visible_but,
};
use crate::rewrite::field::{CACHE_TAG, CLOUDFLARE_CDN_CACHE_CONTROL, Field};
use std::time::Duration;

pub(super) static FACTS: Facts = Facts {
    name: "cloudflare",
    title: "Cloudflare",
    ttl_header: &CLOUDFLARE_CDN_CACHE_CONTROL,
    tag_header: Some(&CACHE_TAG),
    // "Purge cache by cache-tags": 16 KB for all lines together. The "approximately 1,000 unique tags" that this
    // allows are an estimate, not a second limit.
    tags: TagFacts {
        longest: 1_024,
        alphabet: visible_but(b","),
        most: usize::MAX,
        bytes: 16_384,
        line_bytes: None,
        separator: b',',
        ignores_case: true,
        in_304: true,
    },
    traces: Traces { any: &[Trace::CdnLoop("cloudflare"), Trace::CfWorker], unless: &[] },
    takes_interim: true,
    is_told_the_page: false,
    storing: StoringFacts {
        reads: &[Field::CloudflareCdnCacheControl, Field::CdnCacheControl],
        // The default "Edge TTL" of a 200.
        default_seconds: 7_200,
        only_private_forbids: false,
        // "Origin Cache Control": if there is `Surrogate-Control`, `Cache-Control` is not read.
        hides_cache_control: Some(Field::SurrogateControl),
        always_obeys: true,
        can_be_forbidden: true,
        keeps_errors: false,
        other_methods: Methods::None,
        statuses: None,
    },
    stale: StaleFacts { set_elsewhere: None, soft_risk: None },
    purging: PurgingFacts { prefixes: true, paths: false, repeat_after: [Duration::ZERO; 2] },
};
