//! Varnish, with the VCL that we ship (`config/varnish.vcl`).

use super::row::{
    Facts, Methods, PurgingFacts, Statuses, StoringFacts, TagFacts, Trace, Traces, visible_but,
};
use crate::rewrite::field::{Field, SURROGATE_CONTROL, XKEY};
use std::time::Duration;

pub(super) static FACTS: Facts = Facts {
    name: "varnish",
    title: "Varnish",
    ttl_header: &SURROGATE_CONTROL,
    tag_header: Some(&XKEY),
    tags: TagFacts {
        longest: 1_024,
        // vmod xkey splits at commas as at spaces.
        alphabet: visible_but(b","),
        most: usize::MAX,
        // `http_resp_hdr_len` is 8k by default.
        bytes: 8_000,
        separator: b' ',
        ignores_case: false,
        in_304: true,
    },
    // `Via: 1.1 varnish` is written by Fastly as well; only Fastly writes `CDN-Loop`, too.
    traces: Traces { any: &[Trace::Via("varnish")], unless: &[Trace::CdnLoopStart("fastly")] },
    // Varnish (7.1, and its VCL has no say in it) takes the first head for the whole answer and sends its visitors a
    // 503.
    takes_interim: false,
    // Its purges of URLs and prefixes compare names, and it cannot make the canonical form by itself.
    is_told_the_page: true,
    storing: StoringFacts {
        reads: &[Field::SurrogateControl],
        // `default_ttl`.
        default_seconds: 120,
        only_private_forbids: false,
        hides_cache_control: None,
        always_obeys: true,
        can_be_forbidden: true,
        keeps_errors: false,
        other_methods: Methods::None,
        // `RFC2616_Ttl` in its `cache_rfc2616.c` has the list, and our VCL keeps whatever `Surrogate-Control` gives a
        // lifetime.
        statuses: Some(Statuses {
            always: &[200, 203, 204, 300, 301, 304, 404, 410, 414],
            if_granted: &[302, 307],
        }),
    },
    purging: PurgingFacts { prefixes: true, paths: false, repeat_after: [Duration::ZERO; 2] },
};
