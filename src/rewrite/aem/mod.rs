//! The keys by which AEM Edge Delivery names its responses, computed here for origins that send none. Publish
//! events purge by the same keys (`adobe/helix-shared`, `computeSurrogateKey`; `adobe/helix-html-pipeline`).
//!
//! The keys must not change between versions because CDNs hold responses that carry them.

mod response;

#[cfg(test)]
mod tests;

use super::path::normalise;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::collections::HashSet;
use std::sync::LazyLock;

pub use response::{Kind, kind};

/// The key that AEM computes from `text`: the first 16 characters of base64url of HMAC-SHA256 with the key `helix`.
pub fn key(text: &str) -> String {
    hashed(&[text])
}

/// The [`key`] of the concatenated `parts`.
fn hashed(parts: &[&str]) -> String {
    // The HMAC is keyed only one time because a response has up to six of these keys.
    static KEYED: LazyLock<Hmac<Sha256>> =
        LazyLock::new(|| Hmac::<Sha256>::new_from_slice(b"helix").expect("HMAC takes keys of every length"));
    let mut mac = KEYED.clone();
    for part in parts {
        mac.update(part.as_bytes());
    }
    // 12 bytes give 16 characters without padding.
    URL_SAFE_NO_PAD.encode(&mac.finalize().into_bytes()[..12])
}

/// The names that AEM gives to the parts of a site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// The id of the content: `content.contentBusId` of the site's configuration.
    pub content_bus_id: String,
    /// The branch of the code.
    pub code_ref: String,
    /// The repository of the code.
    pub repo: String,
    /// The owner of the repository.
    pub owner: String,
    /// The organisation that the site belongs to.
    pub org: String,
    /// The name of the site.
    pub site: String,
}

/// The version of the content that the origin serves.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Partition {
    /// Published content (`aem.live`).
    #[default]
    Live,
    /// Content in preparation (`aem.page`). The keys of this content start with `p_`.
    Preview,
}

impl Partition {
    fn prefix(self) -> &'static str {
        match self {
            Self::Live => "",
            Self::Preview => "p_",
        }
    }
}

/// The responses that get computed keys.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum ComputeKeys {
    /// Only responses whose origin sends no tags.
    #[default]
    Missing,
    /// All responses.
    Always,
    /// No responses.
    Never,
}

/// A folder whose pages are made from one page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// The path of the folder, which covers the pages below it and itself.
    pub path: String,
    /// The page, or the file of the code, that all of these pages show.
    pub maps_to: String,
}

impl Folder {
    fn covers(&self, path: &str) -> bool {
        path.strip_prefix(&*self.path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || self.path.ends_with('/'))
    }
}

/// A site of AEM: its ids and the keys made from them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    ids: Ids,
    partition: Partition,
    folders: Vec<Folder>,
    compute: ComputeKeys,
    fixed: Fixed,
}

/// The keys that do not depend on the path.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fixed {
    content: String,
    metadata: String,
    /// `<ref>--<repo>--<owner>`, from which the keys of code are made.
    code_id: String,
    code: String,
    head: String,
    not_found: String,
    config: String,
}

impl Project {
    /// Creates a project with these ids. If several folders cover a path, the first one applies.
    pub fn new(ids: Ids, partition: Partition, mut folders: Vec<Folder>, compute: ComputeKeys) -> Self {
        for folder in &mut folders {
            folder.path = normalise(&folder.path).into_owned();
            folder.maps_to = normalise(&folder.maps_to).into_owned();
        }
        let content = format!("{}{}", partition.prefix(), ids.content_bus_id);
        let code_id = code_id(&ids.code_ref, &ids.repo, &ids.owner);
        let fixed = Fixed {
            metadata: format!("{content}_metadata"),
            content,
            code: format!("{code_id}_code"),
            head: format!("{code_id}_head"),
            not_found: format!("{code_id}_404"),
            config: key(&format!("{}--{}_config.json", ids.site, ids.org)),
            code_id,
        };
        Self { ids, partition, folders, compute, fixed }
    }

    /// The ids of the project.
    pub fn ids(&self) -> &Ids {
        &self.ids
    }

