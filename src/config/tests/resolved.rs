//! Tests of what a valid file resolves to.

use super::{CANARY, SITE, read};
use crate::config::{Config, Limits, OriginHost, Trust};
use std::time::Duration;

fn config(text: &str) -> Config {
    match read(text) {
        Ok(loaded) => loaded.config,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn defaults() {
    let mut config = config(SITE);
    config.server.workers = 1;
    assert_eq!(format!("{:?}", config.server.limits), format!("{:?}", Limits::default()));
    insta::assert_debug_snapshot!(config);
}

#[test]
fn every_cdn() {
    let cdns = r#"
        [[sites.cdns]]
        type = "fastly"
        service_id = "S1"
        auth_token = "env:F_CANARY"
        [[sites.cdns]]
        type = "akamai"
        endpoint = "akab-1.purge.akamaiapis.net"
        client_token = "env:A_CANARY"
        client_secret = "env:A_CANARY"
        access_token = "env:A_CANARY"
        [[sites.cdns]]
        type = "cloudflare"
        zone_id = "z1"
        api_token = "env:C_CANARY"
        [[sites.cdns]]
        type = "cloudfront"
        distribution_id = "E1"
        access_key_id = "A1"
        secret_access_key = "env:W_CANARY"
        [[sites.cdns]]
        type = "varnish"
        api_urls = ["http://127.0.0.1:6081/", "http://127.0.0.1:6082"]
    "#;
    let config = config(&format!("{SITE}{cdns}"));
    let shown = format!("{:#?}", config.sites[0].cdns);
    assert!(!shown.contains(CANARY), "{shown}");
    insta::assert_snapshot!(shown);
}

#[test]
fn values_that_are_given_win() {
    let config = config(
        r#"
        [server]
        listen = []
        tls_listen = ["127.0.0.1:0"]
        [[server.certificates]]
        cert = "CERT"
        key = "KEY"
        [[sites]]
        name = "a"
        hosts = ["A.example.com", "*.b.example.com"]
        origin = ["http://one:8080", "https://two"]
        origin_host = "Shop.example.com:8443"
        opt_in = { trust = ["10.1.2.3/8", "2001:db8::1"] }
        [[sites.rules]]
        path = "/assets/**"
        edge_ttl = "30d"
        override = true
        tags = ["assets"]
        [[sites.cdns]]
        type = "fastly"
        service_id = "S1"
        auth_token = "env:F_CANARY"
        mode = "soft"
        repeat_after = "5s"
        account = "main"
        [[sites.cdns]]
        name = "other"
        type = "fastly"
        service_id = "S2"
        auth_token = "env:F_CANARY"
        hosts = ["WWW.example.com"]
        repeat_after = "0s"
        "#
        .replace("CERT", &certificate().0)
        .replace("KEY", &certificate().1)
        .as_str(),
    );
    let site = &config.sites[0];
    assert!(config.server.listen.is_empty());
    assert_eq!(site.hosts, ["a.example.com", "*.b.example.com"]);
    assert_eq!(
        site.origins.iter().map(|origin| origin.authority.as_str()).collect::<Vec<_>>(),
        ["one:8080", "two"]
    );
    assert_eq!(site.origin_host, OriginHost::Literal("shop.example.com:8443".to_owned()));
    let Trust::Addresses(networks) = &site.trust else { panic!("{:?}", site.trust) };
    assert_eq!(
        networks.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["10.0.0.0/8", "2001:db8::1/128"]
    );
    assert!(site.policy.rules[0].allow_override);
    assert_eq!(site.policy.rules[0].edge_ttl, Some(Duration::from_secs(30 * 86_400)));
    let [first, second] = &site.cdns[..] else { panic!("two CDNs") };
    assert!(!first.hard);
    assert_eq!(
        (first.repeat_after, first.repeat_everything_after),
        (Duration::from_secs(5), Duration::from_secs(5))
    );
    assert_eq!((second.repeat_after, second.repeat_everything_after), (Duration::ZERO, Duration::ZERO));
    assert_eq!(first.hosts, ["a.example.com"]);
    assert_eq!(second.hosts, ["www.example.com"]);
    assert_eq!((first.account.as_str(), second.account.as_str()), ("fastly:main", "fastly:a/fastly"));
}

#[test]
fn publish_events() {
    let config = config(&format!(
        r#"{SITE}
        profile = "aem"
        page_forms = ["", ".php"]
        [[sites.events]]
        purge_paths = ["//blog/./"]
        [[sites.events]]
        on = ["price"]
        path = "/shop/**"
        parents = 2
        purge_tags = ["prices"]
        purge_prefixes = ["/shop/%61/"]
        purge_everything = true
        [sites.aem]
        org = "acme"
        site = "website"
        content_bus_id = "c1"
        bulk_threshold = 5
        [[sites.aem.folders]]
        path = "/products/"
        maps_to = "/products/default"
        "#
    ));
    let site = &config.sites[0];
    insta::assert_debug_snapshot!((&site.events, &site.policy.aem));
}

#[test]
fn cdns_with_one_credential_share_an_account() {
    let fastly = |name: &str, service: &str, token: &str| {
        format!(
            "[[sites.cdns]]\nname = \"{name}\"\ntype = \"fastly\"\nservice_id = \"{service}\"\nauth_token = \"env:{token}_CANARY\"\n"
        )
    };
    let text =
        format!("{SITE}{}{}{}", fastly("a", "S1", "X"), fastly("b", "S2", "X"), fastly("c", "S3", "Y"));
    let accounts: Vec<_> = config(&text).sites[0].cdns.iter().map(|cdn| cdn.account.clone()).collect();
    assert_eq!(accounts, ["fastly:www/a", "fastly:www/a", "fastly:www/c"]);
}

/// Returns the paths of a new certificate and its key, which are the same at every call.
fn certificate() -> (String, String) {
    use std::sync::OnceLock;
    static DIRECTORY: OnceLock<tempfile::TempDir> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["a.example.com".to_owned()]).unwrap();
        std::fs::write(directory.path().join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(directory.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        let other = rcgen::KeyPair::generate().unwrap();
        std::fs::write(directory.path().join("other.pem"), other.serialize_pem()).unwrap();
        directory
    });
    let path = |name: &str| directory.path().join(name).display().to_string();
    (path("cert.pem"), path("key.pem"))
}

#[test]
fn trust_in_client_certificates_needs_an_authority_and_a_tls_listener() {
    let (cert, key) = certificate();
    let file = |server: &str| {
        let certificates = format!("[[server.certificates]]\ncert = \"{cert}\"\nkey = \"{key}\"\n");
        read(&format!("[server]\n{server}\n{certificates}{SITE}opt_in = {{ trust = \"client-cert\" }}\n"))
    };
    let tls = "tls_listen = [\"127.0.0.1:0\"]";
    let authority = format!("client_ca = \"{cert}\"");
    let good = file(&format!("{tls}\n{authority}")).unwrap().config;
    assert!(matches!(good.sites[0].trust, Trust::ClientCertificate));
    assert_eq!(good.server.client_ca.as_deref(), Some(std::path::Path::new(&cert)));
    for lacking in [tls, authority.as_str()] {
        let refused = file(lacking).unwrap_err().problems()[0].to_string();
        assert!(
            refused.ends_with("trust: \"client-cert\" needs `server.client_ca` and `server.tls_listen`"),
            "{refused}"
        );
    }
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let (cert, key) = certificate();
    let with = |cert: &str, key: &str| {
        read(&format!("[[server.certificates]]\ncert = \"{cert}\"\nkey = \"{key}\"\n{SITE}"))
            .map_err(|error| error.problems()[0].to_string())
    };
    assert!(with(&cert, &key).is_ok());
    let other = with(&cert, &key.replace("key.pem", "other.pem")).unwrap_err();
    assert!(
        other.contains("shim.toml:3:7: server.certificates[0].key: the key in ")
            && other.contains(" does not belong to the certificate in "),
        "{other}"
    );
    let swapped = with(&key, &cert).unwrap_err();
    assert!(swapped.contains("server.certificates[0].cert: cannot read certificates from"), "{swapped}");
}
