//! The manifests fit together, and fit the program. No API server checks them here, so the only schema is that
//! of these tests.

use super::{load, read};
use crate::harness::http::Request;
use crate::harness::shim::Shim;
use crate::harness::site::Site;
use serde_json::Value;
use std::collections::BTreeSet;
use tempfile::TempDir;

const MANIFESTS: &str = "config/deploy/kubernetes.yaml";
const CONFIG_DIR: &str = "/etc/origin-shim";

fn objects() -> Vec<Value> {
    serde_saphyr::from_multiple(&read(MANIFESTS)).unwrap()
}

fn object(kind: &str, name: &str) -> Value {
    let is_it = |object: &Value| object["kind"] == kind && object["metadata"]["name"] == name;
    objects().into_iter().find(is_it).unwrap_or_else(|| panic!("no {kind} {name}"))
}

fn pod() -> Value {
    object("StatefulSet", "origin-shim")["spec"]["template"]["spec"].clone()
}

fn container() -> Value {
    pod()["containers"][0].clone()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn strings<'v>(values: impl IntoIterator<Item = &'v Value>) -> BTreeSet<&'v str> {
    values.into_iter().map(text).collect()
}

fn config() -> String {
    text(&object("ConfigMap", "origin-shim")["data"]["origin-shim.toml"]).to_owned()
}

#[test]
fn every_object_is_named_and_known() {
    let objects = objects();
    let kinds = strings(objects.iter().map(|object| &object["kind"]));
    assert_eq!(kinds, ["ConfigMap", "NetworkPolicy", "Secret", "Service", "StatefulSet"].into());
    for object in &objects {
        let version = match text(&object["kind"]) {
            "NetworkPolicy" => "networking.k8s.io/v1",
            "StatefulSet" => "apps/v1",
            _ => "v1",
        };
        assert_eq!(object["apiVersion"], version, "{object}");
        assert_eq!(object["metadata"]["labels"]["app.kubernetes.io/name"], "origin-shim", "{object}");
    }
}

#[test]
fn its_configuration_can_be_used_and_its_ports_are_the_pods() {
    let secrets = TempDir::new().unwrap();
    let loaded = load(&config(), MANIFESTS, secrets.path());
    // No other warning is acceptable.
    assert!(loaded.warnings.iter().all(|warning| warning.key == "admin.listen"), "{:?}", loaded.warnings);
    let server = &loaded.config.server;
    let listen =
        [("http", server.listen[0]), ("https", server.tls_listen[0]), ("admin", loaded.config.admin.listen)];
    let container = container();
    let ports: Vec<_> = list(&container["ports"])
        .iter()
        .map(|port| (text(&port["name"]), port["containerPort"].as_u64().unwrap()))
        .collect();
    assert_eq!(ports, listen.map(|(name, address)| (name, u64::from(address.port()))));
    assert!(listen.iter().all(|(_, address)| address.ip().is_unspecified()));

    let names: BTreeSet<_> = ports.iter().map(|(name, _)| *name).collect();
    for service in ["origin-shim", "origin-shim-admin"] {
        let service = object("Service", service);
        for port in list(&service["spec"]["ports"]) {
            assert!(names.contains(text(&port["targetPort"])), "{port}");
        }
    }
    let policy = object("NetworkPolicy", "origin-shim");
    for rule in list(&policy["spec"]["ingress"]) {
        let ports = strings(list(&rule["ports"]).iter().map(|port| &port["port"]));
        assert!(ports.is_subset(&names), "{rule}");
        // Only the named peers reach the admin API.
        assert_eq!(ports.contains("admin"), !rule["from"].is_null(), "{rule}");
    }
}

