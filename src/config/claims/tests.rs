use super::*;
use crate::config::Cdn;
use crate::config::testing::site;
use crate::purge::testing::cdn;
use crate::rewrite::CdnType;
use proptest::prelude::*;

/// Returns a site with these hosts, whose CDN lists the hosts `of_cdn`.
fn with(name: &str, hosts: &[&str], default: bool, of_cdn: &[&str]) -> Arc<Site> {
    let texts = |hosts: &[&str]| hosts.iter().map(|host| (*host).to_owned()).collect();
    let fastly = Cdn { hosts: texts(of_cdn), ..cdn(CdnType::Fastly) };
    Arc::new(Site { hosts: texts(hosts), default, cdns: vec![Arc::new(fastly)], ..site(name) })
}

#[track_caller]
fn check(claims: &Claims, host: &str, server: Option<usize>, may_purge: &[&str]) {
    assert_eq!(claims.server(host), server, "{host}");
    let who: Vec<_> = ["a", "b", "c"].into_iter().filter(|site| claims.may_purge(site, host)).collect();
    assert_eq!(who, may_purge, "{host}");
}

#[test]
fn a_host_is_the_sites_that_claims_it_most_exactly() {
    let claims = Claims::of(&[
        with("a", &["*.example.com"], true, &[]),
        with("b", &["b.example.com", "*.deep.example.com"], false, &["b.example.com"]),
        with("c", &[], false, &[]),
    ]);
    check(&claims, "b.example.com", Some(1), &["b"]);
    check(&claims, "x.deep.example.com", Some(1), &["b"]);
    check(&claims, "deep.example.com", Some(0), &["a"]);
    check(&claims, "x.example.com", Some(0), &["a"]);
    check(&claims, "example.com", Some(0), &["a"]);
    check(&claims, "192.0.2.1", Some(0), &["a"]);
    assert!(!claims.may_purge("none", "x.example.com"));
}

/// A CDN may send another host than its visitors use.
#[test]
fn what_a_cdn_names_for_its_visitors_is_an_exact_claim_too() {
    let claims = Claims::of(&[
        with("a", &["*.example.com"], false, &[]),
        with("b", &["inner.test", "both.test"], false, &["www.example.com", "shared.test"]),
        with("c", &["shared.test"], true, &["both.test"]),
    ]);
    check(&claims, "www.example.com", Some(0), &["b"]);
    check(&claims, "inner.test", Some(1), &["b"]);
    // The site that names a host exactly keeps it, whatever another site's CDN lists: only that site's purges are
    // guarded there.
    check(&claims, "shared.test", Some(2), &["c"]);
    check(&claims, "both.test", Some(1), &["b"]);
    check(&claims, "elsewhere.test", Some(2), &["c"]);
}

#[test]
fn tags_that_the_shim_makes_are_no_purges_to_name() {
    let claims = Claims::of(&[with("a", &["a.test"], false, &[]), with("b", &["b.test"], false, &[])]);
    let refused = |tag: &str, part: &str| {
        let why = claims.may_name("a", tag).unwrap_err();
        assert!(why.contains(part), "{tag}: {why}");
    };
    refused("site-b", "another site");
    refused("Site-B", "another site");
    for site in ["a", "b"] {
        refused(&tags::path_tag(site, "/x"), "`paths`");
        refused(&tags::section_tag(site, "/x/").to_ascii_uppercase(), "`prefixes`");
    }
    // Other tags that begin like these belong to the origin. A site's own tag is for callers who may purge everything.
    for tag in ["site-a", "site-c", "site-bb", "site-", "p-42", "d-rings", "product-42"] {
        assert_eq!(claims.may_name("a", tag), Ok(()), "{tag}");
    }
}

proptest! {
    /// For any sites, the sites that may purge a host are those that serve it, unless a CDN lists it.
    #[test]
    fn purges_and_requests_agree(
        sites in prop::collection::vec((prop::collection::vec("(\\*\\.)?[ab](\\.[ab]){0,2}", 0..4), any::<bool>()), 1..4),
        host in "[ab](\\.[ab]){0,3}",
    ) {
        let sites: Vec<_> = sites
            .iter()
            .enumerate()
            .map(|(number, (hosts, default))| {
                let hosts: Vec<_> = hosts.iter().map(String::as_str).collect();
                with(&number.to_string(), &hosts, *default, &[])
            })
            .collect();
        let claims = Claims::of(&sites);
        for (number, site) in sites.iter().enumerate() {
            prop_assert_eq!(claims.may_purge(&site.name, &host), claims.server(&host) == Some(number));
        }
    }
}
