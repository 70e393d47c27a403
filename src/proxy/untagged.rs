//! Responses that a CDN receives without our tags: everything in modes `observe` and `off`, and answers to an
//! opt-in that is not trusted. Their copies can be removed only by URL or by a purge of everything. So the control
//! plane records until when such copies may exist, and a purge that arrives while one is in flight is repeated.
//! The responses themselves are not changed.

use super::context::RequestContext;
use super::fields::{KeyFields, Single};
use super::opt_in::OptIn;
use super::routing::Site;
use crate::config::Mode;
use crate::http::head::ResponseHead;
use crate::rewrite::{CdnType, CdnTypes, Lifetime};
use http::{Method, StatusCode};

/// The response to a request, if it will have none of our tags and a CDN may keep it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Untagged {
    /// The types of the CDNs that receive the response, or may receive it.
    cdns: CdnTypes,
}

impl Untagged {
    /// Returns the response to a request if it will be untagged. In mode `on`, a request without the opt-in field
    /// does not come from a CDN that is purged. In the other modes, any request may come from a CDN whose opt-in
    /// will be trusted later.
    pub(super) fn expected(
        site: &Site,
        opt_in: &OptIn<'_>,
        fields: &KeyFields<'_>,
        method: &Method,
    ) -> Option<Self> {
        let is_untagged = match site.mode {
            Mode::On => fields.opt_in != Single::Absent && opt_in.edge.is_err(),
            Mode::Observe | Mode::Off => true,
        };
        if !is_untagged || !matches!(*method, Method::GET | Method::HEAD) {
            return None;
        }
        let told = opt_in.edge.ok().map(|edge| edge.dialects.iter().map(|dialect| dialect.cdn).collect());
        Some(Self { cdns: told.unwrap_or(CdnTypes::ALL) })
    }

    /// Registers the response when the request leaves for the origin. This must not happen later, because a purge
    /// that arrives before the response covers it already.
    pub(super) fn register(self, site: &Site, context: &mut RequestContext) {
        // Without a CDN, there is nothing to purge.
        if !site.edges.are_none() {
            context.register_untagged(site, self.cdns);
        }
    }

    /// Evaluates the response: records how long it may be kept, or drops the ticket if it may not be kept.
    pub(super) fn answered(self, site: &Site, response: &ResponseHead, context: &mut RequestContext) {
        let now_ms = context.now_ms();
        let is_own = |name: &str| site.edges.read_lifetimes_in(name);
        let lifetime = Lifetime::of(response.status, &response.headers, is_own, now_ms);
        // If the CDN is unknown, the lifetime is recorded for all types, because the CDN may be one that the site
        // does not have yet.
        let concerned = CdnType::ALL.into_iter().filter(|cdn| self.cdns.contains(*cdn));
        let is_kept = |cdn: &CdnType| site.purged.untagged.note(*cdn, lifetime, now_ms);
        let switches = response.status == StatusCode::SWITCHING_PROTOCOLS;
        let is_kept = !switches && concerned.filter(is_kept).count() > 0;
        if !is_kept {
            drop(context.take_ticket());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{fixture, opt_in, opt_in::Caller};
    use super::*;
    use crate::config::Trust;
    use crate::view::PurgeHealthView;
    use http::Version;

    /// Returns the CDN for the answer to a request with these lines, or `no` if the answer is not untagged.
    fn expected(mode: Mode, trust: Trust, method: &str, lines: &[(&str, &str)]) -> String {
        let mut site = fixture::site("www", &["www.example.com"]);
        site.cdns = vec![fixture::cdn("fastly", CdnType::Fastly), fixture::cdn("varnish", CdnType::Varnish)];
        (site.mode, site.trust) = (mode, trust);
        let routing = fixture::routing(&fixture::config(vec![site]), &PurgeHealthView::default());
        let site = &routing.sites()[0];
        let head = fixture::request(Version::HTTP_11, method, "/", lines);
        let fields = KeyFields::of(&head.headers);
        let caller = Caller { address: [192, 0, 2, 1].into(), certified: false };
        let opt_in = opt_in::decide(site, caller, &fields);
        match Untagged::expected(site, &opt_in, &fields, &head.method) {
            None => "no".to_owned(),
            Some(Untagged { cdns: CdnTypes::ALL }) => "any".to_owned(),
            Some(untagged) => {
                let cdns: Vec<_> =
                    CdnType::ALL.into_iter().filter(|cdn| untagged.cdns.contains(*cdn)).collect();
                format!("{cdns:?}")
            }
        }
    }

    #[test]
    fn what_goes_out_without_our_tags() {
        let opted_in = [("x-push-invalidation", "enabled"), ("x-byo-cdn-type", "fastly")];
        let of = |mode, lines: &[(&str, &str)]| expected(mode, Trust::Any, "GET", lines);
        assert_eq!(of(Mode::On, &opted_in), "no");
        assert_eq!(of(Mode::On, &[]), "no");
        assert_eq!(of(Mode::Observe, &opted_in), "[Fastly]");
        assert_eq!(of(Mode::Observe, &opted_in[..1]), "[Fastly, Varnish]");
        assert_eq!(of(Mode::Observe, &[]), "any");
        assert_eq!(of(Mode::Off, &opted_in), "any");
        // These opt-ins are malformed, repeated and not trusted. An opt-in for a CDN that the site lacks gets
        // tags.
        assert_eq!(of(Mode::On, &[("x-push-invalidation", "yes")]), "any");
        assert_eq!(of(Mode::On, &[opted_in[0], opted_in[0]]), "any");
        assert_eq!(of(Mode::On, &[opted_in[0], ("x-byo-cdn-type", "akamai")]), "no");
        let nobody = || Trust::Addresses(vec![]);
        assert_eq!(expected(Mode::On, nobody(), "GET", &opted_in), "any");
        assert_eq!(expected(Mode::On, nobody(), "HEAD", &opted_in), "any");
        assert_eq!(expected(Mode::On, nobody(), "POST", &opted_in), "no");
    }
}
