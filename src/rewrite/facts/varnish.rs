//! Varnish, with the included VCL (`config/varnish.vcl`).

use super::row::{
    Facts, Methods, PurgingFacts, StaleFacts, Statuses, StoringFacts, TagFacts, Trace, Traces, visible_but,
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
        // vmod xkey splits at commas and at spaces.
        alphabet: visible_but(b","),
        most: usize::MAX,
        // By default, a line has at most 8k (`http_resp_hdr_len`), and a head 32k (`http_resp_size`), of which the
        // other fields need some. The included VCL reads every line.
        bytes: 24_000,
        line_bytes: Some(8_000 - "xkey: ".len()),
        separator: b' ',
        ignores_case: false,
        in_304: true,
    },
    // Both Varnish and Fastly send `Via: 1.1 varnish`. Only Fastly also sends `CDN-Loop`.
    traces: Traces { any: &[Trace::Via("varnish")], unless: &[Trace::CdnLoopStart("fastly")] },
    // Varnish 7.1 takes the first head for the whole response and sends its visitors a 503. VCL cannot change that.
    takes_interim: false,
    // Its purges of URLs and prefixes compare names, and Varnish cannot compute the canonical form itself.
    is_told_the_page: true,
    storing: StoringFacts {
        reads: &[Field::SurrogateControl],
        // The default value of `default_ttl`.
        default_seconds: 120,
        only_private_forbids: false,
        hides_cache_control: None,
        always_obeys: true,
        can_be_forbidden: true,
        keeps_errors: false,
        other_methods: Methods::None,
        // `RFC2616_Ttl` in `cache_rfc2616.c` has the list. The included VCL also keeps every response to which
        // `Surrogate-Control` gives a lifetime.
        statuses: Some(Statuses {
            always: &[200, 203, 204, 300, 301, 304, 404, 410, 414],
            if_granted: &[302, 307],
        }),
    },
    stale: StaleFacts { set_elsewhere: None, soft_risk: None },
    purging: PurgingFacts { prefixes: true, paths: false, repeat_after: [Duration::ZERO; 2] },
};
