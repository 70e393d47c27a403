//! Tags: the site's own, and the single encoding for responses and purges.
//!
//! The encoding must not change between versions: CDNs hold responses with these tags for as long as the longest
//! edge TTL.

use super::CdnType;
use super::path::normalise;
use super::spelling::normal_forms;
use sha2::{Digest, Sha256};
use std::borrow::Cow;

/// The form in which a CDN gets its tags.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum TagForm {
    /// As the origin wrote them, if the CDN can carry that.
    #[default]
    Full,
    /// As the first 8 characters of their hash, so that more of them fit.
    Short,
}

/// Returns a tag as the CDN gets it. In full, a tag that the CDN can carry is unchanged, and any other becomes the
/// first 32 hex digits of its SHA-256, in lower case because Cloudflare and CloudFront ignore case; encoding such a
/// tag again changes nothing. In short, every tag becomes 8 characters of base32 (RFC 4648 §6, in lower case), which
/// are 40 bits of its SHA-256: two tags that share them are purged together.
pub fn encode(cdn: CdnType, form: TagForm, tag: &str) -> Cow<'_, str> {
    let mut space = [0; 32];
    match encode_bytes(cdn, form, tag.as_bytes(), &mut space) {
        same if same == tag.as_bytes() => Cow::Borrowed(tag),
        other => Cow::Owned(text(other)),
    }
}

/// Does the same as [`encode`] for the bytes of a header, without allocation. A digest, if needed, is written to
/// `space`.
pub(super) fn encode_bytes<'a>(cdn: CdnType, form: TagForm, tag: &'a [u8], space: &'a mut Hex) -> &'a [u8] {
    match form {
        TagForm::Full if is_legal(cdn, tag) => tag,
        TagForm::Full => {
            *space = digest(&[tag]);
            space
        }
        TagForm::Short => {
            let (short, _) = space.split_at_mut(SHORT);
            short.copy_from_slice(&self::short(tag));
            short
        }
    }
}

/// Every form in which some CDN may have a tag, without repetition.
pub fn forms(tag: &str) -> Vec<Cow<'_, str>> {
    let mut forms = vec![Cow::Owned(text(&short(tag.as_bytes())))];
    for form in CdnType::ALL.map(|cdn| encode(cdn, TagForm::Full, tag)) {
        if !forms.contains(&form) {
            forms.push(form);
        }
    }
    forms
}

/// The length of a short tag.
const SHORT: usize = 8;

/// The first 40 bits of a tag's SHA-256 in base32.
fn short(tag: &[u8]) -> [u8; SHORT] {
    const DIGITS: [u8; 32] = *b"abcdefghijklmnopqrstuvwxyz234567";
    let hash = Sha256::digest(tag);
    let bits = hash.iter().take(5).fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    std::array::from_fn(|at| DIGITS[(bits >> (35 - 5 * at)) as usize % DIGITS.len()])
}

/// The tag that every response of the site carries.
pub fn site_tag(site: &str) -> String {
    [SITE, site].concat()
}

/// The site to which a tag would belong, if it has the form of a site's tag.
pub fn site_of(tag: &str) -> Option<&str> {
    tag.strip_prefix(SITE)
}

const SITE: &str = "site-";

/// The kind of thing for which the shim makes tags of its own. A purge names these things directly instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnForm {
    /// The page at a path.
    Path,
    /// Everything below a prefix.
    Section,
}

/// Whether a tag has the form of [`path_tag`] or [`section_tag`]. The digest does not reveal the site. Case is
/// ignored because some CDNs do not preserve it.
pub fn own_form(tag: &str) -> Option<OwnForm> {
    let form = match tag.as_bytes().first_chunk::<2>()? {
        b"p-" | b"P-" => OwnForm::Path,
        b"d-" | b"D-" => OwnForm::Section,
        _ => return None,
    };
    let digest = &tag.as_bytes()[2..];
    (digest.len() == size_of::<Hex>() && digest.iter().all(u8::is_ascii_hexdigit)).then_some(form)
}

/// The tag of the site's page at `path` (raw or normalised, without a query).
pub fn path_tag(site: &str, path: &str) -> String {
    text(&path_tag_bytes(site, &normalise(path)))
}

/// The tags by which a purge of the page at `path` reaches its copies in every spelling. Copies of this version
/// carry the tag of the canonical form (see `tag_header`). Copies of older versions carry only the tag of their
/// own normal form, which is included here if it is a usual one.
pub fn path_tags(site: &str, path: &str) -> Vec<String> {
    normal_forms(path).iter().map(|form| text(&path_tag_bytes(site, form))).collect()
}

/// The tags by which a purge of a section reaches its copies; see [`path_tags`].
pub fn section_tags(site: &str, prefix: &str) -> Vec<String> {
    normal_forms(prefix).iter().map(|form| text(&section_tag_bytes(site, form))).collect()
}

