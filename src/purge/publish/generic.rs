//! `profile = "generic"`: a path is a page, with each of the endings under which the origin serves it.

use super::items::Items;
use crate::config::Site;
use crate::rewrite::aem::extension;

/// Adds the event's own paths. Rules add the pages that show them.
pub(super) fn cover(site: &Site, paths: &[String], items: &mut Items) {
    for path in paths {
        forms(path, &site.events.page_forms).for_each(|form| items.path(form));
    }
}

/// Returns the normalised path, then its other forms with these endings: with `["", "/"]`, `/a` is also `/a/`.
pub(super) fn forms<'a>(path: &'a str, endings: &'a [String]) -> impl Iterator<Item = String> + 'a {
    let stem = stem(path, endings);
    let others =
        stem.into_iter().flat_map(|stem| endings.iter().map(move |ending| format!("{stem}{ending}")));
    std::iter::once(path.to_owned()).chain(others.filter(move |form| form != path && form.starts_with('/')))
}

/// Returns the path without the longest ending that it has, or `None` for a file, which is served under one name only.
fn stem<'a>(path: &'a str, endings: &[String]) -> Option<&'a str> {
    let stems = endings.iter().filter_map(|ending| path.strip_suffix(&**ending));
    let stem = stems.min_by_key(|stem| stem.len())?;
    (stem.len() < path.len() || !is_file(path)).then_some(stem)
}

/// Whether the path has a file extension. A version (`/release-1.2`) is not one.
fn is_file(path: &str) -> bool {
    let looks_like_one = |extension: &str| {
        (1..=5).contains(&extension.len())
            && extension.bytes().all(|byte| byte.is_ascii_alphanumeric())
            && extension.bytes().any(|byte| byte.is_ascii_alphabetic())
    };
    extension(path).is_some_and(looks_like_one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_path() {
        let check = |endings: &[&str], path: &str, expected: &[&str]| {
            let endings: Vec<_> = endings.iter().map(|ending| (*ending).to_owned()).collect();
            assert_eq!(forms(path, &endings).collect::<Vec<_>>(), expected, "{endings:?} {path}");
        };
        let default = ["", "/", "/index.html", ".html"];
        check(&default, "/a", &["/a", "/a/", "/a/index.html", "/a.html"]);
        check(&default, "/a/", &["/a/", "/a", "/a/index.html", "/a.html"]);
        check(&default, "/a/index.html", &["/a/index.html", "/a", "/a/", "/a.html"]);
        check(&default, "/a.html", &["/a.html", "/a", "/a/", "/a/index.html"]);
        check(&default, "/", &["/", "/index.html"]);
        check(&default, "/index.html", &["/index.html", "/"]);
        check(&default, "/a.css", &["/a.css"]);
        check(&default, "/a.woff2", &["/a.woff2"]);
        check(&default, "/v1.2", &["/v1.2", "/v1.2/", "/v1.2/index.html", "/v1.2.html"]);
        check(&default, "/.well-known/x.json", &["/.well-known/x.json"]);
        check(&[], "/a", &["/a"]);
        check(&["", "/"], "/a.html", &["/a.html"]);
        check(&["/", "/default.aspx"], "/a/", &["/a/", "/a/default.aspx"]);
        check(&["/", "/default.aspx"], "/a", &["/a"]);
    }
}
