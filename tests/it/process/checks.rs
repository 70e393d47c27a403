//! What `check` finds on this machine, each on the real binary: what it is, how bad, where, and what to do.

use crate::harness::program::{Place, Program};
use crate::harness::shim::program;
use crate::harness::{HOST, free_address};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::Value;
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

const TOKEN: &str = "the-token-of-the-tests-0123456789";

/// The findings as `level: key: message -> advice`, and the exit code.
fn check(dir: &Path, text: &str, more: &[&str]) -> (Option<i32>, Vec<String>) {
    fs::write(dir.join("shim.toml"), text).unwrap();
    let output = program()
        .env("ORIGIN_SHIM_TOKEN", TOKEN)
        .args(["check", "--json", "--config"])
        .arg(dir.join("shim.toml"))
        .args(more)
        .output();
    let output = output.unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let found: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    let told = |finding: &Value| {
        assert!(
            finding["line"].as_u64() > Some(0) && finding["file"].as_str().unwrap().ends_with("shim.toml")
        );
        let [level, key, message, advice] =
            ["level", "key", "message", "advice"].map(|name| finding[name].as_str().unwrap_or("-"));
        format!("{level}: {key}: {message} -> {advice}")
    };
    (output.status.code(), found["findings"].as_array().unwrap().iter().map(told).collect())
}

/// Returns a file about which `check` has nothing to say, apart from what `server`, `store`, `site` and `cdn` add.
fn text(server: &str, store: &str, site: &str, cdn: &str) -> String {
    let (listen, admin) = (free_address(), free_address());
    let server = if server.contains("listen = ") {
        server.to_owned()
    } else {
        format!("listen = [\"{listen}\"]\n{server}")
    };
    let origin = if site.contains("origin = ") { "" } else { "origin = \"http://127.0.0.1:9\"\n" };
    let cdn = if cdn.is_empty() { "type = \"varnish\"\napi_urls = [\"http://127.0.0.1:6081\"]" } else { cdn };
    format!(
        "[server]\n{server}\n[admin]\nlisten = \"{admin}\"\n[[admin.tokens]]\nname = \"ops\"\ntoken = \"env:ORIGIN_SHIM_TOKEN\"\n\
         scopes = [\"read\", \"purge\", \"purge-everything\", \"operate\"]\n[store]\nurl = \"sqlite:{store}\"\n\
         [[sites]]\nname = \"www\"\nhosts = [\"www.example.com\"]\nopt_in = {{ trust = [\"10.0.0.0/8\"] }}\n{origin}{site}\n[[sites.cdns]]\n{cdn}\n"
    )
}

/// Asserts that exactly this is found, and the exit code that goes with it.
fn expect(dir: &Path, text: &str, expected: &[&str]) {
    let (code, found) = check(dir, text, &[]);
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        let parts: Vec<_> = expected.split(" … ").collect();
        assert!(
            found.starts_with(parts[0]) && parts.iter().all(|part| found.contains(part)),
            "{found}\n{expected}"
        );
    }
    let errors = found.iter().any(|finding| finding.starts_with("error"));
    assert_eq!(code, Some(i32::from(errors)), "{found:#?}");
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    let dir = TempDir::new().unwrap();
    expect(dir.path(), &text("", "store.db", "", ""), &[]);
}

#[test]
fn the_store_must_be_usable() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("notes.txt"), "notes").unwrap();
    for (store, found) in [
        ("/nowhere/store.db", "error: store.url: … does not exist … create it"),
        ("/tmp", "error: store.url: … is a directory … name a file in it"),
        ("notes.txt", "error: store.url: … is not an SQLite database … move this one away"),
    ] {
        expect(dir.path(), &text("", store, "", ""), &[found]);
    }
    let (code, found) = check(dir.path(), &text("", "/nowhere/store.db", "", ""), &["--file-only"]);
    assert_eq!((code, found), (Some(0), Vec::new()), "another machine's store is not looked at");
}

#[test]
fn addresses_must_be_free_and_of_this_machine() {
    let dir = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let in_use =
        format!("error: server.listen[0]: {address} is in use by … process {} … stop it", std::process::id());
    expect(dir.path(), &text(&format!("listen = [\"{address}\"]"), "store.db", "", ""), &[&in_use]);
    let elsewhere = text("listen = [\"192.0.2.1:8080\"]", "store.db", "", "");
    expect(
        dir.path(),
        &elsewhere,
        &["error: server.listen[0]: no network interface of this machine has 192.0.2.1"],
    );
}

#[test]
fn the_ports_of_a_running_shim_are_its_own() {
    let shim = Program::start_with(
        |_, mut program| {
            program.env("ORIGIN_SHIM_TOKEN", TOKEN);
            program
        },
        |Place { address, admin, .. }| {
            text(&format!("listen = [\"{address}\"]"), "store.db", "", "")
                .lines()
                .map(|line| {
                    if line.starts_with("listen = \"") {
                        format!("listen = \"{admin}\"\nhosts = [\"{HOST}\"]\n")
                    } else {
                        format!("{line}\n")
                    }
                })
                .collect::<String>()
        },
    );
    let running = fs::read_to_string(&shim.config).unwrap();
    expect(shim.dir(), &running, &[]);
}