/// The tag of everything below `prefix` (a path that ends in `/`) on the site.
pub fn section_tag(site: &str, prefix: &str) -> String {
    text(&section_tag_bytes(site, &normalise(prefix)))
}

/// The sections that contain the page at the normalised `path`: its leading prefixes that end in `/`, shortest
/// first, at most `levels`. The root is not a section because the site's tag stands for it.
pub fn sections(path: &str, levels: u8) -> impl Iterator<Item = &str> {
    path.match_indices('/').skip(1).take(usize::from(levels)).map(|(slash, _)| &path[..=slash])
}

/// The [`path_tag`] of a normalised path: `p-` and a digest.
pub(super) fn path_tag_bytes(site: &str, path: &str) -> [u8; 34] {
    prefixed(*b"p-", &digest_of(site, path))
}

/// The [`section_tag`] of a normalised prefix: `d-` and a digest.
pub(super) fn section_tag_bytes(site: &str, prefix: &str) -> [u8; 34] {
    prefixed(*b"d-", &digest_of(site, prefix))
}

/// A digest in the form that tags carry.
pub(super) type Hex = [u8; 32];

/// The first 32 hex digits of the SHA-256 of a site, a zero byte and a path.
fn digest_of(site: &str, path: &str) -> Hex {
    digest(&[site.as_bytes(), b"\0", path.as_bytes()])
}

