//! How each CDN treats the responses that it gets. Where its documentation leaves a doubt, the model assumes
//! the more dangerous habit: the CDN keeps copies for longer, and obeys fewer prohibitions.

/// The treatment of a response with `Set-Cookie`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookies {
    /// The response is never kept.
    NotKept,
    /// The response is kept if it has a lifetime.
    KeptIfGiven,
    /// The response is kept like any other.
    Kept,
}

/// The habits of one CDN.
#[derive(Debug)]
pub struct Habits {
    /// A name for messages.
    pub name: &'static str,
    /// Fields that it reads instead of `Cache-Control` (RFC 9213 §2.2). The first usable one decides.
    pub targeted: &'static [&'static str],
    /// Whether prohibitions in those fields are obeyed, in addition to lifetimes.
    pub obeys_targeted_prohibitions: bool,
    /// Whether `private` in `Cache-Control` is obeyed even if there is a targeted lifetime.
    pub private_is_above_all: bool,
    /// Whether `no-store` and `no-cache` in `Cache-Control` are obeyed.
    pub obeys_no_store: bool,
    /// Whether a prohibition is found anywhere in the text of `Cache-Control`.
    pub finds_prohibitions_anywhere: bool,
    /// Whether its configuration makes it read `Cache-Control` at all.
    pub reads_cache_control: bool,
    /// Whether `Surrogate-Control`, with any value, hides `Cache-Control`.
    pub surrogate_hides_cache_control: bool,
    /// The treatment of `Set-Cookie`.
    pub set_cookie: Cookies,
    /// Whether requests with `Cookie` or `Authorization` bypass the cache.
    pub passes_credentials: bool,
    /// Seconds for which a response of this status is kept if the origin gives no lifetime.
    pub default_seconds: fn(u16) -> Option<u64>,
    /// Whether a response of this status is kept if `Cache-Control` or `Expires` gives a lifetime.
    pub keeps_given: fn(u16) -> bool,
    /// Seconds for which errors are kept at least, whatever lifetime the origin gives.
    pub error_seconds: u64,
    /// The header of its tags.
    pub tag_header: Option<&'static str>,
    /// The separators of tags.
    pub tag_separators: &'static [char],
    /// Whether `A` and `a` are one tag.
    pub tags_ignore_case: bool,
    /// Whether a 304 replaces the tags, as it does the other fields (RFC 9111 §3.2).
    pub takes_tags_of_304: bool,
    /// Whether `Vary` selects among copies (RFC 9111 §4.1).
    pub reads_vary: bool,
    /// Whether URLs are stored with upper-case hex digits.
    pub writes_upper_hex: bool,
    /// The header that gives it another name of the page, for purges.
    pub page_header: Option<&'static str>,
    /// Whether a prefix is a regular expression, which the purging side makes match each spelling.
    pub expresses_prefixes: bool,
    /// Whether `*` at the end of a purged URL is a wildcard.
    pub has_wildcards: bool,
}

