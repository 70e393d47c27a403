//! The keys, compared with AEM's own vectors, and the table of responses.

use super::*;
use http::StatusCode;

/// The project `main--site--org`, whose products are made from one page.
fn project() -> Project {
    let folder = |path: &str, maps_to: &str| Folder { path: path.into(), maps_to: maps_to.into() };
    let folders = vec![folder("/products/", "/products/default"), folder("/app", "/app.html")];
    Project::new(ids(), Partition::Live, folders, ComputeKeys::Missing)
}

fn ids() -> Ids {
    Ids {
        content_bus_id: "cb1".into(),
        code_ref: "main".into(),
        repo: "repo".into(),
        owner: "owner".into(),
        org: "org".into(),
        site: "site".into(),
    }
}

#[test]
fn aems_own_vectors() {
    assert_eq!(key("input"), "LryzWp9TSqzkYkz6");
    assert_eq!(key(""), "-furr1hlvWuvr9Xu");
    assert_eq!(hashed(&["in", "", "put"]), "LryzWp9TSqzkYkz6");
    // Computed with `openssl dgst -sha256 -hmac helix -binary | basenc --base64url`.
    let project = project();
    assert_eq!(project.content_key("/blog/first"), "DznXGYQ2dwEHyt2m");
    assert_eq!(project.code_key("/scripts/a.js"), "6b-Oqcbks9skj9gd");
    assert_eq!(project.config(), "U_NW4adJU7Qazf-I");
}

#[test]
fn fixed_keys() {
    let live = project();
    let fixed = |project: &Project| {
        [project.content(), project.metadata(), project.code(), project.head(), project.not_found()]
            .map(str::to_owned)
    };
    let code = ["main--repo--owner_code", "main--repo--owner_head", "main--repo--owner_404"];
    assert_eq!(fixed(&live), [&["cb1", "cb1_metadata"], &code[..]].concat()[..]);
    let preview = live.in_partition(Partition::Preview);
    assert_eq!(fixed(&preview), [&["p_cb1", "p_cb1_metadata"], &code[..]].concat()[..]);
    assert_eq!(preview.content_key("/a"), format!("p_{}", live.content_key("/a")));
    assert_eq!(preview.mapped_metadata("/a"), format!("p_{}_metadata", live.content_key("/a")));
    assert_eq!(preview.code_key("/a"), live.code_key("/a"));
    assert_eq!(preview.config(), live.config());
}

#[test]
fn forms_of_a_page() {
    let check = |path: &str, page: &str, plain: Option<&str>| {
        assert_eq!((page_path(path), plain_form(page_path(path)).as_deref()), (page, plain), "{path}");
    };
    check("/", "/", Some("/index.plain.html"));
    check("/a", "/a", Some("/a.plain.html"));
    check("/a.plain.html", "/a", Some("/a.plain.html"));
    check("/a.md", "/a", Some("/a.plain.html"));
    check("/a/", "/a/", Some("/a/index.plain.html"));
    check("/a/index", "/a/", Some("/a/index.plain.html"));
    check("/a/index.md", "/a/", Some("/a/index.plain.html"));
    check("/a/index.plain.html", "/a/", Some("/a/index.plain.html"));
    check("/reindex", "/reindex", Some("/reindex.plain.html"));
    check("/reindex.plain.html", "/reindex", Some("/reindex.plain.html"));
    check("/a.html", "/a.html", None);
    check("/index.html", "/index.html", None);
    check("/a.json", "/a.json", None);
    check("/v1.2/a", "/v1.2/a", Some("/v1.2/a.plain.html"));
    check("/.hidden", "/.hidden", Some("/.hidden.plain.html"));
}

#[test]
fn kinds() {
    let check =
        |expected, paths: &[&str]| paths.iter().for_each(|path| assert_eq!(kind(path), expected, "{path}"));
    let media = "/a/media_0123456789abcdef0123456789abcdef01234567.png";
    check(Kind::Page, &["/", "/a", "/a/", "/a/index", "/a.plain.html", "/a.md", "/.hidden"]);
    check(Kind::Sitemap, &["/sitemap.xml", "/sitemap-index.xml"]);
    check(Kind::Robots, &["/robots.txt"]);
    check(Kind::Code, &["/scripts/a.js", "/a.css", "/fonts/a.woff2"]);
    check(Kind::Media, &[media]);
    check(Kind::Either, &["/a.json", "/a.html", "/en/sitemap.xml", "/a.svg", "/a.pdf", "/favicon.ico"]);
}

