//! Fastly.

use super::row::{
    Facts, Methods, PurgingFacts, StaleFacts, StoringFacts, TagFacts, Trace, Traces, visible_but,
};
use crate::rewrite::field::{Field, SURROGATE_CONTROL, SURROGATE_KEY};
use std::time::Duration;

pub(super) static FACTS: Facts = Facts {
    name: "fastly",
    title: "Fastly",
    ttl_header: &SURROGATE_CONTROL,
    tag_header: Some(&SURROGATE_KEY),
    // "Surrogate-Key": a key that crosses the limit, and all keys after it, are ignored.
    tags: TagFacts {
        longest: 1_024,
        alphabet: visible_but(b""),
        most: usize::MAX,
        bytes: 16_384,
        line_bytes: None,
        separator: b' ',
        ignores_case: false,
        in_304: true,
    },
    // Fastly sends `Via: 1.1 varnish`, as Varnish does, and also `CDN-Loop`.
    traces: Traces { any: &[Trace::CdnLoopStart("fastly"), Trace::Via("varnish")], unless: &[] },
    takes_interim: true,
    is_told_the_page: false,
    storing: StoringFacts {
        reads: &[Field::SurrogateControl],
        // The TTL of a service without one of its own ("Fallback TTL").
        default_seconds: 3_600,
        // "Only the following directives influence Fastly's caching": `no-store` and `no-cache` are not among
        // them. For Surrogate-Control, "Parsing cache controls" in "HTTP caching semantics" documents lifetimes
        // only. "Cache control tutorial", "Do not cache", recommends `private`.
        only_private_forbids: true,
        hides_cache_control: None,
        always_obeys: true,
        can_be_forbidden: true,
        keeps_errors: false,
        other_methods: Methods::None,
        statuses: None,
    },
    stale: StaleFacts {
        set_elsewhere: None,
        soft_risk: Some(
            "with shielding, a shield may pass on its stale copy as a fresh one: add the snippet for shields (docs/fastly.md), or purge hard",
        ),
    },
    purging: PurgingFacts {
        prefixes: false,
        paths: false,
        // A shield may refill an edge with an old copy. Fastly recommends 2 s for keys and 30 s for everything.
        repeat_after: [Duration::from_secs(2), Duration::from_secs(30)],
    },
};
