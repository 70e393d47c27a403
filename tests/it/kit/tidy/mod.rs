//! The house rules that no compiler checks, for instance the direction of dependencies and the length of files.

mod cdns;
mod comments;
mod imports;

use imports::{House, circles};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The parts that each part may use in addition to itself, from the bottom up. `app`, `cli`, `demo`, `lib` and
/// `main` are on top of all.
const MAY_USE: [(&str, &[&str]); 20] = [
    ("base", &[]),
    ("failpoint", &[]),
    ("terminal", &[]),
    ("http", &[]),
    ("rewrite", &["http"]),
    ("config", &["rewrite"]),
    ("guard", &["base", "rewrite", "config"]),
    ("view", &["guard", "rewrite", "config"]),
    ("metrics", &["rewrite", "config"]),
    ("telemetry", &["rewrite", "config"]),
    ("upstream", &["base", "http", "config", "view", "metrics", "telemetry"]),
    ("proxy", &["base", "http", "rewrite", "config", "guard", "view", "metrics", "telemetry", "upstream"]),
    (
        "listen",
        &["base", "http", "rewrite", "config", "guard", "view", "metrics", "telemetry", "upstream", "proxy"],
    ),
    ("explain", &["http", "rewrite", "config", "guard", "view", "metrics", "upstream", "proxy"]),
    ("cdn", &["base", "rewrite", "config", "metrics"]),
    ("purge", &["base", "rewrite", "config", "metrics", "cdn"]),
    ("store", &["base", "failpoint", "rewrite", "config", "metrics", "cdn", "purge"]),
    (
        "delivery",
        &[
            "base",
            "failpoint",
            "rewrite",
            "config",
            "guard",
            "view",
            "metrics",
            "telemetry",
            "cdn",
            "purge",
            "store",
        ],
    ),
    ("inbound", &["rewrite", "config", "cdn", "purge"]),
    (
        "admin",
        &[
            "base",
            "failpoint",
            "rewrite",
            "config",
            "guard",
            "view",
            "metrics",
            "telemetry",
            // The same code decides what a request is, and which site it is for.
            "http",
            "listen",
            "proxy",
            "explain",
            "cdn",
            "purge",
            "store",
            "delivery",
            "inbound",
        ],
    ),
];

const ON_TOP: [&str; 5] = ["app", "cli", "demo", "lib", "main"];

/// The most lines of a file without its tests. A longer file has more than one concern.
const MAX_LINES: usize = 400;

/// Marks of unfinished work, and code that can fail at run time.
const UNFINISHED: [&str; 5] = ["TODO", "FIXME", "XXX", ".unwrap()", "unimplemented!"];

/// A source file without its tests.
struct Source {
    /// The path from the root of the repository.
    path: String,
    /// The text.
    code: String,
}

impl Source {
    /// Returns the part of the house: `src/cdn/akamai.rs` and `src/cdn.rs` belong to `cdn`.
    fn module(&self) -> &str {
        let inside = self.path.trim_start_matches("src/");
        inside.split('/').next().unwrap().trim_end_matches(".rs")
    }

    fn lines_without_comments(&self) -> impl Iterator<Item = &str> {
        self.code.lines().filter(|line| !line.trim_start().starts_with("//"))
    }

    /// Returns the parts of the house that the file names, as `crate::part` or in `crate::{part,
    /// other::thing}`.
    fn uses(&self) -> BTreeSet<String> {
        let code: Vec<&str> = self.lines_without_comments().collect();
        let code = code.join("\n");
        code.split("crate::").skip(1).flat_map(first_names).collect()
    }
}