/// The keys of a response in short form: `C` and `R` are the ids, `K(..)` is a key, `M` is `_metadata`.
fn words(project: &Project, path: &str, status: u16) -> String {
    let known = |path: &str| {
        [
            (project.content_key(path), format!("K(C{path})")),
            (project.code_key(path), format!("K(R{path})")),
            (project.mapped_metadata(path), format!("K(C{path})_metadata")),
        ]
    };
    let mut names: Vec<(String, String)> = vec![
        (project.content().into(), "C".into()),
        (project.metadata().into(), "C_metadata".into()),
        (project.head().into(), "R_head".into()),
        (project.code().into(), "R_code".into()),
        (project.not_found().into(), "R_404".into()),
        (project.config().into(), "config".into()),
    ];
    for path in [path, page_path(path), "/products/default", "/app.html"] {
        names.extend(known(path));
    }
    let name = |key: &str| names.iter().find(|(known, _)| known == key).unwrap().1.clone();
    let keys = project.response_keys(path, StatusCode::from_u16(status).unwrap());
    keys.iter().map(|key| name(key)).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_table_of_responses() {
    let check = |path: &str, status, expected: &str| {
        assert_eq!(words(&project(), path, status), expected, "{status} {path}");
    };
    // A page, in each of its forms.
    for status in [200, 203, 206, 304] {
        check("/a", status, "K(C/a) C_metadata R_head C");
    }
    check("/a/", 200, "K(C/a/) C_metadata R_head C");
    check("/a.plain.html", 200, "K(C/a) C_metadata R_head C");
    check("/a/index.plain.html", 200, "K(C/a/) C_metadata R_head C");
    check("/a.md", 200, "K(C/a) C_metadata R_head C");
    // Sitemaps have neither metadata nor head.
    check("/sitemap.xml", 200, "K(C/sitemap.xml) C");
    check("/sitemap-index.xml", 200, "K(C/sitemap-index.xml) C");
    // Code.
    check("/a.js", 200, "K(R/a.js) R_code");
    check("/a.js", 301, "K(R/a.js) R_code");
    check("/a.js", 304, "K(R/a.js) R_code");
    // A page of a mapped folder. The response does not show which page it is made from.
    check(
        "/products/1",
        200,
        "K(C/products/1) K(C/products/default) K(C/products/default)_metadata C_metadata R_head C",
    );
    check(
        "/app/x",
        200,
        "K(C/app/x) K(C/app.html) K(C/app.html)_metadata K(R/app.html) R_code C_metadata R_head C",
    );
    check("/apple", 200, "K(C/apple) C_metadata R_head C");
    // JSON may be content or code. AEM itself leaves out the code's keys if it is content.
    check("/a.json", 200, "K(C/a.json) K(R/a.json) R_code C");
    check("/config.json", 200, "K(C/config.json) K(R/config.json) R_code C config");
    check("/config.json", 404, "K(C/config.json) K(R/config.json) R_404 R_code C config");
    check("/robots.txt", 200, "K(R/robots.txt) config");
    // A redirect may be of content or of code.
    for status in [301, 302, 308] {
        check("/a", status, "K(C/a) K(R/a) R_code C");
    }
    // A missing resource may appear as content or as code.
    for status in [404, 410] {
        check("/a", status, "K(C/a) K(R/a) R_404 R_code C");
        check("/a.js", status, "K(C/a.js) K(R/a.js) R_404 R_code C");
    }
    check(
        "/products/1",
        404,
        "K(C/products/1) K(C/products/default) K(C/products/default)_metadata K(R/products/1) R_404 R_code C",
    );
    // Media never change, and errors are never kept.
    check("/media_0123456789abcdef0123456789abcdef01234567.png", 200, "");
    check("/a", 500, "");
}

#[test]
fn which_responses_get_keys() {
    let check = |compute, expected: [bool; 2]| {
        let project = Project::new(ids(), Partition::Live, vec![], compute);
        assert_eq!([false, true].map(|has_tags| project.computes_keys(has_tags)), expected);
    };
    check(ComputeKeys::Missing, [true, false]);
    check(ComputeKeys::Always, [true, true]);
    check(ComputeKeys::Never, [false, false]);
}

#[test]
fn keys_that_paths_stand_for() {
    let project = project();
    let check = |paths: &[&str], within: &[String], without: &[String]| {
        let keys = project.keys_within(&paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>());
        within.iter().for_each(|key| assert!(keys.contains(key), "{paths:?}"));
        without.iter().for_each(|key| assert!(!keys.contains(key), "{paths:?}"));
    };
    let (content, code) = (|path: &str| project.content_key(path), |path: &str| project.code_key(path));
    check(&["/a", "/a.plain.html"], &[content("/a"), content("/a.plain.html"), code("/a")], &[content("/b")]);
    check(&["//a", "/%61.plain.html"], &[content("/a")], &[]);
    check(&["/a"], &[code("/a")], &[content("/a")]);
    check(&["/a.plain.html"], &[code("/a.plain.html")], &[content("/a")]);
    check(&["/a.json"], &[content("/a.json"), code("/a.json")], &[]);
    // Other pages show these pages.
    let mapped = ["/products/default", "/products/default.plain.html", "/app.html"];
    check(&mapped, &[], &[content("/products/default"), content("/app.html"), code("/app.html")]);
    check(&["/a", "/a.plain.html"], &[], &[project.content().into(), project.code().into()]);
    let preview = project.in_partition(Partition::Preview);
    check(&["/a.json"], &[preview.content_key("/a.json")], &[]);
}
