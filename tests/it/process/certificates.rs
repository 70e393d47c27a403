//! The expiry of certificates: `check`, the log and the metrics report it before clients notice it.

use crate::harness::eventually;
use crate::harness::program::{Place, Program};
use crate::harness::shim::program;
use crate::harness::site::Site;
use crate::harness::{HOST, free_address};
use rcgen::{CertificateParams, KeyPair};
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

const DAY: u64 = 86_400;

/// Writes a certificate that ends so many days from now, and half a day more: so the number of whole days stays the
/// same for as long as a test takes.
fn certificate(dir: &Path, name: &str, days: i64) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
    let shifted = |days: i64| match days {
        0.. => SystemTime::now() + Duration::from_secs(days.unsigned_abs() * DAY),
        _ => SystemTime::now() - Duration::from_secs(days.unsigned_abs() * DAY),
    };
    params.not_before = shifted(-365).into();
    params.not_after = (shifted(days) + Duration::from_secs(DAY / 2)).into();
    let made = params.self_signed(&key).unwrap();
    fs::write(dir.join(format!("{name}.pem")), made.pem()).unwrap();
    fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}

fn configuration(place: &Place, certificates: &[(&str, i64)]) -> String {
    let tables: String = certificates
        .iter()
        .map(|(name, days)| {
            certificate(&place.dir, name, *days);
            format!("[[server.certificates]]\ncert = \"{name}.pem\"\nkey = \"{name}.key\"\n")
        })
        .collect();
    format!(
        "[server]\nlisten = [\"{}\"]\ntls_listen = [\"{}\"]\n{tables}[admin]\nlisten = \"{}\"\nhosts = [\"{HOST}\"]\n\
         [store]\nurl = \"sqlite:store.db\"\n{}",
        place.address,
        free_address(),
        place.admin,
        Site::www("127.0.0.1:9")
    )
}

/// Returns the exit code and the output of `check`.
fn check(config: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = program().args(["check", "--config"]).arg(config).args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[test]
fn r71_certificates_say_when_they_end() {
    let shim = Program::start(|place| configuration(place, &[("soon", 6), ("late", 400)]));
    let (code, said) = check(&shim.config, &[]);
    assert_eq!(code, Some(0), "{said}");
    let warning = ":5:8: server.certificates[0].cert: the certificate in ";
    assert!(said.contains(warning) && said.contains("soon.pem expires in 6 days, on "), "{said}");
    assert!(said.contains("late.pem: expires in 400 days, on "), "{said}");
    assert!(!said.contains("late.pem expires"), "{said}");
    assert!(shim.output().contains("soon.pem expires in 6 days"), "{}", shim.output());

    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let ends = |name: &str| {
        let file = shim.dir().join(format!("{name}.pem"));
        shim.metric(&format!(
            "origin_shim_certificate_expiry_timestamp_seconds{{file=\"{}\"}}",
            file.display()
        ))
    };
    assert_eq!([(ends("soon") - now) / DAY, (ends("late") - now) / DAY], [6, 400]);

    // A reload loads the new certificate and forgets the removed one.
    let text = fs::read_to_string(&shim.config).unwrap();
    fs::write(&shim.config, text.replace("soon.", "new.")).unwrap();
    certificate(shim.dir(), "new", 90);
    shim.hang_up();
    eventually("the new one counts", || (ends("new") > 0).then_some(()));
    assert_eq!(ends("soon"), 0);
    let (code, said) = check(&shim.config, &[]);
    assert!(code == Some(0) && !said.contains("replace the file"), "{said}");
}

#[test]
fn r71_one_that_has_ended_fails_the_check_and_no_start() {
    let shim = Program::start(|place| configuration(place, &[("over", -2), ("late", 400)]));
    assert!(shim.output().contains("over.pem expired on "), "{}", shim.output());
    let (code, said) = check(&shim.config, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("is valid, but 1 error was found"), "{said}");
    assert!(said.contains(":5:8: server.certificates[0].cert: the certificate in "), "{said}");
    let (code, said) = check(&shim.config, &["--json"]);
    let found: serde_json::Value = serde_json::from_str(&said).unwrap();
    let files = &found["certificates"];
    assert_eq!(
        (code, &files[0]["expired"], &files[1]["expired"]),
        (Some(1), &true.into(), &false.into()),
        "{said}"
    );
    assert_eq!(files[0]["key"], "server.certificates[0].cert");
    assert!(files[0]["expires_at"].as_str().unwrap().ends_with('Z'), "{said}");
}
