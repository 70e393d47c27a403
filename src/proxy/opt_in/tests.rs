use super::*;
use crate::config::{Trust, secret::Secret};
use crate::http::head::Headers;
use crate::proxy::fixture;
use crate::proxy::routing::Routing;
use crate::view::PurgeHealthView;
use CdnType::*;

const PEER: &str = "192.0.2.7";

fn headers(lines: &[(&str, &str)]) -> Headers {
    fixture::headers(lines)
}

/// Returns a routing whose site `www` has healthy CDNs of these types.
fn routing(trust: Trust, mode: Mode, cdns: &[CdnType]) -> Routing {
    let health = PurgeHealthView::default();
    let mut site = fixture::site("www", &["www.example.com"]);
    site.trust = trust;
    site.mode = mode;
    for (index, cdn) in cdns.iter().enumerate() {
        let name = format!("cdn-{index}");
        health.cell("www", &name).set(true);
        site.cdns.push(fixture::cdn(&name, *cdn));
    }
    fixture::routing(&fixture::config(vec![site]), &health)
}

/// Whether the opt-in is trusted, and the type and fallback of the edge or the reason why there is none.
type Expected = (bool, Result<(CdnType, Option<Reason>), Reason>);

fn verdict(routing: &Routing, lines: &[(&str, &str)]) -> Expected {
    let site = routing.site(routing.find("www.example.com").unwrap());
    let opt_in = decide(
        site,
        Caller { address: PEER.parse().unwrap(), certified: false },
        &KeyFields::of(&headers(lines)),
    );
    (opt_in.believed, opt_in.edge.map(|edge| (edge.dialect().cdn, edge.fallback)))
}

#[test]
fn exactly_one_value_that_is_enabled() {
    let routing = routing(Trust::Any, Mode::On, &[Fastly]);
    let on = (true, Ok((Fastly, None)));
    let off = (false, Err(Reason::NotOptedIn));
    let malformed = (false, Err(Reason::OptInMalformed));
    let check = |values: &[&str], expected: Expected| {
        let lines: Vec<_> = values.iter().map(|value| ("x-push-invalidation", *value)).collect();
        assert_eq!(verdict(&routing, &lines), expected, "{values:?}");
    };
    check(&["enabled"], on);
    check(&["Enabled"], on);
    check(&["ENABLED"], on);
    check(&[], off);
    check(&[""], malformed);
    check(&["enable"], malformed);
    check(&["disabled"], malformed);
    check(&["true"], malformed);
    check(&["enabled, enabled"], malformed);
    check(&["enabled;x"], malformed);
    check(&["enabled", "enabled"], malformed);
    check(&["enabled", "disabled"], malformed);
}

#[test]
fn an_alias_with_underscores_is_no_opt_in() {
    let routing = routing(Trust::Any, Mode::On, &[Fastly]);
    assert_eq!(verdict(&routing, &[("x_push_invalidation", "enabled")]), (false, Err(Reason::NotOptedIn)));
}

#[test]
fn trust_decides_whose_opt_in_is_believed() {
    let believed = (true, Ok((Fastly, None)));
    let refused = (false, Err(Reason::OptInUntrusted));
    let check = |trust: Trust, secrets: &[&str], expected: Expected| {
        let mut lines = vec![("x-push-invalidation", "enabled")];
        lines.extend(secrets.iter().map(|secret| ("x-origin-shim-secret", *secret)));
        assert_eq!(
            verdict(&routing(trust.clone(), Mode::On, &[Fastly]), &lines),
            expected,
            "{trust:?} {secrets:?}"
        );
    };
    let secret = || Trust::Secret(Secret::new("swordfish"));
    let addresses = |nets: &[&str]| Trust::Addresses(nets.iter().map(|net| net.parse().unwrap()).collect());

    check(Trust::Any, &[], believed);
    check(secret(), &["swordfish"], believed);
    check(secret(), &[], refused);
    check(secret(), &[""], refused);
    check(secret(), &["Swordfish"], refused);
    check(secret(), &["swordfis"], refused);
    check(secret(), &["swordfish2"], refused);
    check(secret(), &["swordfish", "swordfish"], refused);
    check(addresses(&["192.0.2.0/24"]), &[], believed);
    check(addresses(&["198.51.100.0/24", "192.0.2.7/32"]), &[], believed);
    check(addresses(&["198.51.100.0/24"]), &[], refused);
    check(addresses(&[]), &[], refused);
}

