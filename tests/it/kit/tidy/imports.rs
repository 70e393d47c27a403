//! The uses of each file: the paths in its code, followed through imports and re-exports to the file that
//! defines the named item.

use proc_macro2::{TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use syn::visit::{self, Visit};
use syn::{Attribute, File, Item, ItemUse, Meta, UseTree};

/// The files of the crate by their module path, each with its modules, imports and paths.
pub struct House {
    rooms: BTreeMap<Vec<String>, Room>,
}

/// One file.
struct Room {
    file: String,
    /// The modules that are files of their own.
    children: BTreeSet<String>,
    /// The names that `use` introduces, re-exported or not, and their paths.
    imports: BTreeMap<String, Vec<String>>,
    /// The modules of which everything is imported.
    globs: Vec<Vec<String>>,
    /// Imports without a re-export. Each is a use in itself.
    private: Vec<Vec<String>>,
    /// Every path in the code.
    paths: BTreeSet<Vec<String>>,
}

impl House {
    /// Reads files, each given as its path from the root of the repository and its text.
    pub fn of<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        // `main.rs` is a crate of its own, which uses the library like any other crate.
        let library = files.into_iter().filter(|(file, _)| *file != "src/main.rs");
        let rooms = library.map(|(file, text)| {
            let parsed = syn::parse_file(text).unwrap_or_else(|error| panic!("{file}: {error}"));
            (module_of(file), Room::read(file, &parsed))
        });
        Self { rooms: rooms.collect() }
    }

    /// Returns the files that each file uses.
    pub fn arrows(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let used = |(module, room): (&Vec<String>, &'_ Room)| {
            let paths = room.paths.iter().chain(&room.private);
            paths.filter_map(|path| self.file(module, path, 0)).collect::<Vec<_>>()
        };
        self.rooms
            .iter()
            .map(|(module, room)| {
                let used = used((module, room)).into_iter().filter(|file| *file != room.file);
                (room.file.as_str(), used.collect())
            })
            .collect()
    }

    /// The file that defines what `path` names within `module`; none if that is not of this crate, or a module as a
    /// whole.
    fn file(&self, module: &[String], path: &[String], depth: usize) -> Option<&str> {
        // Imports may be circular, but chains of valid imports are short.
        if depth > 16 {
            return None;
        }
        let first = path.first()?;
        let (mut at, rest) = match first.as_str() {
            "crate" => (Vec::new(), &path[1..]),
            "self" => (module.to_vec(), &path[1..]),
            "super" => (module.get(..module.len().checked_sub(1)?)?.to_vec(), &path[1..]),
            _ => (module.to_vec(), path),
        };
        let is_relative = rest.len() == path.len();
        for (index, name) in rest.iter().enumerate() {
            if name == "super" {
                at.pop()?;
                continue;
            }
            let room = self.rooms.get(&at)?;
            if room.children.contains(name) {
                at.push(name.clone());
                continue;
            }
            if let Some(import) = room.imports.get(name) {
                let whole: Vec<_> = import.iter().chain(&rest[index + 1..]).cloned().collect();
                return self.file(&at, &whole, depth + 1);
            }
            let globbed = room.globs.iter().find_map(|glob| {
                let whole: Vec<_> = glob.iter().chain(&rest[index..]).cloned().collect();
                self.file(&at, &whole, depth + 1).filter(|_| self.defines(&at, glob, name))
            });
            // A first name that is neither a module nor imported belongs to another crate or to this file.
            return globbed.or((!(is_relative && index == 0)).then_some(room.file.as_str()));
        }
        None
    }

    /// Whether the module that `glob` names re-exports `name`.
    fn defines(&self, at: &[String], glob: &[String], name: &str) -> bool {
        let probe: Vec<_> = glob.iter().cloned().chain([String::new()]).collect();
        let Some(file) = self.file(at, &probe, 0) else { return false };
        self.rooms.values().find(|room| room.file == file).is_some_and(|room| room.imports.contains_key(name))
    }
}

/// Returns the circles of a graph: groups of files of which each reaches every other.
pub fn circles<'a>(arrows: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Vec<Vec<&'a str>> {
    let reach = |from: &'a str| {
        let (mut seen, mut waiting) = (BTreeSet::new(), vec![from]);
        while let Some(file) = waiting.pop() {
            waiting.extend(arrows.get(file).into_iter().flatten().filter(|next| seen.insert(**next)));
        }
        seen
    };
    let reached: BTreeMap<_, _> = arrows.keys().map(|file| (*file, reach(file))).collect();
    let mut groups = BTreeSet::new();
    for (file, others) in &reached {
        let group: Vec<_> = others.iter().copied().filter(|other| reached[other].contains(file)).collect();
        if group.len() > 1 {
            groups.insert(group);
        }
    }
    groups.into_iter().collect()
}

