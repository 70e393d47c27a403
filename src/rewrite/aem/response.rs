//! The keys that a response carries. If nothing in the response shows whether it is made of content or of code, it
//! gets the keys of both. One purge too many leaves it fresh.

use super::super::table::is_content_hash_path;
use super::{ComputeKeys, Project, extension, page_path};
use http::StatusCode;
use std::borrow::Cow;

/// The kind of resource at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A page, made of content within the frame of the code.
    Page,
    /// `/sitemap.xml` or `/sitemap-index.xml`, made of content alone.
    Sitemap,
    /// `/robots.txt`, made of the site's configuration.
    Robots,
    /// Scripts, styles and fonts, which are files of the code.
    Code,
    /// Media whose path contains a hash of its content, and which never change.
    Media,
    /// JSON, HTML files, pictures and documents, made of content or of code.
    Either,
}

/// The kind of resource at a normalised path.
pub fn kind(path: &str) -> Kind {
    match path {
        "/sitemap.xml" | "/sitemap-index.xml" => return Kind::Sitemap,
        "/robots.txt" => return Kind::Robots,
        _ if is_content_hash_path(path) => return Kind::Media,
        _ if path.ends_with(".plain.html") => return Kind::Page,
        _ => {}
    }
    match extension(path) {
        None | Some("md") => Kind::Page,
        Some("js" | "mjs" | "css" | "map" | "woff" | "woff2" | "ttf" | "otf" | "eot") => Kind::Code,
        Some(_) => Kind::Either,
    }
}

impl Project {
    /// Whether a response gets the keys that [`Project::response_keys`] computes.
    pub fn computes_keys(&self, has_tags: bool) -> bool {
        match self.compute {
            ComputeKeys::Missing => !has_tags,
            ComputeKeys::Always => true,
            ComputeKeys::Never => false,
        }
    }

    /// Returns the keys of the response with this status at a normalised path, the most specific first. Responses
    /// that are never kept for long have none.
    pub fn response_keys(&self, path: &str, status: StatusCode) -> Vec<Cow<'_, str>> {
        let mut keys = Keys { project: self, path, keys: Vec::with_capacity(8) };
        let kind = kind(path);
        match (status.as_u16(), kind) {
            // A 304 stands for the 200 that the CDN holds.
            (200..=299 | 304, Kind::Page) => {
                keys.content();
                keys.fixed([self.metadata(), self.head(), self.content()]);
            }
            (200..=299 | 304, Kind::Sitemap) => {
                keys.content();
                keys.fixed([self.content()]);
            }
            (200..=299 | 304, Kind::Robots) => keys.code_path(),
            (200..=399, Kind::Code) => {
                keys.code_path();
                keys.fixed([self.code()]);
            }
            (200..=299 | 304, Kind::Media) => {}
            // Files and redirects of either kind.
            (200..=399, _) => {
                keys.content();
                keys.code_path();
                keys.fixed([self.code(), self.content()]);
            }
            // A later publish of content or code may create the missing resource.
            (400..=499, _) => {
                keys.content();
                keys.code_path();
                keys.fixed([self.not_found(), self.code(), self.content()]);
            }
            _ => return Vec::new(),
        }
        if path == "/config.json" || kind == Kind::Robots {
            keys.fixed([self.config()]);
        }
        keys.keys
    }
}

/// The keys of one response while they are collected.
struct Keys<'p, 'a> {
    project: &'p Project,
    path: &'a str,
    keys: Vec<Cow<'p, str>>,
}

impl<'p> Keys<'p, '_> {
    fn fixed<const N: usize>(&mut self, keys: [&'p str; N]) {
        self.keys.extend(keys.map(Cow::Borrowed));
    }

    fn push(&mut self, key: String) {
        self.keys.push(Cow::Owned(key));
    }

    /// Adds the keys of the content at the path. AEM maps a folder only if the path itself has no content, which
    /// cannot be seen here. Such a page gets the keys of both.
    fn content(&mut self) {
        let page = page_path(self.path);
        self.push(self.project.content_key(page));
        let Some(folder) = self.project.folders.iter().find(|folder| folder.covers(page)) else { return };
        self.push(self.project.content_key(&folder.maps_to));
        self.push(self.project.mapped_metadata(&folder.maps_to));
        if extension(&folder.maps_to).is_some() {
            self.push(self.project.code_key(&folder.maps_to));
            self.fixed([self.project.code()]);
        }
    }

    fn code_path(&mut self) {
        self.push(self.project.code_key(self.path));
    }
}
