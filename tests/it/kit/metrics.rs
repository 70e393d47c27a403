//! Dashboards and alerts query only metrics, labels and values that exist.

use super::{insist, read, repository};
use origin_shim::metrics::HeaderPurge;
use origin_shim::metrics::shard::{Limit, OriginErrorKind};
use origin_shim::rewrite::{Outcome, Reason};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use tempfile::TempDir;

const ALERTS: &str = "config/deploy/alerts.yaml";
const DASHBOARD: &str = "config/deploy/dashboard.json";
/// The list of metrics. The metrics' own tests compare it with `Metrics::render`.
const NAMES: &str =
    "src/metrics/snapshots/origin_shim__metrics__tests__names_types_and_labels_are_a_contract.snap";

/// The labels that Prometheus itself adds to every series.
const TARGET_LABELS: [&str; 2] = ["job", "instance"];

/// Returns the name of every series with its labels.
pub(super) fn known() -> BTreeMap<String, BTreeSet<String>> {
    let mut known = BTreeMap::new();
    for line in read(NAMES).lines() {
        let Some((name, labels)) =
            line.split_once(" origin_shim_").and_then(|(_, rest)| rest.split_once('{'))
        else {
            continue;
        };
        let name = format!("origin_shim_{name}");
        let labels = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty());
        let mut labels: BTreeSet<String> = labels.map(str::to_owned).collect();
        known.insert(name.clone(), labels.clone());
        if let Some(histogram) = name.strip_suffix("_sum") {
            labels.insert("le".to_owned());
            known.insert(format!("{histogram}_bucket"), labels);
        }
    }
    assert!(known.len() > 25, "{known:?}");
    known
}

/// Returns the values of a label, if the program itself defines them.
fn values(label: &str) -> Option<Vec<&'static str>> {
    Some(match label {
        "decision" => Outcome::ALL.map(Outcome::as_str).to_vec(),
        "reason" => Reason::ALL.map(Reason::as_str).to_vec(),
        "kind" => OriginErrorKind::ALL.map(OriginErrorKind::as_str).to_vec(),
        "outcome" => {
            vec!["done", "partial", "later", "unproven", "unreachable", "split", "refused", "bad-credentials"]
        }
        "state" => vec!["done", "failed", "cancelled", "used", "avoided"],
        "status" => vec!["1xx", "2xx", "3xx", "4xx", "5xx"],
        "result" => {
            HeaderPurge::ALL.map(HeaderPurge::as_str).into_iter().chain(["accepted", "refused"]).collect()
        }
        "seen" => vec!["fresh", "stale", "unknown"],
        "limit" => Limit::ALL.map(Limit::as_str).to_vec(),
        "listener" => vec!["plain", "tls"],
        _ => return None,
    })
}

/// A metric in a query, and its matchers as pairs of label and value.
type Use<'q> = (&'q str, Vec<(&'q str, &'q str)>);

/// Returns the shim's metrics in a query.
fn uses(query: &str) -> Vec<Use<'_>> {
    let mut uses = Vec::new();
    for (start, _) in query.match_indices("origin_shim_") {
        let rest = &query[start..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let braces = rest[end..].strip_prefix('{').and_then(|rest| rest.split('}').next());
        let matchers = braces.into_iter().flat_map(|inside| inside.split("\","));
        let matchers = matchers.map(|matcher| {
            let (label, value) = matcher.split_once('"').unwrap_or_else(|| panic!("{matcher:?} in {query}"));
            (label.trim_end_matches(['=', '!', '~']).trim(), value.trim_end_matches('"'))
        });
        uses.push((&rest[..end], matchers.collect()));
    }
    uses
}

/// Returns the labels after `by`.
fn grouped(query: &str) -> impl Iterator<Item = &str> {
    let groups = query.split(" by (").skip(1).filter_map(|rest| rest.split(')').next());
    groups.flat_map(|labels| labels.split(',')).map(str::trim)
}

/// Collects the errors of a query and of a text about it (`shown` finds labels in the text).
fn check(place: &str, query: &str, shown: &[String], broken: &mut Vec<String>) {
    let known = known();
    let mut labels: BTreeSet<&str> = TARGET_LABELS.into();
    let uses = uses(query);
    if uses.is_empty() && !query.starts_with("up{") {
        broken.push(format!("{place}: no metric in {query}"));
    }
    for (name, matchers) in &uses {
        let Some(own) = known.get(*name) else {
            broken.push(format!("{place}: there is no metric {name}"));
            continue;
        };
        labels.extend(own.iter().map(String::as_str));
        for (label, value) in matchers {
            if !own.contains(*label) {
                broken.push(format!("{place}: {name} has no label {label}"));
            }
            let literal = value.split('|').filter(|value| !value.contains(['$', '*']));
            for value in literal {
                if values(label).is_some_and(|known| !known.contains(&value)) {
                    broken.push(format!("{place}: {label} is never {value:?}"));
                }
            }
        }
    }
    let groups: Vec<&str> = grouped(query).collect();
    for label in groups.iter().filter(|label| !labels.contains(*label)) {
        broken.push(format!("{place}: groups by {label}, which no metric of it has"));
    }
    for label in shown {
        let is_left = groups.is_empty() || groups.contains(&label.as_str());
        if !is_left || !labels.contains(label.as_str()) {
            broken.push(format!("{place}: shows the label {label}, which its result does not have"));
        }
    }
}

