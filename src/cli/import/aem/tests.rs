//! Tests of every property in AEM's schema, in every form in which a site's configuration is kept.

use super::*;
use crate::cdn;
use crate::config::{self, Loaded};
use crate::purge::plan;
use crate::purge::publish;
use crate::purge::publish::Event;
use std::fmt::Write;
use std::path::Path;

/// A part of every secret, which must therefore appear in no output.
const CANARY: &str = "canary";

const FASTLY: &str = r#"{"type": "fastly", "host": "www.example.com", "serviceId": "SU1", "authToken": "canary-1", "route": ["/**"]}"#;
const AKAMAI: &str = r#"{"type": "akamai", "host": "www.example.com", "endpoint": "https://akab-1.purge.akamaiapis.net/",
    "clientSecret": "canary-1", "clientToken": "canary-2", "accessToken": "canary-3"}"#;
const CLOUDFLARE: &str = r#"{"type": "cloudflare", "host": "www.example.com", "plan": "Enterprise", "zoneId": "z1", "apiToken": "canary-1"}"#;
const CLOUDFRONT: &str = r#"{"type": "cloudfront", "host": "www.example.com", "distributionId": "E1", "accessKeyId": "AKIA1",
    "secretAccessKey": "canary-1", "tagInvalidationEnabled": true}"#;
const MANAGED: &str =
    r#"{"type": "managed", "host": "www.example.com", "envId": "cm-p1-e2", "route": ["/", "/a"]}"#;

const WHOLE: &str = r#"{
    "version": 2, "name": "website", "title": "Website",
    "content": {"contentBusId": "cb1", "source": {"type": "markup", "url": "https://content.example.com"}},
    "code": {"owner": "acme", "repo": "site-repo", "source": {"type": "github", "url": "https://github.com/acme/site-repo"}},
    "folders": {"/products/": "/products/default"},
    "metadata": {"source": ["/metadata.json", "/seo.json"]},
    "cdn": {"prod": {"type": "fastly", "host": "www.example.com", "serviceId": "SU1", "authToken": "canary-1"},
            "live": {"host": "main--website--acme.example.com"}},
    "secrets": {"a": {"value": "canary-2"}}
}"#;

fn imported(text: &str) -> Result<Imported, String> {
    import(text, "cdn.json", &Options::default()).map_err(|error| error.to_string())
}

/// Returns the file, the variables and the notes.
fn shown(text: &str) -> String {
    let mut shown = String::new();
    match imported(text) {
        Ok(Imported { toml, variables, notes }) => {
            shown.push_str(&toml);
            for Variable { name, holds } in variables {
                writeln!(shown, "$ {name}: {holds}").unwrap();
            }
            notes.iter().for_each(|note| writeln!(shown, "- {note}").unwrap());
        }
        Err(error) => writeln!(shown, "{error}").unwrap(),
    }
    assert!(!shown.contains(CANARY), "{shown}");
    shown
}