#[test]
fn what_is_mounted_is_there() {
    let (pod, container) = (pod(), container());
    let set = object("StatefulSet", "origin-shim");
    let claims = list(&set["spec"]["volumeClaimTemplates"]).iter().map(|claim| &claim["metadata"]["name"]);
    let volumes = strings(list(&pod["volumes"]).iter().map(|volume| &volume["name"]).chain(claims));
    let mounts = list(&container["volumeMounts"]);
    assert_eq!(strings(mounts.iter().map(|mount| &mount["name"])), volumes);

    let args: Vec<_> = list(&container["args"]).iter().map(text).collect();
    assert_eq!(args, ["serve", "--config", &format!("{CONFIG_DIR}/origin-shim.toml")]);

    // Every path of the configuration is below a mount, and every secret is in the Secret.
    let config = config();
    let secret = object("Secret", "origin-shim");
    let paths = strings(mounts.iter().map(|mount| &mount["mountPath"]));
    assert!(paths.contains(CONFIG_DIR));
    let absolute =
        config.split('"').filter_map(|part| part.split_once('/').map(|(_, path)| format!("/{path}")));
    let files: Vec<_> =
        absolute.filter(|path| path.starts_with("/run/") || path.starts_with("/var/")).collect();
    assert_eq!(files.len(), 6, "{files:?}");
    for file in &files {
        let (dir, name) = file.rsplit_once('/').unwrap();
        assert!(paths.contains(dir), "{file}");
        assert!(dir != "/run/secrets/origin-shim" || secret["stringData"][name].is_string(), "{file}");
    }
    assert_eq!(secret["stringData"].as_object().unwrap().len(), 3);
}

/// Otherwise a shim could run with a token that is public.
#[test]
fn the_placeholders_are_refused() {
    let secret = object("Secret", "origin-shim");
    let dir = TempDir::new().unwrap();
    for (name, value) in secret["stringData"].as_object().unwrap() {
        std::fs::write(dir.path().join(name), text(value)).unwrap();
    }
    let config = config().replace("/run/secrets/origin-shim/", &format!("{}/", dir.path().display()));
    let file = std::path::Path::new(MANIFESTS);
    let error = origin_shim::config::parse(&config, file, &|_| None).unwrap_err().to_string();
    for key in ["token", "secret", "auth_token"] {
        assert!(error.contains(&format!(".{key}: ")), "{key}: {error}");
    }
}

#[test]
fn probes_and_scrapers_are_answered() {
    let shim = Shim::start(Site::named("www").default_site().origin("127.0.0.1:9"));
    let container = container();
    let admin = object("Service", "origin-shim-admin");
    let annotations = &admin["metadata"]["annotations"];
    let probes =
        ["startupProbe", "livenessProbe", "readinessProbe"].map(|probe| &container[probe]["httpGet"]);
    assert!(probes.iter().all(|probe| probe["port"] == "admin"));
    let paths = probes.map(|probe| text(&probe["path"])).into_iter();
    for path in paths.chain([text(&annotations["prometheus.io/path"])]) {
        assert_eq!(Request::get(path).send(shim.admin).status, 200, "{path}");
    }
    assert_eq!(annotations["prometheus.io/port"], "9180");
}

#[test]
fn the_admin_api_goes_by_the_names_of_its_service() {
    let secrets = TempDir::new().unwrap();
    let hosts = load(&config(), MANIFESTS, secrets.path()).config.admin.hosts;
    let service = object("Service", "origin-shim-admin");
    let name = text(&service["metadata"]["name"]);
    // Probes name no host, so they use the pod's address.
    assert!(
        ["startupProbe", "livenessProbe", "readinessProbe"]
            .iter()
            .all(|probe| container()[probe]["httpGet"]["host"].is_null())
    );
    let ends = ["", ".origin-shim", ".origin-shim.svc", ".origin-shim.svc.cluster.local"];
    assert_eq!(hosts, ends.map(|end| format!("{name}{end}")));
}

#[test]
fn it_runs_alone_and_with_few_rights() {
    let set = object("StatefulSet", "origin-shim");
    // A second replica would have a store of its own, without the purges of the first.
    assert_eq!(set["spec"]["replicas"], 1);
    let (pod, container) = (pod(), container());
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let rights = &container["securityContext"];
    assert_eq!(rights["allowPrivilegeEscalation"], false);
    assert_eq!(rights["readOnlyRootFilesystem"], true);
    assert_eq!(rights["capabilities"]["drop"][0], "ALL");
    let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    let wait = container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap();
    // The two terms are `drain_timeout` and the longest call to a CDN.
    assert!(grace > wait + 30 + 60);
}