/// Returns the labels that a text shows as `{{label}}` or `{{ $labels.label }}`.
fn shown(text: &str) -> Vec<String> {
    let templates = text.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()).map(str::trim);
    let labels = templates.filter_map(|template| match template.strip_prefix("$labels.") {
        Some(label) => Some(label),
        None => (!template.starts_with('$')).then_some(template),
    });
    labels.map(str::to_owned).collect()
}

fn alerts() -> Vec<Value> {
    let file: Value = serde_saphyr::from_str(&read(ALERTS)).unwrap();
    let groups = file["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).cloned().collect()
}

fn panels() -> Vec<Value> {
    let file: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    file["panels"].as_array().unwrap().clone()
}

/// Returns the queries of the dashboard, as the panel's title, the query and the legend.
fn queries() -> Vec<(String, String, String)> {
    let mut queries = Vec::new();
    for panel in panels() {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        for target in panel["targets"].as_array().into_iter().flatten() {
            queries.push((text(&panel["title"]), text(&target["expr"]), text(&target["legendFormat"])));
        }
    }
    queries
}

#[test]
fn alerts_ask_for_what_exists() {
    let mut broken = Vec::new();
    let operations = read("docs/operations.md");
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap();
        let summary = alert["annotations"]["summary"].as_str().unwrap_or_default();
        check(name, alert["expr"].as_str().unwrap(), &shown(summary), &mut broken);
        if !matches!(alert["labels"]["severity"].as_str(), Some("warning" | "critical")) {
            broken.push(format!("{name}: no severity"));
        }
        if !operations.contains(&format!("`{name}`")) {
            broken.push(format!("{name}: docs/operations.md does not say what to do"));
        }
    }
    insist(broken);
}

#[test]
fn the_dashboard_asks_for_what_exists() {
    let mut broken = Vec::new();
    let queries = queries();
    for (title, query, legend) in &queries {
        check(title, query, &shown(legend), &mut broken);
    }
    let file: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    for variable in file["templating"]["list"].as_array().unwrap() {
        let query = variable["query"].as_str().unwrap();
        if variable["type"] == "query" {
            check("variables", query, &[], &mut broken);
        }
    }
    // Every metric appears on the dashboard.
    for name in known().keys().filter(|name| !name.ends_with("_sum") && !name.ends_with("_count")) {
        if !queries.iter().any(|(_, query, _)| uses(query).iter().any(|(used, _)| used == name)) {
            broken.push(format!("no panel shows {name}"));
        }
    }
    insist(broken);
}

#[test]
fn panels_have_a_place_of_their_own() {
    let panels = panels();
    let place = |panel: &Value| {
        let number = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        (number("x"), number("y"), number("w"), number("h"))
    };
    for (index, one) in panels.iter().enumerate() {
        let (x, y, w, h) = place(one);
        assert!(x + w <= 24, "{one}");
        for other in &panels[..index] {
            assert_ne!(one["id"], other["id"]);
            let (ox, oy, ow, oh) = place(other);
            let apart = x + w <= ox || ox + ow <= x || y + h <= oy || oy + oh <= y;
            assert!(apart, "{} lies over {}", one["title"], other["title"]);
        }
    }
}

/// Tests the alerts, their effect, and the dashboard's queries with Prometheus's own tool. It runs only if
/// promtool is installed, which comes with all of Prometheus.
#[test]
fn promtool_agrees() {
    if Command::new("promtool").arg("--version").output().is_err() {
        eprintln!("not checked: promtool is not installed");
        return;
    }
    let dir = TempDir::new().unwrap();
    let rules: String = queries()
        .iter()
        .enumerate()
        .map(|(index, (_, query, _))| {
            let query = query.replace("$__rate_interval", "5m").replace("$site", ".*");
            format!("  - record: 'panel:{index}'\n    expr: '{query}'\n")
        })
        .collect();
    let panels = dir.path().join("panels.yaml");
    fs::write(&panels, format!("groups:\n- name: panels\n  rules:\n{rules}")).unwrap();
    for (verb, file) in [
        ("check", repository(ALERTS)),
        ("check", panels),
        ("test", repository("tests/it/kit/alerts.test.yaml")),
    ] {
        let output = Command::new("promtool").args([verb, "rules"]).arg(&file).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&said));
    }
}

#[test]
fn the_checker_reads_queries() {
    let query =
        r#"sum by (site, le) (rate(origin_shim_a_bucket{site=~"$site",reason!="x|y"}[5m])) / origin_shim_b"#;
    let expected: Vec<Use<'_>> =
        vec![("origin_shim_a_bucket", vec![("site", "$site"), ("reason", "x|y")]), ("origin_shim_b", vec![])];
    assert_eq!(uses(query), expected);
    assert_eq!(grouped(query).collect::<Vec<_>>(), ["site", "le"]);
    assert_eq!(shown("{{site}} {{ $labels.cdn }} {{ $value | humanize }}"), ["site", "cdn"]);

    let faults = |query: &str, shown: &[&str]| {
        let mut broken = Vec::new();
        check("p", query, &shown.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>(), &mut broken);
        broken.len()
    };
    assert_eq!(faults(r#"origin_shim_requests_total{decision="fallback"}"#, &["site"]), 0);
    assert_eq!(faults("origin_shim_requests", &[]), 1);
    assert_eq!(faults(r#"origin_shim_requests_total{cdn="fastly"}"#, &[]), 1);
    assert_eq!(faults(r#"origin_shim_requests_total{decision="shortened"}"#, &[]), 1);
    assert_eq!(faults("sum by (cdn) (origin_shim_requests_total)", &[]), 1);
    assert_eq!(faults("sum by (site) (origin_shim_requests_total)", &["reason"]), 1);
}