/// Returns the first name of each path in the text after `crate::`.
fn first_names(path: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let Some(group) = path.strip_prefix('{') else { return vec![name(path)] };
    let mut names = vec![name(group)];
    let mut depth = 0;
    for (index, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(name(&group[index + 1..])),
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(&root.join("src"), &mut files);
    let test_files: Vec<PathBuf> = files.iter().flat_map(|file| test_modules(file)).collect();
    files.retain(|file| {
        !test_files.iter().any(|test| file == test || file.starts_with(test.with_extension("")))
    });
    let read = |file: &PathBuf| {
        let code = split_tests(&fs::read_to_string(file).unwrap()).0;
        Source { path: file.strip_prefix(root).unwrap().display().to_string(), code }
    };
    files.iter().map(read).collect()
}

/// Returns the code without its tests, and the names of the test modules that are files of their own. An inline
/// test module is the last item of its file.
fn split_tests(text: &str) -> (String, Vec<String>) {
    let mut code = String::new();
    let mut modules = Vec::new();
    let mut parts = text.split("#[cfg(test)]\n");
    code += parts.next().unwrap();
    for part in parts {
        let (item, rest) = part.split_once(['{', ';']).unwrap();
        match item.rsplit_once("mod ") {
            Some((_, name)) if part[item.len()..].starts_with(';') => {
                modules.push(name.to_owned());
                code += rest;
            }
            Some(_) => break,
            None => code += part,
        }
    }
    (code, modules)
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
}

/// Returns the files of the test modules that `file` declares.
fn test_modules(file: &Path) -> Vec<PathBuf> {
    let dir = file.parent().unwrap();
    let inside = match file.file_stem().unwrap().to_str().unwrap() {
        "mod" | "lib" | "main" => dir.to_owned(),
        stem => dir.join(stem),
    };
    let (_, names) = split_tests(&fs::read_to_string(file).unwrap());
    names
        .iter()
        .flat_map(|name| [inside.join(name).with_extension("rs"), inside.join(name).join("mod.rs")])
        .collect()
}

fn insist(broken: Vec<String>) {
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn dependencies_point_one_way() {
    let mut broken = Vec::new();
    for source in sources() {
        let module = source.module();
        if ON_TOP.contains(&module) {
            continue;
        }
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
            broken.push(format!("{}: {module} has no place in tests/it/kit/tidy/mod.rs", source.path));
            continue;
        };
        for used in source.uses() {
            if used != module && !allowed.contains(&used.as_str()) {
                broken.push(format!("{}: {module} must not use {used}", source.path));
            }
        }
    }
    insist(broken);
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let whole = |source: Source| (fs::read_to_string(root.join(&source.path)).unwrap(), source.path);
    let files: Vec<_> = sources().into_iter().map(whole).collect();
    let house = House::of(files.iter().map(|(text, path)| (path.as_str(), text.as_str())));
    let arrows = house.arrows();
    let told = |circle: Vec<&str>| {
        let within = circle.iter().flat_map(|file| {
            let next = arrows[file].iter().filter(|next| circle.contains(next));
            next.map(move |next| format!("  {file} uses {next}"))
        });
        format!("a circle of {} files:\n{}", circle.len(), within.collect::<Vec<_>>().join("\n"))
    };
    insist(circles(&arrows).into_iter().map(told).collect());
}

#[test]
fn no_part_reaches_another_one_by_super() {
    // Other parts are reached only through `crate::`, which the dependency rule checks.
    let is_root = |path: &str| {
        path.ends_with("/mod.rs") && path.matches('/').count() == 2 || path.matches('/').count() == 1
    };
    let sources = sources();
    let roots = sources.iter().filter(|source| is_root(&source.path));
    insist(
        roots
            .filter(|source| source.lines_without_comments().any(|line| line.contains("super::")))
            .map(|source| format!("{}: super:: is another part of the house here", source.path))
            .collect(),
    );
}

#[test]
fn files_have_one_concern() {
    let too_long = |source: &Source| {
        (source.code.lines().count() > MAX_LINES)
            .then(|| format!("{}: {} lines, at most {MAX_LINES}", source.path, source.code.lines().count()))
    };
    insist(sources().iter().filter_map(too_long).collect());
}

#[test]
fn files_say_what_they_are_for() {
    let silent = |source: &&Source| {
        let first = source.code.lines().next().unwrap_or_default();
        !first.starts_with("//!") && !first.starts_with("#![doc")
    };
    let all = sources();
    insist(all.iter().filter(silent).map(|source| format!("{}: begins without //!", source.path)).collect());
}

/// `terminal.rs` cleans all output for people. Any other output could contain unfiltered text from strangers.
#[test]
fn all_output_leaves_by_one_way() {
    const PRINTS: [&str; 4] = ["print!(", "println!(", "stdout()", "stderr().lock()"];
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| source.path != "src/terminal.rs") {
        for line in source.lines_without_comments() {
            broken.extend(
                PRINTS
                    .iter()
                    .filter(|print| line.contains(**print))
                    .map(|print| format!("{}: {print}", source.path)),
            );
        }
    }
    insist(broken);
}

#[test]
fn nothing_is_left_for_later() {
    let mut broken = Vec::new();
    for source in sources() {
        for (index, line) in source.code.lines().enumerate() {
            for word in UNFINISHED.iter().filter(|word| line.contains(**word)) {
                broken.push(format!("{}:{}: {word}", source.path, index + 1));
            }
        }
    }
    insist(broken);
}

#[test]
fn the_checker_reads_paths() {
    fn check(code: &str, expected: &[&str]) {
        let source = Source { path: "src/proxy/mod.rs".to_owned(), code: code.to_owned() };
        assert_eq!(source.module(), "proxy");
        assert_eq!(source.uses().into_iter().collect::<Vec<_>>(), expected, "{code}");
    }
    check("use crate::rewrite::Policy;", &["rewrite"]);
    check("use crate::{config::{Site, Cdn}, rewrite, view::PurgeHealth};", &["config", "rewrite", "view"]);
    check("fn f(s: &crate::store::Store) -> crate::cdn::Item {}", &["cdn", "store"]);
    check("// see crate::store\npub(crate) fn f() {}", &[]);
}

#[test]
fn the_checker_knows_tests() {
    fn check(text: &str, code: &str, modules: &[&str]) {
        let (got, names) = split_tests(text);
        assert_eq!(
            (got.as_str(), names.iter().map(String::as_str).collect::<Vec<_>>()),
            (code, modules.to_vec())
        );
    }
    check("a\n#[cfg(test)]\nmod tests {\n  b\n}\n", "a\n", &[]);
    check("a\n#[cfg(test)]\nmod tests;\nb\n", "a\n\nb\n", &["tests"]);
    check("#[cfg(test)]\npub(crate) mod fixture;\na\n#[cfg(test)]\nmod tests { b }", "\na\n", &["fixture"]);
    check("#[cfg(test)]\nuse a;\nb", "use a;\nb", &[]);
}