/// Statuses that are kept without a lifetime of their own (RFC 9110 §15.1).
fn is_heuristic(status: u16) -> bool {
    matches!(status, 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// "HTTP caching semantics", "Cache control tutorial" and "Surrogate-Key" in Fastly's documentation: of
/// `Cache-Control` only lifetimes and `private` count, a response with `Set-Cookie` is passed by the boilerplate VCL;
/// 3,600 s is the default of services made with the panel.
pub static FASTLY: Habits = Habits {
    name: "Fastly",
    targeted: &["surrogate-control"],
    obeys_targeted_prohibitions: false,
    private_is_above_all: true,
    obeys_no_store: false,
    finds_prohibitions_anywhere: false,
    reads_cache_control: true,
    surrogate_hides_cache_control: false,
    set_cookie: Cookies::NotKept,
    passes_credentials: false,
    default_seconds: |status| (is_heuristic(status) || status == 302).then_some(3_600),
    keeps_given: |_| true,
    error_seconds: 0,
    tag_header: Some("surrogate-key"),
    tag_separators: &[' '],
    tags_ignore_case: false,
    takes_tags_of_304: true,
    reads_vary: true,
    writes_upper_hex: false,
    page_header: None,
    expresses_prefixes: false,
    has_wildcards: false,
};

/// A property that honours the origin's fields ("Caching", "Targeted cache control" and "Assign cache tags" in
/// Akamai's TechDocs: tags come from a 200 only).
pub static AKAMAI: Habits = Habits {
    name: "Akamai",
    targeted: &["edge-control", "akamai-cache-control", "cdn-cache-control"],
    obeys_targeted_prohibitions: true,
    private_is_above_all: false,
    obeys_no_store: true,
    finds_prohibitions_anywhere: false,
    reads_cache_control: true,
    surrogate_hides_cache_control: false,
    set_cookie: Cookies::Kept,
    passes_credentials: false,
    default_seconds: |status| is_heuristic(status).then_some(86_400),
    keeps_given: |_| true,
    error_seconds: 0,
    tag_header: Some("edge-cache-tag"),
    tag_separators: &[','],
    tags_ignore_case: false,
    takes_tags_of_304: false,
    reads_vary: true,
    writes_upper_hex: false,
    page_header: None,
    expresses_prefixes: false,
    has_wildcards: false,
};

/// A property whose behaviour "Caching" is "Cache", with a lifetime of its own. `Cache-Control` is not read.
pub static STUBBORN_AKAMAI: Habits =
    Habits { name: "Akamai (stubborn)", reads_cache_control: false, ..AKAMAI };

/// "Origin Cache Control", "CDN-Cache-Control", "Default cache behavior" and "Purge cache by cache-tags" in
/// Cloudflare's documentation, with a rule that caches everything. A targeted field that is broken is read for what
/// can be read of it.
pub static CLOUDFLARE: Habits = Habits {
    name: "Cloudflare",
    targeted: &["cloudflare-cdn-cache-control", "cdn-cache-control"],
    obeys_targeted_prohibitions: true,
    private_is_above_all: false,
    obeys_no_store: true,
    finds_prohibitions_anywhere: false,
    reads_cache_control: true,
    surrogate_hides_cache_control: true,
    set_cookie: Cookies::KeptIfGiven,
    passes_credentials: false,
    default_seconds: |status| match status {
        200 | 301 => Some(7_200),
        302 => Some(1_200),
        404 | 410 => Some(180),
        _ => None,
    },
    keeps_given: |_| true,
    error_seconds: 0,
    tag_header: Some("cache-tag"),
    tag_separators: &[','],
    tags_ignore_case: true,
    takes_tags_of_304: true,
    reads_vary: false,
    writes_upper_hex: true,
    page_header: None,
    expresses_prefixes: false,
    has_wildcards: false,
};

/// "Manage how long content stays in the cache", "Control how long CloudFront caches errors" and "Invalidate by tags"
/// in the Developer Guide: a response with `Set-Cookie` is kept, `Vary` counts only by the cache policy, and errors
/// stay for 10 s.
pub static CLOUDFRONT: Habits = Habits {
    name: "CloudFront",
    targeted: &[],
    obeys_targeted_prohibitions: true,
    private_is_above_all: false,
    obeys_no_store: true,
    finds_prohibitions_anywhere: false,
    reads_cache_control: true,
    surrogate_hides_cache_control: false,
    set_cookie: Cookies::Kept,
    passes_credentials: false,
    default_seconds: |status| is_heuristic(status).then_some(86_400),
    keeps_given: |_| true,
    error_seconds: 10,
    tag_header: Some("cache-tag"),
    tag_separators: &[','],
    tags_ignore_case: true,
    takes_tags_of_304: true,
    reads_vary: false,
    writes_upper_hex: false,
    page_header: None,
    expresses_prefixes: false,
    has_wildcards: true,
};

/// A distribution without a tag header.
pub static BARE_CLOUDFRONT: Habits = Habits { name: "CloudFront (bare)", tag_header: None, ..CLOUDFRONT };

/// Varnish 7 with `config/varnish.vcl`; its built-in rules (`builtin.vcl`) and `RFC2616_Ttl` in `cache_rfc2616.c`
/// follow that.
pub static VARNISH: Habits = Habits {
    name: "Varnish",
    targeted: &["surrogate-control"],
    obeys_targeted_prohibitions: true,
    private_is_above_all: false,
    obeys_no_store: true,
    finds_prohibitions_anywhere: true,
    reads_cache_control: true,
    surrogate_hides_cache_control: false,
    set_cookie: Cookies::NotKept,
    passes_credentials: true,
    default_seconds: |status| matches!(status, 200 | 203 | 204 | 300 | 301 | 404 | 410 | 414).then_some(120),
    keeps_given: |status| matches!(status, 200 | 203 | 204 | 300 | 301 | 302 | 307 | 404 | 410 | 414),
    error_seconds: 0,
    tag_header: Some("xkey"),
    tag_separators: &[' ', ','],
    tags_ignore_case: false,
    takes_tags_of_304: true,
    reads_vary: true,
    writes_upper_hex: false,
    page_header: Some("x-origin-shim-path"),
    expresses_prefixes: true,
    has_wildcards: false,
};
