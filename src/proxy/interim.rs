//! Interim responses on their way from an origin to the client, before the final one (RFC 9110 §15.2). Nothing is
//! decided about the final response yet, so the shim does not rewrite interim ones.

use super::opt_in::OptIn;
use super::routing::Site;
use crate::http::head::{Known, ResponseHead};
use crate::http::hop;
use crate::rewrite::Dialect;
use std::cell::{Cell, RefCell};

/// The interim responses that the client's connection has not taken yet. Their number and size are bounded where
/// they are read.
#[derive(Debug, Default)]
pub struct Interim {
    heads: RefCell<Vec<ResponseHead>>,
    /// Whether there are any, as a fast check, because nearly every request has none.
    any: Cell<bool>,
}

impl Interim {
    /// Returns the interim responses that have arrived since the last call, if there are any.
    pub fn take(&self) -> Option<Vec<ResponseHead>> {
        self.any.take().then(|| self.heads.take())
    }

    fn put(&self, head: ResponseHead) {
        self.heads.borrow_mut().push(head);
        self.any.set(true);
    }
}

/// The destination of the interim responses to one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relay<'a> {
    to: &'a Interim,
    site: &'a Site,
    /// Whether the final response will be rewritten.
    rewrites: bool,
}

impl<'a> Relay<'a> {
    pub(super) fn new(to: &'a Interim, site: &'a Site, rewrites: bool) -> Self {
        Self { to, site, rewrites }
    }

    /// Passes on the responses that have arrived, without hop-by-hop fields and without framing, which interim
    /// responses do not have (RFC 9110 §8.6, RFC 9112 §6.1).
    pub(super) fn hand_on(&self, arrived: Vec<ResponseHead>) {
        for mut head in arrived {
            hop::strip_response(&mut head.headers, |name| tells_of_caching(self.site, name));
            head.headers.retain(|line| line.known() != Known::ContentLength && !self.withholds(line.name()));
            self.to.put(head);
        }
    }

    /// Whether a field is withheld because the final response will carry our lifetimes and tags: the CDN must not
    /// receive others before.
    fn withholds(&self, name: &str) -> bool {
        self.rewrites && tells_of_caching(self.site, name)
    }
}

/// Whether the CDN that sent the request understands interim responses, as far as it is known which CDN that is.
pub(super) fn are_understood(site: &Site, opt_in: &OptIn<'_>) -> bool {
    match opt_in.edge {
        Ok(edge) => edge.dialects.iter().all(|dialect| dialect.cdn.facts().takes_interim),
        Err(_) => site.edges.only().is_none_or(|cdn| cdn.facts().takes_interim),
    }
}

/// Whether a field defines how long a response may be kept, or by which tags it is purged.
pub(super) fn tells_of_caching(site: &Site, name: &str) -> bool {
    Dialect::carries_lifetimes(name)
        || Dialect::carries_tags(name)
        || site.edges.reads(name)
        || matches!(Known::of(name), Known::Age | Known::Expires | Known::Pragma | Known::XOriginShimStamp)
        || name.ends_with("cache-control")
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::rewrite::CdnType;
    use crate::view::PurgeHealthView;
    use http::StatusCode;

    /// Returns what the client receives of a 103 with these fields.
    fn handed_on(rewrites: bool, fields: &[(&str, &str)]) -> String {
        let mut site = fixture::site("www", &["www.example.com"]);
        site.cdns = vec![fixture::cdn("varnish", CdnType::Varnish)];
        let routing = fixture::routing(&fixture::config(vec![site]), &PurgeHealthView::default());
        let interim = Interim::default();
        let relay = Relay::new(&interim, &routing.sites()[0], rewrites);
        let mut head = ResponseHead::new(StatusCode::EARLY_HINTS);
        head.headers = fixture::headers(fields);
        relay.hand_on(vec![head]);
        let handed_on = interim.take().unwrap();
        assert!(interim.take().is_none(), "once");
        let heads =
            handed_on.iter().map(|head| format!("{} {:?}", head.status, fixture::lines(&head.headers)));
        heads.collect::<String>()
    }

    #[test]
    fn what_ends_at_this_hop_and_framing_are_left_out() {
        let fields = [
            ("link", "</a.css>; rel=preload"),
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "5"),
            ("content-length", "9"),
            ("transfer-encoding", "chunked"),
            ("trailer", "x"),
            ("link", "</b.js>; rel=preload"),
            ("cache-control", "max-age=99"),
        ];
        let links = r#"("link", "</a.css>; rel=preload"), ("link", "</b.js>; rel=preload")"#;
        let hints = format!("103 Early Hints [{links}, (\"cache-control\", \"max-age=99\")]");
        assert_eq!(handed_on(false, &fields), hints);
        assert_eq!(handed_on(true, &fields), format!("103 Early Hints [{links}]"));
    }

    /// The final response will have other values of these fields, so no client may receive the origin's before.
    #[test]
    fn nothing_is_said_of_caching_where_the_final_response_will_be_rewritten() {
        for name in
            ["cache-control", "cdn-cache-control", "surrogate-control", "edge-control", "age", "expires"]
        {
            assert_eq!(handed_on(true, &[(name, "1")]), "103 Early Hints []", "{name}");
        }
        for name in ["surrogate-key", "cache-tag", "edge-cache-tag", "xkey", "pragma"] {
            assert_eq!(handed_on(true, &[(name, "1")]), "103 Early Hints []", "{name}");
        }
    }

    #[test]
    fn a_cdn_that_takes_a_hint_for_the_answer_gets_none() {
        use super::super::fields::KeyFields;
        use super::super::opt_in::{self, Caller};
        let check = |cdns: &[CdnType], lines: &[(&str, &str)], expected: bool| {
            let mut site = fixture::site("www", &["www.example.com"]);
            site.cdns = cdns.iter().map(|cdn| fixture::cdn(cdn.as_str(), *cdn)).collect();
            let routing = fixture::routing(&fixture::config(vec![site]), &PurgeHealthView::default());
            let head = fixture::request(http::Version::HTTP_11, "GET", "/", lines);
            let caller = Caller { address: [192, 0, 2, 1].into(), certified: false };
            let site = &routing.sites()[0];
            let opt_in = opt_in::decide(site, caller, &KeyFields::of(&head.headers));
            assert_eq!(are_understood(site, &opt_in), expected, "{cdns:?} {lines:?}");
        };
        let both = [CdnType::Fastly, CdnType::Varnish];
        let from = |cdn| [("x-push-invalidation", "enabled"), ("x-byo-cdn-type", cdn)];
        check(&[], &[], true);
        check(&[CdnType::Varnish], &[], false);
        check(&[CdnType::Varnish], &from("varnish"), false);
        check(&[CdnType::Cloudflare], &[], true);
        check(&both, &from("fastly"), true);
        check(&both, &from("varnish"), false);
        // The request may come from either CDN.
        check(&both, &from("other")[..1], false);
        check(&both, &[], true);
    }
}
