//! Everything that the documentation names exists: its configurations are valid, and its commands, keys,
//! metrics, calls and files exist.

use super::{insist, load, metrics, read, repository};
use crate::harness::http::Request;
use crate::harness::shim::{Shim, program};
use crate::harness::site::Site;
use origin_shim::config;
use origin_shim::rewrite::Reason;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use tempfile::TempDir;

/// A page, as its path from the root of the repository and its text.
struct Page {
    path: String,
    text: String,
}

/// A fenced block.
struct Block {
    place: String,
    language: String,
    text: String,
}

fn pages() -> Vec<Page> {
    let docs = fs::read_dir(repository("docs")).unwrap().map(|entry| entry.unwrap().file_name());
    let docs =
        docs.map(|name| format!("docs/{}", name.to_str().unwrap())).filter(|path| path.ends_with(".md"));
    let mut paths: Vec<_> = docs.chain(["README.md".to_owned()]).collect();
    paths.sort();
    assert!(paths.len() >= 10, "{paths:?}");
    paths.into_iter().map(|path| Page { text: read(&path), path }).collect()
}

impl Page {
    fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<Block> = None;
        for (number, line) in self.text.lines().enumerate() {
            match (line.trim_start().strip_prefix("```"), &mut open) {
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (Some(language), None) => {
                    let place = format!("{}:{}", self.path, number + 1);
                    open = Some(Block { place, language: language.to_owned(), text: String::new() });
                }
                (None, Some(block)) => block.text += &format!("{line}\n"),
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a block does not end", self.path);
        blocks
    }

    /// Returns the lines outside of blocks, with their numbers.
    fn prose(&self) -> Vec<(usize, &str)> {
        let mut inside = false;
        let mut prose = Vec::new();
        for (number, line) in self.text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                inside = !inside;
            } else if !inside {
                prose.push((number + 1, line));
            }
        }
        prose
    }

    /// Returns each `code` span within lines, with its place.
    fn code(&self) -> Vec<(String, &str)> {
        let spans = self.prose().into_iter().flat_map(|(number, line)| {
            let place = format!("{}:{number}", self.path);
            assert!(line.matches('`').count() % 2 == 0, "{place}: code over several lines");
            line.split('`').skip(1).step_by(2).map(move |span| (place.clone(), span))
        });
        spans.collect()
    }

    /// Returns the anchors that GitHub makes of the headings.
    fn anchors(&self) -> BTreeSet<String> {
        let headings = self.prose().into_iter().filter_map(|(_, line)| line.strip_prefix('#'));
        let slug = |heading: &str| {
            let kept = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        };
        headings.map(slug).collect()
    }
}

#[test]
fn configurations_can_be_used() {
    let mut count = 0;
    for block in pages().iter().flat_map(Page::blocks).filter(|block| block.language == "toml") {
        let dir = TempDir::new().unwrap();
        let site = "[[sites]]\nname = \"www\"\nhosts = [\"www.example.com\"]\norigin = \"https://origin.example.com\"\n";
        let has_site = block.text.contains("[[sites]]");
        let begins_site = block.text.trim_start().starts_with(['[']) && block.text.contains("sites.");
        let whole = match (has_site, begins_site) {
            (true, _) => block.text.clone(),
            (false, true) => format!("{site}\n{}", block.text),
            (false, false) => format!("{}\n{site}", block.text),
        };
        let loaded = load(&whole, &block.place, dir.path());
        // A page does not recommend what `check` warns of. (What is not about tokens or CDNs has none; Varnish has
        // nodes that speak plain HTTP, and its page says what follows from that.)
        let left_out = |key: &str| {
            key == "admin.tokens" && !block.text.contains("[admin")
                || key.ends_with("].cdns") && !block.text.contains("[[sites.cdns]]")
                || key.contains(".api_urls[")
        };
        let doubts = loaded.warnings.iter().filter(|warning| !left_out(&warning.key));
        assert_eq!(doubts.collect::<Vec<_>>(), Vec::<&config::Problem>::new(), "{}", block.place);
        count += 1;
    }
    assert!(count >= 7, "{count}");
}

/// Returns the commands of a shell line, each as its words.
fn commands(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![vec![]];
    let mut quote = None;
    let mut word: Option<String> = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, '|' | '&' | ';' | '(' | ')') => {
                commands.last_mut().unwrap().extend(word.take());
                commands.push(vec![]);
            }
            (None, _) if c.is_whitespace() => commands.last_mut().unwrap().extend(word.take()),
            (None, _) => word.get_or_insert_default().push(c),
        }
    }
    commands.last_mut().unwrap().extend(word);
    commands.retain(|words| !words.is_empty());
    commands
}