#[test]
fn modes() {
    let opted_in = [("x-push-invalidation", "enabled")];
    let check = |mode, lines: &[(&str, &str)], expected: Expected| {
        assert_eq!(verdict(&routing(Trust::Any, mode, &[Fastly]), lines), expected, "{mode:?} {lines:?}");
    };
    check(Mode::On, &opted_in, (true, Ok((Fastly, None))));
    check(Mode::Observe, &opted_in, (true, Ok((Fastly, None))));
    check(Mode::Off, &opted_in, (true, Err(Reason::ModeOff)));
    check(Mode::Off, &[], (false, Err(Reason::ModeOff)));
}

/// Checks the edge for a request with `X-BYO-CDN-Type` and the traces of a CDN, at a site with these CDNs.
#[track_caller]
fn detects(
    cdns: &[CdnType],
    cdn_type: Option<&str>,
    traces: &[(&str, &str)],
    expected: Result<(CdnType, Option<Reason>), Reason>,
) {
    let mut lines = vec![("x-push-invalidation", "enabled")];
    lines.extend(cdn_type.map(|cdn_type| ("x-byo-cdn-type", cdn_type)));
    lines.extend(traces);
    assert_eq!(verdict(&routing(Trust::Any, Mode::On, cdns), &lines).1, expected);
}

const ALL: &[CdnType] = &[Fastly, Akamai, Cloudflare, Cloudfront, Varnish];
const DISPUTE: Option<Reason> = Some(Reason::CdnInDispute);
/// The edge of a request that any of [`ALL`] may have sent. `Fastly` is the first of them.
const ANY: Result<(CdnType, Option<Reason>), Reason> = Ok((Fastly, DISPUTE));

#[test]
fn a_named_type() {
    for (name, cdn) in [
        ("fastly", Fastly),
        ("akamai", Akamai),
        ("cloudflare", Cloudflare),
        ("cloudfront", Cloudfront),
        ("varnish", Varnish),
        ("Fastly", Fastly),
    ] {
        detects(ALL, Some(name), &[], Ok((cdn, None)));
    }
    // The type that a trusted peer names is decisive, whatever a visitor forges.
    for traces in [("cf-worker", "x"), ("via", "1.1 akamai, 1.1 varnish"), ("cdn-loop", "Fastly, cloudflare")]
    {
        detects(ALL, Some("akamai"), &[traces], Ok((Akamai, None)));
        detects(ALL, Some("cloudfront"), &[traces], Ok((Cloudfront, None)));
        detects(&[Varnish], Some("varnish"), &[traces], Ok((Varnish, None)));
    }
    // A CDN that the site lacks would not be purged, so the response has tags and a short lifetime for the site's
    // own CDNs.
    detects(&[Fastly], Some("akamai"), &[], Ok((Fastly, DISPUTE)));
    detects(&[Varnish], Some("fastly"), &[("via", "1.1 varnish")], Ok((Varnish, DISPUTE)));
    // Unknown names are ignored.
    detects(&[Fastly], Some("bunny"), &[], Ok((Fastly, None)));
    detects(ALL, Some("bunny"), &[], ANY);
    detects(ALL, Some(""), &[], ANY);
    detects(ALL, Some("bunny"), &[("cdn-loop", "cloudflare")], Ok((Cloudflare, None)));
}

#[test]
fn traces_of_each_cdn() {
    detects(ALL, None, &[("via", "1.1 akamai.net(ghost) (AkamaiGHost)")], Ok((Akamai, None)));
    detects(ALL, None, &[("via", "1.1 v1-akamaitech.net")], Ok((Akamai, None)));
    detects(ALL, None, &[("cdn-loop", "Fastly")], Ok((Fastly, None)));
    detects(&[Fastly], None, &[("cdn-loop", "Fastly, cloudflare")], Ok((Fastly, None)));
    detects(ALL, None, &[("cdn-loop", "cloudflare; loops=1")], Ok((Cloudflare, None)));
    detects(ALL, None, &[("cf-worker", "example.com")], Ok((Cloudflare, None)));
    detects(ALL, None, &[("via", "2.0 3f2.cloudfront.net (CloudFront)")], Ok((Cloudfront, None)));
    detects(ALL, None, &[("via", "1.0 a"), ("via", "1.1 x (CloudFront)")], Ok((Cloudfront, None)));
    // Traces of a CDN that the site does not have are ignored.
    detects(&[Fastly, Varnish], None, &[("cf-worker", "x")], Ok((Fastly, DISPUTE)));
    detects(&[Fastly], None, &[("cf-worker", "x")], Ok((Fastly, None)));
    detects(&[Fastly, Akamai], None, &[("cf-worker", "x"), ("cdn-loop", "Fastly")], Ok((Fastly, None)));
}

