//! `check --credentials` against APIs that check their keys.

use crate::harness::fake_cdn::{Akamai, Call, Cloudflare, Cloudfront, FakeCdn, Fastly, Node, Purged, Vendor};
use crate::harness::http::Request;
use crate::harness::shim::{Shim, program};
use crate::harness::site::Site;
use serde_json::Value;
use std::fs;
use tempfile::TempDir;

/// One CDN of each type.
struct Cdns {
    fastly: FakeCdn<Fastly>,
    akamai: FakeCdn<Akamai>,
    cloudflare: FakeCdn<Cloudflare>,
    cloudfront: FakeCdn<Cloudfront>,
    node: FakeCdn<Node>,
}

impl Cdns {
    fn start() -> Self {
        Self {
            fastly: FakeCdn::start(Fastly::default()),
            akamai: FakeCdn::start(Akamai::default()),
            cloudflare: FakeCdn::start(Cloudflare::default()),
            cloudfront: FakeCdn::start(Cloudfront::default()),
            node: FakeCdn::start(Node::default()),
        }
    }

    fn settings(&self) -> [String; 5] {
        [
            self.fastly.settings(),
            self.akamai.settings(),
            self.cloudflare.settings(),
            self.cloudfront.settings(),
            self.node.settings(),
        ]
    }

    /// Returns the items that took effect, by CDN.
    fn purged(&self) -> [Vec<Purged>; 5] {
        [
            self.fastly.purged(),
            self.akamai.purged(),
            self.cloudflare.purged(),
            self.cloudfront.purged(),
            self.node.purged(),
        ]
    }
}