/// Returns the arguments if these words run the program.
fn arguments(words: &[String]) -> Option<&[String]> {
    let cargo: [&str; 5] = ["cargo", "run", "--release", "--", ""];
    if words.len() >= 4 && words.iter().zip(&cargo[..4]).all(|(word, expected)| word == expected) {
        return Some(&words[4..]);
    }
    let (first, rest) = words.split_first()?;
    (first == "origin-shim" || first.ends_with("/origin-shim")).then_some(rest)
}

/// The `--help` output of the subcommands, each requested one time.
struct Help(BTreeMap<String, Option<String>>);

impl Help {
    fn of(&mut self, subcommand: &str) -> Option<&str> {
        let ask = || {
            let output = program().args([subcommand, "--help"]).output().unwrap();
            output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
        };
        self.0.entry(subcommand.to_owned()).or_insert_with(ask).as_deref()
    }

    /// Returns an error for invalid arguments.
    fn complain(&mut self, arguments: &[String]) -> Option<String> {
        let words = arguments.iter().map(String::as_str);
        // A global option with a value may come before the subcommand.
        let subcommand = match arguments {
            [option, _, subcommand, ..] if option == "--config" => subcommand,
            [subcommand, ..] if !subcommand.starts_with('-') => subcommand,
            _ => "serve",
        };
        let Some(help) = self.of(subcommand) else {
            return Some(format!("there is no subcommand {subcommand}"));
        };
        let known: BTreeSet<&str> =
            help.split(|c: char| c.is_whitespace() || matches!(c, ',' | '[' | '=' | '<')).collect();
        let mut flags = words.filter(|word| word.starts_with('-') && word.len() > 1);
        let unknown = flags.find(|flag| !known.contains(flag.split('=').next().unwrap_or_default()))?;
        Some(format!("{subcommand} has no {unknown}"))
    }
}

#[test]
fn commands_exist() {
    let mut help = Help(BTreeMap::new());
    let mut broken = Vec::new();
    let mut count = 0;
    for page in pages() {
        let blocks = page.blocks();
        let consoles = blocks.iter().filter(|block| block.language == "console");
        let lines = consoles.flat_map(|block| {
            let text = block.text.replace("\\\n", " ");
            text.lines().map(|line| (block.place.clone(), line.to_owned())).collect::<Vec<_>>()
        });
        let inline = page.code().into_iter().map(|(place, code)| (place, code.to_owned()));
        for (place, line) in lines.chain(inline.filter(|(_, code)| code.starts_with("origin-shim "))) {
            for words in commands(&line) {
                if let Some(arguments) = arguments(&words) {
                    count += 1;
                    broken.extend(help.complain(arguments).map(|why| format!("{place}: {why}")));
                }
            }
        }
    }
    assert!(count > 40, "{count}");
    insist(broken);
}

/// Returns every key of the configuration, for instance `sites.cache.edge_ttl`.
fn keys() -> BTreeSet<String> {
    fn collect(schema: &serde_json::Value, prefix: &str, keys: &mut BTreeSet<String>) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{prefix}{name}");
            collect(property, &format!("{path}."), keys);
            collect(&property["items"], &format!("{path}."), keys);
            keys.insert(path);
        }
    }
    let mut keys = BTreeSet::new();
    collect(config::schema().as_value(), "", &mut keys);
    keys
}

#[test]
fn keys_exist() {
    let keys = keys();
    let roots: BTreeSet<&str> = keys.iter().filter_map(|key| key.split('.').next()).collect();
    let last: BTreeSet<&str> = keys.iter().filter_map(|key| key.rsplit('.').next()).collect();
    let is_word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let mut broken = Vec::new();
    let mut count = 0;
    for page in pages() {
        for (place, code) in page.code() {
            // The code is `sites.cache.vary`, `[sites.cache]`, or `key = value`.
            let code = code.trim_start_matches('[').trim_end_matches(']');
            let (name, is_setting) = match code.split_once(" = ") {
                Some((name, _)) => (name, true),
                None => (code, false),
            };
            let path: Vec<&str> = name.split('.').collect();
            if !path.iter().all(|part| is_word(part)) || (!is_setting && path.len() < 2) {
                continue;
            }
            if path.len() > 1 && !roots.contains(path[0]) {
                continue;
            }
            count += 1;
            let exists = if path.len() > 1 { keys.contains(name) } else { last.contains(name) };
            if !exists {
                broken.push(format!("{place}: there is no key {name}"));
            }
        }
    }
    assert!(count > 30, "{count}");
    insist(broken);
}