fn module_of(file: &str) -> Vec<String> {
    let inside = file.trim_start_matches("src/").trim_end_matches(".rs");
    let mut parts: Vec<_> = inside.split('/').map(str::to_owned).collect();
    if parts.last().is_some_and(|last| matches!(last.as_str(), "mod" | "lib" | "main")) {
        parts.pop();
    }
    parts
}

impl Room {
    fn read(file: &str, parsed: &File) -> Self {
        let mut room = Self {
            file: file.to_owned(),
            children: BTreeSet::new(),
            imports: BTreeMap::new(),
            globs: Vec::new(),
            private: Vec::new(),
            paths: BTreeSet::new(),
        };
        parsed.items.iter().for_each(|item| room.visit_item(item));
        room
    }

    fn import(&mut self, tree: &UseTree, mut prefix: Vec<String>, is_private: bool) {
        match tree {
            UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.import(&path.tree, prefix, is_private);
            }
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.import(tree, prefix.clone(), is_private));
            }
            UseTree::Glob(_) => self.globs.push(prefix),
            UseTree::Name(name) => {
                let (name, mut path) = (name.ident.to_string(), prefix);
                let shown = if name == "self" { path.last().cloned().unwrap() } else { name.clone() };
                path.extend((name != "self").then_some(name));
                self.named(shown, path, is_private);
            }
            UseTree::Rename(rename) => {
                prefix.push(rename.ident.to_string());
                self.named(rename.rename.to_string(), prefix, is_private);
            }
        }
    }

    fn named(&mut self, name: String, path: Vec<String>, is_private: bool) {
        if is_private {
            self.private.push(path.clone());
        }
        // For a crate named `config`, `use config` would lead back here.
        if path.len() > 1 || path.first() != Some(&name) {
            self.imports.insert(name, path);
        }
    }

    /// Collects the paths in the unparsed tokens of a macro call: names with `::` between them.
    fn scan(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) if colons == 2 => path.push(ident.to_string()),
                TokenTree::Ident(ident) => {
                    self.paths.insert(std::mem::replace(&mut path, vec![ident.to_string()]));
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                TokenTree::Group(group) => {
                    self.scan(group.stream());
                    self.paths.insert(std::mem::take(&mut path));
                }
                _ => {
                    self.paths.insert(std::mem::take(&mut path));
                }
            }
            colons = 0;
        }
        self.paths.insert(path);
    }
}

impl<'ast> Visit<'ast> for Room {
    fn visit_item(&mut self, item: &'ast Item) {
        if !attributes(item).iter().any(is_for_tests) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if module.content.is_none() {
            self.children.insert(module.ident.to_string());
        }
        visit::visit_item_mod(self, module);
    }

    fn visit_item_use(&mut self, import: &'ast ItemUse) {
        let is_private = matches!(import.vis, syn::Visibility::Inherited);
        self.import(&import.tree, Vec::new(), is_private);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.paths.insert(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.scan(call.tokens.clone());
        visit::visit_macro(self, call);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        // Paths in strings, as in `#[serde(with = "…")]`, are ignored.
        visit::visit_attribute(self, attribute);
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether the attribute is `#[cfg(test)]`, or `#[cfg(doc)]`, which only introduces names for documentation
/// links.
fn is_for_tests(attribute: &Attribute) -> bool {
    let Meta::List(list) = &attribute.meta else { return false };
    list.path.is_ident("cfg") && matches!(list.tokens.to_string().as_str(), "test" | "doc")
}

#[test]
fn paths_lead_to_the_file_that_defines() {
    let house = House::of([
        ("src/lib.rs", "pub mod a; pub mod b;"),
        ("src/a/mod.rs", "mod one; mod two; pub use one::One; pub use two::*; pub struct Own;"),
        ("src/a/one.rs", "pub struct One; #[cfg(test)] use crate::b::B; pub fn f() { super::two::g() }"),
        ("src/a/two.rs", "use super::one; pub use one::f; fn g() { println!(\"{}\", one::f()) }"),
        (
            "src/b.rs",
            "use crate::a::{self, One}; pub struct B(a::Own); use std::fmt; fn h() -> fmt::Result {}",
        ),
    ]);
    let arrows = house.arrows();
    let of = |file: &str| arrows[file].iter().copied().collect::<Vec<_>>();
    assert_eq!(of("src/a/mod.rs"), [""; 0], "what is only handed on is no use");
    assert_eq!(of("src/a/one.rs"), ["src/a/two.rs"]);
    assert_eq!(of("src/a/two.rs"), ["src/a/one.rs"]);
    assert_eq!(of("src/b.rs"), ["src/a/mod.rs", "src/a/one.rs"]);
    assert_eq!(circles(&arrows), [["src/a/one.rs", "src/a/two.rs"]]);
}