/// Checks a site with these CDNs. Returns the exit code and the output.
fn run(settings: &[String], arguments: &[&str]) -> (Option<i32>, String) {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("shim.toml");
    let site = settings.iter().fold(Site::www("127.0.0.1:9"), |site, cdn| site.cdn(cdn));
    fs::write(&file, format!("[server]\nlisten = [\"127.0.0.1:8080\"]\n{site}")).unwrap();
    let output = program()
        .args(["check", "--credentials"])
        .args(arguments)
        .arg("--config")
        .arg(&file)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

/// Does the same with `--json`. Returns the exit code, whether each CDN is usable, and the other findings.
pub fn check(settings: &[String], arguments: &[&str]) -> (Option<i32>, Vec<String>, Vec<Value>) {
    let (code, said) = run(settings, &[&["--json"], arguments].concat());
    let found: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    let cdns = found["credentials"]["sites"][0]["cdns"].as_array().unwrap().clone();
    let usable = cdns.iter().map(|cdn| cdn["usable"].as_str().unwrap().to_owned()).collect();
    (code, usable, cdns)
}

#[test]
fn good_credentials_are_proved_by_a_probe() {
    let cdns = Cdns::start();
    let (code, usable, found) = check(&cdns.settings(), &[]);
    assert_eq!(code, Some(0), "{found:?}");
    assert_eq!(usable, ["unproved", "yes", "unproved", "unproved", "yes"], "{found:?}");
    let nothing = cdns.purged().map(|purged| purged.len());
    assert_eq!(nothing, [0, 0, 0, 0, 2], "only Varnish has no other way");

    let (code, usable, found) = check(&cdns.settings(), &["--probe"]);
    assert_eq!((code, usable), (Some(0), vec!["yes".to_owned(); 5]), "{found:?}");
    for purged in cdns.purged() {
        let last = purged.last().unwrap();
        assert!(last.name.trim_start_matches('/').starts_with("origin-shim-check-"), "{last:?}");
        let is_always_hard = last.name.starts_with('/') || last.name.ends_with(".invalid/");
        assert!(!last.hard || is_always_hard, "soft, but at CloudFront and for bans: {last:?}");
    }
    let who = |index: usize| found[index]["identity"].as_str().unwrap_or_default();
    assert!(who(0).contains("deploy") && who(1).contains("origin-shim purging"), "{found:?}");
    assert!(
        who(2).contains("ed17574386854bf78a67040be0a770b0") && who(3).contains("arn:aws:iam"),
        "{found:?}"
    );
}

#[test]
fn bad_credentials_are_named_with_what_to_do() {
    let cdns = Cdns::start();
    let mut settings = cdns.settings();
    let wrong = [
        ("fake-fastly-token", "wrong"),
        ("fake-akamai-client-secret", "wrong"),
        ("cfut_fake-cloudflare-token", "cfut_wrong"),
        ("fake-cloudfront-secret", "wrong"),
    ];
    for (settings, (from, to)) in settings.iter_mut().zip(wrong) {
        assert!(settings.contains(from));
        *settings = settings.replace(from, to);
    }
    cdns.node.change(|node| node.allowed = false);
    let (code, said) = run(&settings, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(said.matches("NOT USABLE").count(), 5, "{said}");
    for words in [
        "Fastly does not know this token",
        "Akamai does not accept the credentials",
        "Cloudflare does not know this token",
        "AWS does not accept the key",
        "does not let this machine purge",
        "acl purgers",
        "create a new key in IAM",
    ] {
        assert!(said.contains(words), "{words:?} is not in {said}");
    }
}

#[test]
fn what_is_missing_is_told() {
    let cdns = Cdns::start();
    let settings = cdns.settings();
    cdns.fastly.change(|fastly| fastly.token.scope = "purge_select".to_owned());
    cdns.akamai.change(|akamai| akamai.granted = false);
    cdns.cloudflare.change(|cloudflare| {
        cloudflare.account_owned = true;
        cloudflare.may_read_zone = true;
        cloudflare.plan = "pro".to_owned();
    });
    cdns.cloudfront.change(|cloudfront| {
        cloudfront.tag_header = None;
        cloudfront.allowed.retain(|action| *action != "GetInvalidation");
    });
    let mut settings = settings;
    settings[2] = settings[2].replace("cfut_", "cfat_");
    cdns.cloudflare.change(|cloudflare| cloudflare.token = cloudflare.token.replace("cfut_", "cfat_"));
    let (code, usable, found) = check(&settings, &["--probe"]);
    assert_eq!(code, Some(1));
    assert_eq!(usable, ["yes", "no", "yes", "no", "yes"], "{found:?}");
    let says = |index: usize, words: &str| {
        assert!(found[index].to_string().contains(words), "{words:?} is not in {}", found[index]);
    };
    says(0, "purge_all");
    says(1, "CCU APIs");
    says(2, "of an account");
    says(2, "The zone is on the pro plan");
    says(3, "no CacheTagConfig");
    says(3, "cloudfront:GetInvalidation");
}

#[test]
fn a_clock_that_is_wrong_is_corrected_and_told() {
    let cdns = Cdns::start();
    cdns.akamai.skew_clock(90_000);
    cdns.cloudfront.skew_clock(-600_000);
    let (code, usable, found) = check(&cdns.settings(), &["--probe"]);
    assert_eq!((code, usable), (Some(0), vec!["yes".to_owned(); 5]), "{found:?}");
    assert!(found[1].to_string().contains("seconds slow"), "{}", found[1]);
    assert!(found[3].to_string().contains("seconds fast"), "{}", found[3]);
    let grants = cdns.akamai.calls();
    let grants: Vec<_> =
        grants.iter().filter(|call| call.target.ends_with("/rate-limit-status/tag")).collect();
    assert_eq!(grants.iter().map(|call| call.status()).collect::<Vec<_>>(), [Some(400), Some(201)]);
}

#[test]
fn an_api_that_is_not_there_is_told() {
    let cdns = Cdns::start();
    let settings = cdns.settings()[0].replace(&cdns.fastly.url(), "http://127.0.0.1:9");
    let (code, usable, found) = check(&[settings], &[]);
    assert_eq!((code, usable), (Some(1), vec!["no".to_owned()]), "{found:?}");
    assert!(found[0].to_string().contains("did not answer"), "{found:?}");
}

#[test]
fn the_admin_api_tells_the_same() {
    let fastly = FakeCdn::start(Fastly::default());
    let shim = Shim::start(Site::www("127.0.0.1:9").cdn(&fastly.settings()));
    let ask = |site: &str, body: &str| {
        let target = format!("/v1/sites/{site}/credentials/check");
        let request = Request { body: body.as_bytes(), ..Request::get(&target) };
        shim.call(request.method("POST"))
    };
    let usable = |body: &str| {
        let answer = ask("www", body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let cdn = answer.json()["cdns"][0].clone();
        assert_eq!((&cdn["name"], &cdn["type"]), (&"fastly".into(), &"fastly".into()), "{cdn}");
        cdn["usable"].as_str().unwrap().to_owned()
    };
    assert_eq!(usable(""), "unproved");
    assert_eq!(usable(r#"{"probe": false}"#), "unproved");
    assert!(fastly.purged().is_empty());
    assert_eq!(usable(r#"{"probe": true}"#), "yes");
    assert_eq!(fastly.purged().len(), 1);
    fastly.change(|fastly| fastly.revoked = true);
    assert_eq!(usable(""), "no");
    assert_eq!(ask("www", r#"{"prob": true}"#).status, 422);
    assert_eq!(ask("nowhere", "").status, 404);
}

/// Repeats a recorded call with this body.
fn replay<V: Vendor>(cdn: &FakeCdn<V>, call: &Call, body: &[u8]) -> u16 {
    let known = |name: &str| call.headers.get(name).map_or("", |value| value.to_str().unwrap());
    let names = ["authorization", "x-amz-date", "content-type"];
    let headers: Vec<(&str, &str)> = names.map(|name| (name, known(name))).to_vec();
    let request = Request { host: known("host"), body, ..Request::get(&call.target) };
    request.method(&call.method).headers(&headers).send(cdn.address).status
}

#[test]
fn a_signature_is_good_for_one_body() {
    let cdns = Cdns::start();
    check(&cdns.settings(), &["--probe"]);
    let last = |calls: Vec<Call>| calls.into_iter().rev().find(|call| !call.body.is_empty()).unwrap();

    let purge = last(cdns.akamai.calls());
    assert_eq!(replay(&cdns.akamai, &purge, br#"{"objects":["other"]}"#), 401);
    assert_eq!(replay(&cdns.akamai, &purge, &purge.body), 400, "its nonce is used up");

    let purge = last(cdns.cloudfront.calls());
    assert_eq!(replay(&cdns.cloudfront, &purge, b"<InvalidationBatch/>"), 403);
    assert_eq!(replay(&cdns.cloudfront, &purge, &purge.body), 201, "the invalidation that there is");
    assert_eq!(cdns.cloudfront.purged().len(), 1);
}