/// The value after a key is its default, as in `server.limits.connections` (16384).
#[test]
fn defaults_are_the_defaults() {
    let schema = config::schema();
    let default = |key: &str| {
        key.split('.')
            .try_fold(schema.as_value(), |schema, name| schema["properties"].get(name))?
            .get("default")
            .cloned()
    };
    let mut broken = Vec::new();
    let mut count = 0;
    for page in pages() {
        let text: Vec<&str> = page.prose().into_iter().map(|(_, line)| line.trim()).collect();
        for part in text.join(" ").split('`').collect::<Vec<_>>().windows(2).skip(1).step_by(2) {
            let Some(known) = default(part[0]) else { continue };
            let Some(told) = part[1].strip_prefix(" (").and_then(|rest| rest.split([')', ',']).next()) else {
                continue;
            };
            count += 1;
            if known.as_str().map_or_else(|| known.to_string(), str::to_owned) != told {
                broken.push(format!("{}: the default of {} is {known}, not {told}", page.path, part[0]));
            }
        }
    }
    assert!(count >= 8, "{count}");
    insist(broken);
}

#[test]
fn metrics_and_variables_exist() {
    let known = metrics::known();
    let metric = |name: &str| known.contains_key(name) || known.contains_key(&format!("{name}_bucket"));
    let sources = [
        read("src/telemetry/mod.rs"),
        read("src/cli/mod.rs"),
        read("src/cli/client.rs"),
        read("config/origin-shim.toml"),
        read("Dockerfile"),
        // Sources of the variables that tests read.
        read("tests/it/client/slow.rs"),
    ]
    .concat();
    let mut broken = Vec::new();
    let all: String = pages().iter().map(|page| page.text.as_str()).collect();
    let names = all.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect::<BTreeSet<_>>();
    for name in names {
        if name.starts_with("origin_shim_") && !metric(name) {
            broken.push(format!("there is no metric {name}"));
        }
        if name.starts_with("ORIGIN_SHIM_") && !sources.contains(name) {
            broken.push(format!("there is no variable {name}"));
        }
    }
    let operations = read("docs/operations.md");
    for name in known.keys().filter(|name| !name.ends_with("_sum") && !name.ends_with("_count")) {
        let name = name.trim_end_matches("_bucket");
        if !operations.contains(&format!("`{name}`")) {
            broken.push(format!("docs/operations.md does not tell of {name}"));
        }
    }
    for alert in operations.split('`').filter(|code| code.starts_with("OriginShim")) {
        if !read("config/deploy/alerts.yaml").contains(&format!("alert: {alert}\n")) {
            broken.push(format!("there is no alert {alert}"));
        }
    }
    insist(broken);
}

#[test]
fn every_symptom_has_its_line() {
    let page = read("docs/troubleshooting.md");
    let mut broken = Vec::new();
    for reason in Reason::ALL {
        if !page.contains(&format!("`{reason}`")) {
            broken.push(format!("docs/troubleshooting.md does not tell of the reason {reason}"));
        }
    }
    // The quoted reasons of a CDN are those that the program reports.
    let health = read("src/delivery/health.rs");
    let (_, section) = page.split_once("## A CDN is not healthy").unwrap();
    let rows = section.split("\n## ").next().unwrap().lines().filter_map(|line| line.strip_prefix("| `"));
    let quoted: Vec<_> = rows.filter_map(|row| row.split('`').next()).collect();
    assert!(quoted.len() >= 10, "{quoted:?}");
    for words in &quoted {
        if !health.contains(words) {
            broken.push(format!("no CDN is unhealthy since {words:?}"));
        }
    }
    insist(broken);
}

/// Returns the call of the admin API that a text names, for instance `POST /v1/sites/{site}/purges`.
fn call(code: &str) -> Option<(&str, String)> {
    let (method, path) = code.split_once(' ')?;
    let is_ours = ["/v1/", "/healthz", "/readyz", "/metrics"].iter().any(|start| path.starts_with(start));
    let is_call = matches!(method, "GET" | "POST" | "PUT" | "DELETE") && is_ours && !path.contains(' ');
    is_call.then(|| (method, concrete(path)))
}

fn concrete(path: &str) -> String {
    path.replace("{site}", "www")
        .replace("{id}", "01938f00-0000-7000-8000-000000000000")
        .replace("{cdn}", "fastly")
}

