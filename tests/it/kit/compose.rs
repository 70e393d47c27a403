//! The compose file fits the program and the image. No Docker checks it here, so the only schema is that of these
//! tests.

use super::{load, read};
use serde_json::Value;
use std::collections::BTreeSet;
use tempfile::TempDir;

const FILE: &str = "config/deploy/compose.yaml";

fn document() -> Value {
    serde_saphyr::from_str(&read(FILE)).unwrap()
}

fn service() -> Value {
    let services = document()["services"].clone();
    assert_eq!(services.as_object().unwrap().len(), 1);
    services["origin-shim"].clone()
}

fn config() -> String {
    document()["configs"]["origin-shim"]["content"].as_str().unwrap().to_owned()
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|value| value.as_str().unwrap()).collect()
}

#[test]
fn its_configuration_can_be_used_and_its_ports_are_published() {
    let loaded = load(&config(), FILE, TempDir::new().unwrap().path());
    assert!(loaded.warnings.iter().all(|warning| warning.key == "admin.listen"), "{:?}", loaded.warnings);
    let (http, admin) = (loaded.config.server.listen[0], loaded.config.admin.listen);
    assert!(http.ip().is_unspecified() && admin.ip().is_unspecified());
    let expected = [format!("{0}:{0}", http.port()), format!("127.0.0.1:{0}:{0}", admin.port())];
    assert_eq!(strings(&service()["ports"]), expected);
    let exposed = format!("EXPOSE {} {}\n", http.port(), admin.port());
    assert!(read("Dockerfile").contains(&exposed), "{exposed}");
}

/// Otherwise the shim would start without a secret, or with one that is public.
#[test]
fn every_secret_is_a_variable_that_must_be_set() {
    let config = config();
    let used: BTreeSet<&str> =
        config.split("\"env:").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let service = service();
    let given = service["environment"].as_object().unwrap();
    assert_eq!(given.keys().map(String::as_str).collect::<BTreeSet<_>>(), used);
    for (name, value) in given {
        assert!(value.as_str().unwrap().starts_with(&format!("${{{name}:?")), "{name}: {value}");
    }
    assert!(!config.contains("literal:"));
}

#[test]
fn it_is_mounted_where_the_image_and_the_configuration_say() {
    let (document, service, dockerfile) = (document(), service(), read("Dockerfile"));
    let path = service["configs"][0]["target"].as_str().unwrap().to_owned();
    assert_eq!(strings(&service["command"]), ["serve", "--config", &path]);
    assert!(dockerfile.contains(&format!("ORIGIN_SHIM_CONFIG={path}\n")), "{path}");
    assert!(document["configs"][service["configs"][0]["source"].as_str().unwrap()].is_object());

    let (volume, place) = strings(&service["volumes"])[0].split_once(':').unwrap();
    assert!(document["volumes"][volume].is_object());
    assert!(dockerfile.contains(&format!("VOLUME {place}\n")), "{place}");
    assert!(config().contains(&format!("url = \"sqlite:{place}/")), "{place}");
    assert_eq!(service["build"], "../..");
}

#[test]
fn it_ends_in_time_and_has_few_rights() {
    let service = service();
    let grace = service["stop_grace_period"].as_str().and_then(|grace| grace.strip_suffix('s')).unwrap();
    // `drain_timeout` and the longest call to a CDN.
    assert!(grace.parse::<u64>().unwrap() > 30 + 60);
    assert_eq!(service["read_only"], true);
    assert_eq!(strings(&service["cap_drop"]), ["ALL"]);
    assert_eq!(strings(&service["security_opt"]), ["no-new-privileges:true"]);
    assert_eq!(service["restart"], "unless-stopped");
}