/// The first 32 hex digits of the SHA-256 of the concatenated `parts`.
fn digest(parts: &[&[u8]]) -> Hex {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    let hash = hasher.finalize();
    let mut hex = [0; 32];
    for (digits, byte) in hex.chunks_exact_mut(2).zip(hash) {
        digits.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    hex
}

fn prefixed(prefix: [u8; 2], hex: &Hex) -> [u8; 34] {
    let mut tag = [0; 34];
    let (start, rest) = tag.split_at_mut(2);
    start.copy_from_slice(&prefix);
    rest.copy_from_slice(hex);
    tag
}

fn text(ascii: &[u8]) -> String {
    ascii.iter().map(|b| char::from(*b)).collect()
}

/// Whether the CDN carries and purges the tag unchanged.
fn is_legal(cdn: CdnType, tag: &[u8]) -> bool {
    let facts = &cdn.facts().tags;
    !tag.is_empty() && tag.len() <= facts.longest && tag.iter().all(|b| facts.alphabet[usize::from(*b)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn full(cdn: CdnType, tag: &str) -> Cow<'_, str> {
        encode(cdn, TagForm::Full, tag)
    }

    /// Checks the encoding of `tag` for Fastly, Akamai, Cloudflare, CloudFront and Varnish.
    fn check(tag: &str, expected: [&str; 5]) {
        use CdnType::{Akamai, Cloudflare, Cloudfront, Fastly, Varnish};
        let cdns = [Fastly, Akamai, Cloudflare, Cloudfront, Varnish];
        assert_eq!(cdns.map(|cdn| full(cdn, tag).into_owned()), expected, "{tag:?}");
    }

    // The literals below are the format. If one of them has to change, purges miss the copies that CDNs already hold.

    #[test]
    fn the_encoding_is_pinned() {
        let (node, spaced, comma, star) = (
            "c0396b94ed60bae669824eb23ac1fab0",
            "c8687a08aa5d6ed2044328fa6a697ab8",
            "1eb7c54d52831bbfe8942af0b1c56b74",
            "15eb0a792505b1914ccd7f8d39a6b0f1",
        );
        check("product-42", ["product-42"; 5]);
        check("Product_42.a/b|c~d", ["Product_42.a/b|c~d"; 5]);
        check("node:1", ["node:1", node, "node:1", "node:1", "node:1"]);
        check("a b", [spaced; 5]);
        check("a,b", ["a,b", comma, comma, comma, comma]);
        check("a*b", ["a*b", star, "a*b", star, "a*b"]);
        check("é", ["4a99557e4033c3539de2eb65472017ca"; 5]);
        check("", ["e3b0c44298fc1c149afbf4c8996fb924"; 5]);
    }

    #[test]
    fn short_tags_are_pinned() {
        let pinned = [
            ("product-42", "4ag5ebtb"),
            ("node:1", "ya4wxfhn"),
            ("a b", "zbuhucfk"),
            ("site-www", "pfapmlrf"),
        ];
        for (tag, expected) in pinned {
            for cdn in CdnType::ALL {
                assert_eq!(encode(cdn, TagForm::Short, tag), expected, "{tag}");
            }
        }
    }

    #[test]
    fn long_tags_are_hashed() {
        let (x128, x256, x1024) = ("x".repeat(128), "x".repeat(256), "x".repeat(1_024));
        let (x129, x257, x1025) = ("x".repeat(129), "x".repeat(257), "x".repeat(1_025));
        let (h129, h257, h1025) = (
            "0ec9eb33e74510bcdd1f2ea55206e82f",
            "15eb95a462ee20bd91a415ae2d4aed34",
            "c6d8e9905300876046729949cc95c238",
        );
        check(&x128, [&x128; 5]);
        check(&x129, [&x129, h129, &x129, &x129, &x129]);
        check(&x257, [&x257, h257, &x257, h257, &x257]);
        check(&x1025, [h1025; 5]);
        assert_eq!(full(CdnType::Cloudfront, &x256), x256);
        assert_eq!(full(CdnType::Varnish, &x1024), x1024);
    }

    #[test]
    fn the_sites_own_tags_are_pinned() {
        assert_eq!(site_tag("www"), "site-www");
        assert_eq!(path_tag("www", "/"), "p-bb37059158e85e11be62f969f2a04c10");
        assert_eq!(path_tag("www", "/blog/first"), "p-edca09dc535aa5231d8a872ef4fc49fd");
        assert_eq!(path_tag("www", "/café"), "p-5f6f607705c2d454a9a5cf134a0ca61a");
        assert_eq!(section_tag("www", "/blog/"), "d-c26c47e1871d6cc6d7a3142717203097");
        assert_eq!(section_tag("www", "/blog/2024/"), "d-52c60c18881cce95e24de77d5b4c0d3c");
    }

    #[test]
    fn own_forms_are_told_from_an_origins_tags() {
        assert_eq!(own_form(&path_tag("www", "/a")), Some(OwnForm::Path));
        assert_eq!(own_form(&section_tag("www", "/a/").to_ascii_uppercase()), Some(OwnForm::Section));
        for others in ["", "p", "p-", "d-1", "p-42", "product-42", "x-bb37059158e85e11be62f969f2a04c10"] {
            assert_eq!(own_form(others), None, "{others}");
        }
        // These have one digit less, one digit more, and one invalid digit.
        for digest in [
            "bb37059158e85e11be62f969f2a04c1",
            "bb37059158e85e11be62f969f2a04c100",
            "gb37059158e85e11be62f969f2a04c10",
        ] {
            assert_eq!(own_form(&format!("p-{digest}")), None, "{digest}");
        }
        assert_eq!(site_of(&site_tag("www")), Some("www"));
        assert_eq!(site_of("www"), None);
    }

    #[test]
    fn sites_do_not_share_path_tags() {
        assert_ne!(path_tag("www", "/a"), path_tag("ww", "w/a"));
        assert_ne!(path_tag("a", "/"), path_tag("b", "/"));
    }

    #[test]
    fn sections_of_a_path() {
        let check = |path, levels, expected: &[&str]| {
            assert_eq!(sections(path, levels).collect::<Vec<_>>(), expected, "{path}");
        };
        check("/blog/2024/x", 0, &[]);
        check("/blog/2024/x", 1, &["/blog/"]);
        check("/blog/2024/x", 2, &["/blog/", "/blog/2024/"]);
        check("/blog/2024/x", 9, &["/blog/", "/blog/2024/"]);
        check("/blog/", 9, &["/blog/"]);
        check("/blog", 9, &[]);
        check("/", 9, &[]);
    }

    fn any_cdn() -> impl Strategy<Value = CdnType> {
        prop::sample::select(&CdnType::ALL)
    }

    proptest! {
        #[test]
        fn an_encoded_tag_is_legal_and_stays(cdn in any_cdn(), tag in prop_oneof!["\\PC{0,40}", "[!-~ ]{0,300}"]) {
            let encoded = full(cdn, &tag).into_owned();
            prop_assert!(is_legal(cdn, encoded.as_bytes()));
            prop_assert_eq!(full(cdn, &encoded), &*encoded);
            let short = encode(cdn, TagForm::Short, &tag).into_owned();
            prop_assert!(is_legal(cdn, short.as_bytes()) && short.len() == SHORT);
            prop_assert_eq!(&short, &short.to_ascii_lowercase());
            for (form, encoded) in [(TagForm::Full, &encoded), (TagForm::Short, &short)] {
                let mut space = [0; 32];
                prop_assert_eq!(encode_bytes(cdn, form, tag.as_bytes(), &mut space), encoded.as_bytes());
                prop_assert!(forms(&tag).iter().any(|one| one == encoded));
            }
        }

        #[test]
        fn own_tags_are_legal_everywhere(cdn in any_cdn(), site in "[a-z0-9._-]{1,64}", path in "\\PC{0,60}") {
            for tag in [site_tag(&site), path_tag(&site, &path), section_tag(&site, &path)] {
                prop_assert_eq!(full(cdn, &tag), &*tag);
            }
        }

        #[test]
        fn every_form_of_a_path_has_one_tag(path in "\\PC{0,60}") {
            prop_assert_eq!(path_tag("www", &path), path_tag("www", &normalise(&path)));
        }
    }
}