/// Returns the call that a `curl` command makes.
fn curled(words: &[String]) -> Option<(&str, String)> {
    (words.first()? == "curl").then_some(())?;
    let path = words.iter().find_map(|word| word.split_once(":9180")).map(|(_, path)| concrete(path))?;
    let method = words.iter().skip_while(|word| *word != "-X").nth(1);
    Some((method.map_or("GET", String::as_str), path))
}

#[test]
fn calls_of_the_admin_api_exist() {
    let shim = Shim::start(Site::named("www").default_site().origin("127.0.0.1:9"));
    // Without a token, an existing call answers 401, and nothing happens.
    let exists = |method: &str, path: &str| {
        let answer = Request::get(path).method(method).send(shim.admin);
        answer.status != 405 && !answer.text().contains("There is nothing at")
    };
    assert!(!exists("GET", "/v1/nonsense") && !exists("PUT", "/v1/purges"));
    let mut asked = BTreeSet::new();
    let mut broken = Vec::new();
    for page in pages() {
        let blocks = page.blocks();
        let lines: Vec<String> = blocks.iter().map(|block| block.text.replace("\\\n", " ")).collect();
        let words: Vec<_> = lines.iter().flat_map(|text| text.lines()).flat_map(commands).collect();
        let calls = page.code().into_iter().filter_map(|(_, code)| call(code));
        for (method, path) in calls.chain(words.iter().filter_map(|words| curled(words))) {
            if asked.insert((method.to_owned(), path.clone())) && !exists(method, &path) {
                broken.push(format!("{}: there is no {method} {path}", page.path));
            }
        }
    }
    assert!(asked.len() >= 12, "{asked:?}");
    insist(broken);
}

#[test]
fn links_lead_somewhere() {
    let pages = pages();
    let anchors: BTreeMap<&str, BTreeSet<String>> =
        pages.iter().map(|page| (page.path.as_str(), page.anchors())).collect();
    let mut broken = Vec::new();
    let mut linked = BTreeSet::new();
    for page in &pages {
        let folder = page.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (number, line) in page.prose() {
            let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            for target in targets.filter(|target| !target.starts_with("https://")) {
                let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
                let file = match (file, file.strip_prefix("../")) {
                    ("", _) => page.path.clone(),
                    (_, Some(above)) => above.to_owned(),
                    _ if folder.is_empty() => file.to_owned(),
                    _ => format!("{folder}/{file}"),
                };
                let file = file.trim_end_matches('/');
                linked.insert(file.to_owned());
                let known = anchors.get(file).is_none_or(|known| anchor.is_empty() || known.contains(anchor));
                if !repository(file).exists() || !known {
                    broken.push(format!("{}:{number}: {target} is nowhere", page.path));
                }
            }
        }
    }
    for page in &pages {
        if page.path != "README.md" && !linked.contains(&page.path) {
            broken.push(format!("nothing links to {}", page.path));
        }
    }
    insist(broken);
}

#[test]
fn the_checker_reads_pages() {
    let words = |line: &str| {
        let commands = commands(line).into_iter().map(|words| words.join("+"));
        commands.collect::<Vec<_>>()
    };
    assert_eq!(words("a 'b c' | d && e # f | g"), ["a+b c", "d", "e"]);
    assert_eq!(words("export A=$(b -c 3)"), ["export+A=$", "b+-c+3"]);

    let mut help = Help(BTreeMap::new());
    let mut complaint = |line: &str| help.complain(arguments(&commands(line)[0]).unwrap());
    assert_eq!(complaint("origin-shim purge --path / --wait=30"), None);
    assert_eq!(complaint("/usr/bin/origin-shim --config x check"), None);
    assert_eq!(complaint("cargo run --release -- demo --once"), None);
    assert_eq!(complaint("origin-shim"), None);
    assert!(complaint("origin-shim purge --pah /").is_some());
    assert!(complaint("origin-shim pruge").is_some());

    let page = Page { path: "x".into(), text: "# A b: C!\n```toml\na\n```\n`x` y `z`\n".into() };
    assert_eq!(page.anchors(), ["a-b-c".to_owned()].into());
    assert_eq!(page.code().into_iter().map(|(_, code)| code).collect::<Vec<_>>(), ["x", "z"]);
    assert_eq!(page.blocks()[0].text, "a\n");
    assert_eq!(call("GET /v1/sites/{site}"), Some(("GET", "/v1/sites/www".to_owned())));
    assert_eq!(call("GET /blog"), None);
}