    /// Returns this project with another partition.
    pub fn in_partition(&self, partition: Partition) -> Self {
        Self::new(self.ids.clone(), partition, self.folders.clone(), self.compute)
    }

    /// Returns this project with other ids.
    pub fn with_ids(&self, ids: Ids) -> Self {
        Self::new(ids, self.partition, self.folders.clone(), self.compute)
    }

    /// The key of every response made of content.
    pub fn content(&self) -> &str {
        &self.fixed.content
    }

    /// The key of the site's metadata, on every page.
    pub fn metadata(&self) -> &str {
        &self.fixed.metadata
    }

    /// The key of every response made of code.
    pub fn code(&self) -> &str {
        &self.fixed.code
    }

    /// The key of `head.html`, on every page.
    pub fn head(&self) -> &str {
        &self.fixed.head
    }

    /// The key of `404.html`, on every page that was not found.
    pub fn not_found(&self) -> &str {
        &self.fixed.not_found
    }

    /// The key of the site's configuration, on every response that shows it.
    pub fn config(&self) -> &str {
        &self.fixed.config
    }

    /// The key of the content at exactly this path.
    pub fn content_key(&self, path: &str) -> String {
        self.partition.prefix().to_owned() + &hashed(&[&self.ids.content_bus_id, path])
    }

    /// The key of the file of the code at this path.
    pub fn code_key(&self, path: &str) -> String {
        hashed(&[&self.fixed.code_id, path])
    }

    /// The key of the metadata of the page at `path`, on every page of a folder that maps to it.
    pub fn mapped_metadata(&self, path: &str) -> String {
        self.content_key(path) + "_metadata"
    }

    /// Whether pages of a folder are made from the one at this path.
    fn is_mapped_to(&self, path: &str) -> bool {
        self.folders.iter().any(|folder| folder.maps_to == path)
    }

    /// Returns the keys of pages and files that only the responses at `paths` carry. A CDN without tags need not
    /// purge by these keys. (The `.md` form of a page is left out, as AEM leaves it out.)
    pub fn keys_within(&self, paths: &[String]) -> HashSet<String> {
        let given: HashSet<_> = paths.iter().map(|path| normalise(path)).collect();
        let mut keys = HashSet::new();
        for path in given.iter().filter(|path| !self.is_mapped_to(path)) {
            keys.insert(self.code_key(path));
            let page = page_path(path);
            let has_plain = plain_form(page).is_none_or(|plain| given.contains(&*plain));
            if given.contains(page) && has_plain && !self.is_mapped_to(page) {
                for partition in [Partition::Live, Partition::Preview] {
                    let key = |path: &str| {
                        partition.prefix().to_owned() + &hashed(&[&self.ids.content_bus_id, path])
                    };
                    keys.extend([key(page), key(path)]);
                }
            }
        }
        keys
    }
}

/// Returns `<ref>--<repo>--<owner>`.
pub fn code_id(code_ref: &str, repo: &str, owner: &str) -> String {
    format!("{code_ref}--{repo}--{owner}")
}

/// The path by which content keys name the page at a normalised path: without `.plain.html` and `.md`, and with
/// the folder in place of its `index`.
pub fn page_path(path: &str) -> &str {
    let stem = [".plain.html", ".md"].iter().find_map(|ending| path.strip_suffix(ending)).unwrap_or(path);
    match stem.strip_suffix("index") {
        Some(folder) if folder.ends_with('/') => folder,
        _ => stem,
    }
}

/// The path of the page at `page` without its frame (`.plain.html`). Returns `None` for a file, that is, a path
/// with an extension.
pub fn plain_form(page: &str) -> Option<String> {
    match extension(page) {
        Some(_) => None,
        None if page.ends_with('/') => Some(format!("{page}index.plain.html")),
        None => Some(format!("{page}.plain.html")),
    }
}

/// The part of the file name after the last dot, unless the name starts with that dot.
pub fn extension(path: &str) -> Option<&str> {
    let name = &path[path.rfind('/').map_or(0, |slash| slash + 1)..];
    match name.rfind('.') {
        None | Some(0) => None,
        Some(dot) => Some(&name[dot + 1..]),
    }
}