#[test]
fn where_traces_contradict_each_other_it_cannot_be_told_who_asked() {
    for traces in [
        [("via", "1.1 akamai"), ("cdn-loop", "Fastly")],
        [("via", "1.1 varnish"), ("cdn-loop", "cloudflare")],
        [("cdn-loop", "cloudflare"), ("via", "1.1 x (CloudFront)")],
        [("cf-worker", "x"), ("via", "1.1 varnish, 1.1 akamai")],
        [("cdn-loop", "Fastly, cloudflare"), ("via", "1.1 x")],
    ] {
        detects(ALL, None, &traces, ANY);
    }
}

#[test]
fn via_varnish_is_whichever_the_site_has() {
    let varnish = &[("via", "1.1 varnish")];
    detects(&[Fastly, Akamai], None, varnish, Ok((Fastly, None)));
    detects(&[Varnish, Akamai], None, varnish, Ok((Varnish, None)));
    detects(&[Akamai], None, varnish, Ok((Akamai, None)));
    detects(&[Fastly, Varnish], None, varnish, Ok((Fastly, DISPUTE)));
    detects(&[Fastly, Varnish], None, &[("via", "1.1 varnish"), ("cdn-loop", "Fastly")], Ok((Fastly, None)));
}

#[test]
fn no_header_and_no_trace_is_the_only_cdn() {
    detects(&[Akamai], None, &[], Ok((Akamai, None)));
    detects(&[Akamai, Akamai], None, &[], Ok((Akamai, None)));
    detects(&[Akamai, Fastly], None, &[], Ok((Akamai, DISPUTE)));
    detects(&[], None, &[], Err(Reason::NoCdn));
    detects(&[], Some("fastly"), &[], Err(Reason::NoCdn));
}

#[test]
fn conditions_are_kept_from_the_origin() {
    let withholds = |mode, cdns: &[CdnType], conditional, method: &Method, opt_in: bool| {
        let mut site = fixture::site("www", &["www.example.com"]);
        site.mode = mode;
        site.policy.conditional = conditional;
        site.cdns = cdns.iter().map(|cdn| fixture::cdn(cdn.as_str(), *cdn)).collect();
        let routing = fixture::routing(&fixture::config(vec![site]), &PurgeHealthView::default());
        let site = routing.site(0);
        let lines: &[(&str, &str)] = if opt_in { &[("x-push-invalidation", "enabled")] } else { &[] };
        let caller = Caller { address: PEER.parse().unwrap(), certified: false };
        decide(site, caller, &KeyFields::of(&headers(lines))).withholds_conditions(site, method)
    };
    let (get, on) = (Method::GET, Mode::On);
    use Conditional::{Pass, Strip};
    assert!(withholds(on, &[Fastly], Strip, &get, true) && withholds(on, ALL, Strip, &Method::HEAD, true));
    assert!(withholds(on, &[Akamai], Pass, &get, true) && withholds(on, ALL, Pass, &get, true));
    assert!(!withholds(on, &[Fastly], Pass, &get, true));
    assert!(!withholds(on, &[Fastly], Strip, &get, false) && !withholds(on, &[], Strip, &get, true));
    assert!(!withholds(on, &[Fastly], Strip, &Method::POST, true));
    assert!(!withholds(Mode::Observe, &[Fastly], Strip, &get, true));
    assert!(!withholds(Mode::Off, &[Fastly], Strip, &get, true));
}

#[test]
fn an_unhealthy_cdn_gets_fallback() {
    let health = PurgeHealthView::default();
    let mut site = fixture::site("www", &["www.example.com"]);
    site.cdns.push(fixture::cdn("fastly", Fastly));
    let routing = fixture::routing(&fixture::config(vec![site]), &health);
    let opted_in = [("x-push-invalidation", "enabled")];
    assert_eq!(verdict(&routing, &opted_in), (true, Ok((Fastly, Some(Reason::PurgingUnhealthy)))));
    health.cell("www", "fastly").set(true);
    assert_eq!(verdict(&routing, &opted_in), (true, Ok((Fastly, None))));
}