#[test]
fn files_with_secrets_are_for_few() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("secret");
    fs::write(&file, "0123456789abcdef0123").unwrap();
    let text = text("", "store.db", "", "").replace("env:ORIGIN_SHIM_TOKEN", "file:secret");
    for (mode, found) in [
        (0o640, None),
        (
            0o644,
            Some("warning: admin.tokens[0].token: every user of this machine can read the secret … chmod o="),
        ),
        (
            0o666,
            Some("warning: admin.tokens[0].token: every user of this machine can read and change the secret"),
        ),
    ] {
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        expect(dir.path(), &text, found.as_slice());
    }
}

#[test]
fn origins_must_not_lead_back() {
    let dir = TempDir::new().unwrap();
    let listen = free_address();
    let own =
        text(&format!("listen = [\"{listen}\"]"), "store.db", &format!("origin = \"http://{listen}\""), "");
    expect(dir.path(), &own, &["error: sites[0].origin: the origin is this shim itself"]);
    let public = text("", "store.db", "origin = \"https://www.example.com\"", "");
    expect(
        dir.path(),
        &public,
        &["warning: sites[0].origin: `www.example.com` is a host of site `www` … 508"],
    );
}

#[test]
fn certificates_must_have_begun_and_name_the_hosts() {
    let dir = TempDir::new().unwrap();
    let write = |name: &str, host: &str, begins_in: u64, is_ca: bool| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.not_before =
            (SystemTime::now() - Duration::from_secs(3_600) + Duration::from_secs(begins_in)).into();
        params.not_after = (SystemTime::now() + Duration::from_secs(400 * 86_400)).into();
        params.is_ca = if is_ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
        fs::write(dir.path().join(format!("{name}.pem")), params.self_signed(&key).unwrap().pem()).unwrap();
        let path = dir.path().join(format!("{name}.key"));
        fs::write(&path, key.serialize_pem()).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
        let tls = free_address();
        text(
            &format!(
                "tls_listen = [\"{tls}\"]\n[[server.certificates]]\ncert = \"{name}.pem\"\nkey = \"{name}.key\""
            ),
            "store.db",
            "",
            "",
        )
    };
    let note = "note: server.certificates[0].cert: the certificate in … self-signed … give it to the CDN";
    expect(dir.path(), &write("good", "*.example.com", 0, false), &[note]);
    expect(
        dir.path(),
        &write("other", "shop.example.org", 0, false),
        &["warning: server.certificates: no certificate names `www.example.com` … add the names", note],
    );
    let authority = "note: server.certificates[0].cert: … an authority's own";
    expect(dir.path(), &write("ca", "www.example.com", 0, true), &[authority]);
    let early = "error: server.certificates[0].cert: … is not valid before … clock";
    expect(dir.path(), &write("early", "www.example.com", 7_200, false), &[early, note]);
}

#[test]
fn settings_that_do_not_do_what_they_seem_to() {
    let dir = TempDir::new().unwrap();
    let find = |server: &str, site: &str, cdn: &str, found: &[&str]| {
        expect(dir.path(), &text(server, "store.db", site, cdn), found);
    };
    let (secret, fastly) = ("env:ORIGIN_SHIM_TOKEN", "type = \"fastly\"\nservice_id = \"S\"\n");
    find(
        "trusted_proxies = [\"10.0.0.7/8\"]",
        "",
        "",
        &["warning: server.trusted_proxies[0]: `10.0.0.7/8` means all of 10.0.0.0/8"],
    );
    find(
        "",
        "",
        "type = \"varnish\"\napi_urls = [\"http://127.0.0.1:6081\"]\nhosts = [\"wwww.example.com\"]",
        &["warning: sites[0].cdns[0].hosts[0]: `wwww.example.com` is no host of site `www`"],
    );
    find(
        "",
        "[[sites.rules]]\npath = \"/media/**\"\n[[sites.rules]]\npath = \"/media/*.jpg\"",
        "",
        &["warning: sites[0].rules[1].path: never applies: rules[0] has `/media/**`"],
    );
    find(
        "",
        "[sites.cache]\nedge_ttl = \"5m\"\nbrowser_ttl = \"2h\"",
        "",
        &["warning: sites[0].cache.browser_ttl: longer than `edge_ttl`"],
    );
    find(
        "",
        "[sites.cache]\nstale_if_error = \"1h\"",
        &format!(
            "type = \"akamai\"\nendpoint = \"a.akamaiapis.net\"\nclient_token = \"{secret}\"\nclient_secret = \"{secret}\"\naccess_token = \"{secret}\""
        ),
        &["warning: sites[0].cache.stale_if_error: has no effect at `akamai`"],
    );
    find(
        "",
        "[sites.cache]\nstale_while_revalidate = \"1m\"",
        &format!("{fastly}auth_token = \"{secret}\"\nmode = \"soft\""),
        &["note: sites[0].cache.stale_while_revalidate: soft purges at `fastly`: with shielding"],
    );
    let (code, found) = check(dir.path(), &text("", "store.db", "", "").replace(", \"operate\"]", "]"), &[]);
    assert_eq!(code, Some(0));
    assert!(found[0].starts_with("note: admin.tokens: no token has the scope `operate`"), "{found:?}");
}

#[test]
fn an_invalid_file_is_json_too() {
    let dir = TempDir::new().unwrap();
    let (code, found) = check(dir.path(), &text("workrs = 2", "store.db", "", ""), &[]);
    assert_eq!(code, Some(78));
    assert!(found[0].starts_with("error: server.workrs: unknown key; did you mean `workers`?"), "{found:?}");
}