#[test]
fn every_type_and_property() {
    let no_tags = CLOUDFRONT.replace("true", "false").replace("www.example.com", "");
    let (free, strange) =
        (CLOUDFLARE.replace("Enterprise", "free"), CLOUDFLARE.replace("Enterprise", "gold"));
    let cases = [
        ("akamai", AKAMAI),
        ("cloudflare, enterprise", CLOUDFLARE),
        ("cloudflare, free", &free),
        ("cloudflare, another plan", &strange),
        ("cloudfront with tags", CLOUDFRONT),
        ("cloudfront without tags and host", &no_tags),
        ("managed", MANAGED),
        ("no type", r#"{"host": "www.example.com"}"#),
        ("unknown properties", &FASTLY.replace("\"route\"", "\"zoneId\"")),
    ];
    let fastly = shown(FASTLY);
    let mut text = format!("=== a whole site\n{}=== fastly\n{fastly}", shown(WHOLE));
    for (name, case) in cases {
        writeln!(text, "=== {name}, other than fastly").unwrap();
        let shown = shown(case);
        for line in shown.lines().filter(|line| !fastly.lines().any(|same| same == *line)) {
            writeln!(text, "{line}").unwrap();
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn every_form_says_the_same() {
    let expected = imported(&FASTLY.replace(r#", "route": ["/**"]"#, "")).unwrap();
    let keys =
        [("host", "www.example.com"), ("type", "fastly"), ("serviceId", "SU1"), ("authToken", "canary-1")];
    let rows = |row: &dyn Fn(&str, &str) -> String| -> String {
        keys.iter().map(|(key, value)| row(&format!("cdn.prod.{key}"), value)).collect()
    };
    let object = FASTLY.replace(r#", "route": ["/**"]"#, "");
    let cells = rows(&|key, value| format!(r#"{{"key": "{key}", "value": "{value}"}},"#));
    let cells = cells.trim_end_matches(',');
    let forms = [
        format!(r#"{{"prod": {object}}}"#),
        format!(r#"{{"cdn": {{"prod": {object}}}}}"#),
        format!("\u{feff}{{\"cdn\": {{\"prod\": {object}}}}}"),
        format!(r#"{{":type": "sheet", "total": 4, "offset": 0, "limit": 4, "data": [{cells}]}}"#),
        format!(r#"{{":type": "multi-sheet", ":names": ["default"], "default": {{"data": [{cells}]}}}}"#),
        format!("[{}]", cells.replace("\"key\"", "\"Key\"").replace("\"value\"", "\"Value\"")),
        format!("key,value\n{}", rows(&|key, value| format!("{key},{value}\n"))),
        format!(
            "Key,Value,Comment\r\n{}",
            rows(&|key, value| format!("\"{key}\",\"{value}\",\"a, \"\"b\"\"\"\r\n"))
        ),
        format!("# a comment\n\n{}", rows(&|key, value| format!("{key}\t{value}\tmore\n"))),
        rows(&|key, value| format!("{key}: {value}\n")),
        rows(&|key, value| format!("{key} = \"{value}\"\n")),
    ];
    for form in forms {
        assert_eq!(imported(&form).as_ref(), Ok(&expected), "{form}");
    }
}

#[test]
fn what_is_no_configuration() {
    let bad_host = |host: &str| FASTLY.replace("www.example.com", host);
    let cases = [
        ("nothing", String::new()),
        ("no JSON", "{\n  \"host\": \"www.example.com\",\n  \"authToken\": \"canary\",,\n}".to_owned()),
        ("JSON of something else", r#"{"a": 1}"#.to_owned()),
        ("rows of something else", "timezone: UTC".to_owned()),
        ("an unknown type", r#"{"type": "Fastly", "host": "www.example.com"}"#.to_owned()),
        ("a type that is no text", r#"{"type": 5, "host": "www.example.com"}"#.to_owned()),
        ("missing properties", r#"{"type": "akamai", "host": "www.example.com", "endpoint": ""}"#.to_owned()),
        ("wrong types", r#"{"type": "cloudfront", "host": 5, "distributionId": ["canary"], "accessKeyId": "A", "secretAccessKey": {"a": "canary"}, "tagInvalidationEnabled": "canary"}"#.to_owned()),
        ("a URL as host", bad_host("https://www.example.com/")),
        ("one label as host", bad_host("localhost")),
        ("AEM's own host", bad_host("main--website--acme.aem.live")),
        ("a key twice", "cdn.prod.host: www.example.com\ncdn.prod.authToken: canary\ncdn.prod.authToken: canary-2".to_owned()),
        ("a row without a value", "key,value\ncdn.prod.host,www.example.com\ncdn.prod.type".to_owned()),
        ("an open quote", "cdn.prod.host,www.example.com\ncdn.prod.authToken,\"canary".to_owned()),
        ("a row that is none", r#"{"data": [{"key": "cdn.prod.host", "value": "www.example.com"}, {"key": 5}]}"#.to_owned()),
        ("a wrong value in a row", "cdn.prod.host,www.example.com\ncdn.prod.type,fast ly".to_owned()),
    ];
    let text: String = cases.iter().map(|(name, text)| format!("{name}:\n{}", shown(text))).collect();
    insta::assert_snapshot!(text);
}

fn load(toml: &str) -> Loaded {
    let env = |_: &str| Some("a-secret-of-the-environment".to_owned());
    config::parse(toml, Path::new("shim.toml"), &env).unwrap_or_else(|error| panic!("{error}\n{toml}"))
}

/// Tests the way from AEM's file to the calls of a publish event.
#[test]
fn what_is_imported_can_be_used() {
    let origin = Some("https://main--website--acme.aem.live".parse().unwrap());
    for (text, tags) in [
        (FASTLY, true),
        (AKAMAI, true),
        (CLOUDFLARE, true),
        (CLOUDFRONT, true),
        (&CLOUDFRONT.replace("true", "false"), false),
    ] {
        let whole = format!(r#"{{"cdn": {{"prod": {text}}}, "content": {{"contentBusId": "cb1"}}}}"#);
        let options = Options { origin: origin.clone(), site: Some("Shop".to_owned()) };
        let imported = import(&whole, "site.json", &options).unwrap();
        let Loaded { config, warnings, .. } = load(&imported.toml);
        let without_tags = warnings.iter().all(|warning| warning.key.ends_with("tag_header"));
        assert!(without_tags && warnings.is_empty() == tags, "{warnings:?}");
        let site = &config.sites[0];
        assert_eq!(
            (site.name.as_str(), site.origins[0].host.as_str()),
            ("shop", "main--website--acme.aem.live")
        );

        let event = Event { event: "publish".into(), paths: vec!["/a".into()], ..Event::default() };
        let request = publish::purge_of(site, &event).unwrap();
        let jobs = plan(site, &|cdn| cdn::build(cdn).capabilities(), &request).unwrap();
        let items: Vec<_> = jobs[0].items.iter().map(|item| item.value.as_str()).collect();
        let project = site.policy.aem.as_ref().unwrap();
        if tags {
            assert!(items.contains(&&*project.content_key("/a")), "{items:?}");
        } else {
            assert_eq!(items, ["/a", "/a?*", "/a.plain.html", "/a.plain.html?*"]);
        }
        assert_eq!(jobs[0].fallback, [""; 0]);
    }
}

#[test]
fn what_is_not_known_is_left_open() {
    for text in [FASTLY, MANAGED, r#"{"host": "www.example.com"}"#, r#"{"type": "managed", "host": ""}"#] {
        let site = load(&imported(text).unwrap().toml).config.sites[0].clone();
        assert_eq!(site.origins[0].host, "origin.invalid");
        assert_eq!(site.policy.aem, None);
    }
    // Only the marked lines are missing.
    let marked = imported(FASTLY).unwrap().toml;
    assert_eq!(marked.matches("\n#[sites.aem]\n#org = \"ORG\"\n#site = \"SITE\"\n").count(), 1, "{marked}");
}

#[test]
fn origins() {
    let check = |text: &str, expected: Result<&str, OriginError>| {
        assert_eq!(
            text.parse::<Origin>().map(|origin| origin.to_string()),
            expected.map(str::to_owned),
            "{text}"
        );
    };
    check("https://main--website--acme.aem.live", Ok("https://main--website--acme.aem.live"));
    check("Feature-1--website--acme.aem.page/", Ok("https://feature-1--website--acme.aem.page"));
    for wrong in [
        "",
        "https://www.example.com",
        "https://main--acme.aem.live",
        "http://main--a--b.aem.live",
        "main----b.aem.live",
    ] {
        check(wrong, Err(OriginError));
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics_and_no_secret_is_shown(
        noise in "\\PC{0,20}",
        separator in "[:,\t=]",
        ids in proptest::sample::subsequence(vec!["host", "type", "serviceId", "authToken"], 1..=4),
        json: bool,
    ) {
        let value = |id: &str| match id {
            "host" => "www.example.com",
            "type" => "fastly",
            _ => "canary",
        };
        let rows: String = if json {
            let pairs = ids.iter().map(|id| format!("\"{id}\": \"{}\"", value(id))).collect::<Vec<_>>();
            format!("{{{}}}{noise}", pairs.join(separator.trim()))
        } else {
            ids.iter().map(|id| format!("cdn.prod.{id}{separator}{}\n{noise}\n", value(id))).collect()
        };
        let shown = match imported(&rows) {
            // The id of the service is not a secret.
            Ok(imported) => format!("{imported:?}").replace("service_id = \\\"canary", ""),
            Err(error) => error,
        };
        proptest::prop_assert!(!shown.contains(CANARY), "{}", shown);
    }

    #[test]
    fn cells_read_back(key in "[a-z.]{1,9}", value in "[ -~]{0,20}") {
        let quoted = format!("\"{key}\",\"{}\",x", value.replace('"', "\"\""));
        let entries = rows::read(&format!("cdn.prod.x,y\n{quoted}")).unwrap();
        proptest::prop_assert_eq!(entries[1].name(), key);
        proptest::prop_assert_eq!(&entries[1].value, &serde_json::Value::String(value.trim().to_owned()));
    }
}
