//! Validates a purge request. Every invalid item is reported, so that a caller can correct the whole request at once.

use super::PurgeRequest;
use crate::config::{Cdn, Claims, Site};
use crate::rewrite::nameable;
use std::sync::Arc;
use url::{Position, Url};

/// The most items in one request.
pub const MAX_ITEMS: usize = 50_000;
/// The most characters of a reason.
pub const MAX_REASON: usize = 1_000;
/// The most bytes of a URL, path or prefix. No CDN accepts longer ones.
const MAX_NAME: usize = 8_192;

/// Why an item cannot be purged.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ItemError {
    /// The item's place in the request: `paths[3]`.
    pub item: String,
    /// The reason, in words.
    pub message: String,
}

impl ItemError {
    pub(super) fn new(list: &str, index: usize, message: impl Into<String>) -> Self {
        Self { item: format!("{list}[{index}]"), message: message.into() }
    }
}

/// A request whose items are each valid.
pub(super) struct Checked<'a> {
    /// The URLs as a browser requests them, without fragment.
    pub(super) urls: Vec<Url>,
    pub(super) paths: &'a [String],
    pub(super) tags: &'a [String],
    pub(super) prefixes: &'a [String],
    pub(super) everything: bool,
    pub(super) cdns: Vec<&'a Arc<Cdn>>,
}

pub(super) fn check<'a>(
    claims: &Claims,
    site: &'a Site,
    request: &'a PurgeRequest,
) -> Result<Checked<'a>, Vec<ItemError>> {
    let mut errors = Vec::new();
    let whole = |message: &str| ItemError {
        item: "urls, paths, tags, prefixes, everything".into(),
        message: message.into(),
    };
    match request.item_count() {
        0 => errors.push(whole("give at least one item")),
        count if count > MAX_ITEMS => {
            return Err(vec![whole(&format!("{count} items are too many: at most {MAX_ITEMS}"))]);
        }
        _ => {}
    }
    if request.reason.as_deref().is_some_and(is_too_long) {
        errors.push(ItemError { item: "reason".into(), message: "at most 1,000 characters".into() });
    }
    each(&mut errors, "paths", &request.paths, path);
    each(&mut errors, "tags", &request.tags, |text| tag(claims, site, text));
    each(&mut errors, "prefixes", &request.prefixes, prefix);
    let urls = each(&mut errors, "urls", &request.urls, |text| url(claims, site, text));
    let cdns = cdns(site, request, &mut errors);
    if errors.is_empty() {
        unreached(site, &urls, &cdns, &mut errors);
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Checked {
        urls,
        paths: &request.paths,
        tags: &request.tags,
        prefixes: &request.prefixes,
        everything: request.purges_everything(site),
        cdns,
    })
}

fn each<T>(
    errors: &mut Vec<ItemError>,
    list: &str,
    items: &[String],
    check: impl Fn(&str) -> Result<T, String>,
) -> Vec<T> {
    let mut good = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        match check(item) {
            Ok(value) => good.push(value),
            Err(message) => errors.push(ItemError::new(list, index, message)),
        }
    }
    good
}

/// Whether a reason is too long to be shown in full.
pub fn is_too_long(reason: &str) -> bool {
    reason.chars().count() > MAX_REASON
}

/// Returns the requested CDNs, or all if the request has no list.
fn cdns<'a>(site: &'a Site, request: &PurgeRequest, errors: &mut Vec<ItemError>) -> Vec<&'a Arc<Cdn>> {
    let mut refuse = |message: &str| errors.push(ItemError { item: "cdns".into(), message: message.into() });
    if site.cdns.is_empty() {
        refuse("the site has no CDN, so there is nothing to purge");
        return Vec::new();
    }
    let Some(names) = &request.cdns else { return site.cdns.iter().collect() };
    if names.is_empty() {
        refuse("name at least one CDN, or leave `cdns` out for all");
    }
    for (index, name) in names.iter().enumerate() {
        if !site.cdns.iter().any(|cdn| cdn.name == *name) {
            errors.push(ItemError::new("cdns", index, format!("the site has no CDN named {}", shown(name))));
        }
    }
    site.cdns.iter().filter(|cdn| names.contains(&cdn.name)).collect()
}

fn url(claims: &Claims, site: &Site, text: &str) -> Result<Url, String> {
    name(text)?;
    nameable::trimmed(text)?;
    nameable::without_wildcard(text)?;
    // The URL standard parses the text as browsers do, so the result is the name under which a CDN caches the page.
    let mut url = Url::parse(text).map_err(|error| format!("not an absolute URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("not an http or https URL".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not carry a user name or password".into());
    }
    url.set_fragment(None);
    let host = url.host_str().unwrap_or_default();
    // A final dot is ignored, as in the lookup for requests.
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_name = host.split('.').all(|label| !label.is_empty());
    if is_name && claims.may_purge(&site.name, host) {
        Ok(url)
    } else {
        Err(format!("{} is not a host of this site or of its CDNs", shown(host)))
    }
}

/// Reports URLs that none of the requested CDNs serves. Otherwise they would count as purged although no CDN purged
/// them.
fn unreached(site: &Site, urls: &[Url], cdns: &[&Arc<Cdn>], errors: &mut Vec<ItemError>) {
    for (index, url) in urls.iter().enumerate() {
        if !cdns.is_empty() && !cdns.iter().any(|cdn| takes(site, cdn, url)) {
            errors.push(ItemError::new("urls", index, "its host is not one of the CDNs that `cdns` names"));
        }
    }
}

/// Whether `url` is purged at this CDN. It is not if only other CDNs of the site serve its host: then there is nothing
/// to purge, and Cloudflare would refuse.
pub(super) fn takes(site: &Site, cdn: &Cdn, url: &Url) -> bool {
    is_host_of(cdn, url) || !site.cdns.iter().any(|other| is_host_of(other, url))
}

fn tag(claims: &Claims, site: &Site, text: &str) -> Result<(), String> {
    nameable::tag(text)?;
    claims.may_name(&site.name, text)
}

fn path(text: &str) -> Result<(), String> {
    name(text)?;
    nameable::path(text)
}

fn prefix(text: &str) -> Result<(), String> {
    name(text)?;
    nameable::prefix(text)
}

fn name(text: &str) -> Result<(), String> {
    if text.len() > MAX_NAME {
        return Err(format!("has {} bytes: at most {MAX_NAME}", text.len()));
    }
    // The URL standard would silently drop some of them.
    if text.chars().any(char::is_control) {
        return Err("must not have control characters".into());
    }
    Ok(())
}

/// Whether the CDN lists the host of `url`.
fn is_host_of(cdn: &Cdn, url: &Url) -> bool {
    let authority = &url[Position::BeforeHost..Position::AfterPort];
    cdn.hosts.iter().any(|host| Some(host.as_str()) == url.host_str() || host == authority)
}

/// Quotes a name from the caller in a message, shortened if necessary.
pub(super) fn shown(name: &str) -> String {
    let mut short: String = name.chars().take(100).collect();
    if short.len() < name.len() {
        short.push('…');
    }
    format!("`{short}`")
}

#[cfg(test)]
mod tests {
    use super::super::testing::{alone, site};
    use super::*;
    use crate::rewrite::CdnType;

    /// Checks that the errors of `request` are `expected`, one `item: message` per line; empty if there are none.
    #[track_caller]
    fn expect(request: PurgeRequest, expected: &str) {
        let mut site = site(&[CdnType::Fastly, CdnType::Varnish]);
        site.hosts = vec!["www.example.com".into(), "*.preview.example.com".into()];
        site.cdns = site
            .cdns
            .iter()
            .map(|cdn| Arc::new(Cdn { hosts: vec!["edge.example.net".into()], ..Cdn::clone(cdn) }))
            .collect();
        let errors = check(&alone(&site), &site, &request).err().unwrap_or_default();
        let errors: Vec<_> =
            errors.iter().map(|error| format!("{}: {}", error.item, error.message)).collect();
        assert_eq!(errors.join("\n"), expected);
    }

    fn urls(urls: &[&str]) -> PurgeRequest {
        PurgeRequest { urls: urls.iter().map(|url| (*url).into()).collect(), ..Default::default() }
    }

    fn paths(paths: &[&str]) -> PurgeRequest {
        PurgeRequest { paths: paths.iter().map(|path| (*path).into()).collect(), ..Default::default() }
    }

    fn prefixes(prefixes: &[&str]) -> PurgeRequest {
        PurgeRequest {
            prefixes: prefixes.iter().map(|prefix| (*prefix).into()).collect(),
            ..Default::default()
        }
    }

    fn tags(tags: &[&str]) -> PurgeRequest {
        PurgeRequest { tags: tags.iter().map(|tag| (*tag).into()).collect(), ..Default::default() }
    }

    fn cdns(cdns: &[&str]) -> PurgeRequest {
        let cdns = Some(cdns.iter().map(|cdn| (*cdn).into()).collect());
        PurgeRequest { everything: true, cdns, ..Default::default() }
    }

    #[test]
    fn how_many() {
        expect(PurgeRequest::default(), "urls, paths, tags, prefixes, everything: give at least one item");
        let many = PurgeRequest { paths: vec!["/".into(); 50_000], ..Default::default() };
        expect(many.clone(), "");
        expect(
            PurgeRequest { everything: true, ..many },
            "urls, paths, tags, prefixes, everything: 50001 items are too many: at most 50000",
        );
    }

    #[test]
    fn urls_of_the_site() {
        expect(urls(&["https://www.example.com/a?x=1#top", "http://WWW.example.com:8080"]), "");
        expect(urls(&["https://a.preview.example.com/", "https://a.b.preview.example.com/"]), "");
        expect(urls(&["https://edge.example.net/ü b"]), "");
        expect(urls(&["https://www.example.com:443/", "http://edge.example.net:80/a"]), "");
        expect(
            urls(&["https://www.example.com/", "/a"]),
            "urls[1]: not an absolute URL: relative URL without a base",
        );
        expect(urls(&["ftp://www.example.com/"]), "urls[0]: not an http or https URL");
        expect(urls(&["https://u:p@www.example.com/"]), "urls[0]: must not carry a user name or password");
        expect(
            urls(&["https://example.com/", "https://preview.example.com/", "https://xpreview.example.com/"]),
            "urls[0]: `example.com` is not a host of this site or of its CDNs\n\
             urls[1]: `preview.example.com` is not a host of this site or of its CDNs\n\
             urls[2]: `xpreview.example.com` is not a host of this site or of its CDNs",
        );
        expect(
            urls(&["https://www.example.com/ ", "https://www.example.com/a?*"]),
            "urls[0]: must not begin or end with white space: a space in a name is written `%20`\n\
             urls[1]: must not have a `*`, which is no wildcard here: for everything below a path use `prefixes`, for \
             every query `paths`; a star in the name of a page is written `%2A`",
        );
        expect(urls(&["https://www.example.com/\n"]), "urls[0]: must not have control characters");
        let long = format!("https://www.example.com/{}", "x".repeat(8_192));
        expect(urls(&[&long]), "urls[0]: has 8216 bytes: at most 8192");
    }

    #[test]
    fn a_default_site_serves_every_host() {
        let mut site = site(&[CdnType::Fastly]);
        site.hosts.clear();
        site.default = true;
        assert!(check(&alone(&site), &site, &urls(&["http://127.0.0.1:8080/a"])).is_ok());
    }

    #[test]
    fn fragments_go() {
        let site = site(&[CdnType::Fastly]);
        let request = urls(&["https://www.example.com/a?x=1#top"]);
        assert_eq!(
            check(&alone(&site), &site, &request).ok().unwrap().urls[0].as_str(),
            "https://www.example.com/a?x=1"
        );
    }

    #[test]
    fn paths_are_paths() {
        expect(paths(&["/", "/a b/ü", "/%2F%2A"]), "");
        expect(paths(&["/", "a", ""]), "paths[1]: must start with `/`\npaths[2]: must start with `/`");
        expect(
            paths(&["/a#b", "/blog/x ", "/blog/*", "/a\\b"]),
            "paths[0]: must not have a fragment, which no request carries; a `#` in a name is written `%23`\n\
             paths[1]: must not begin or end with white space: a space in a name is written `%20`\n\
             paths[2]: must not have a `*`, which is no wildcard here: for everything below a path use `prefixes`, for \
             every query `paths`; a star in the name of a page is written `%2A`\n\
             paths[3]: must not have a `\\`: browsers ask for a `/` instead; in a name it is written `%5C`",
        );
        expect(
            paths(&["/a?b"]),
            "paths[0]: must not have a query: a path is the page with every query; for just one of them use `urls`",
        );
    }

    #[test]
    fn prefixes_end_with_a_slash() {
        expect(prefixes(&["/", "/blog/", "/a/b/"]), "");
        expect(prefixes(&["blog/"]), "prefixes[0]: must start with `/`");
        expect(
            prefixes(&["/blog"]),
            "prefixes[0]: must end with `/`: `/blog/` is everything below it; for the page itself use `paths`",
        );
        expect(
            prefixes(&["/blog/*"]),
            "prefixes[0]: must not have a wildcard: it stands for everything below it, so `/blog/` is enough; a star in a \
             name is written `%2A`",
        );
    }

    #[test]
    fn tags_are_printable() {
        // A tag that is too long for a CDN is sent as a hash, so it can be purged.
        expect(tags(&["product-42", "a;b", "ü", "a\u{a0}b", &"x".repeat(16_384)]), "");
        expect(
            tags(&["", " a", "a b", "a*", "a,b"]),
            "tags[0]: must not be empty\n\
             tags[1]: must not have spaces, which separate tags: give each tag by itself\n\
             tags[2]: must not have spaces, which separate tags: give each tag by itself\n\
             tags[3]: must not have a `*`, which is no wildcard in tags: name each tag, or use `prefixes` for everything \
             below a path\n\
             tags[4]: must not have a comma, which separates tags: give each tag by itself",
        );
        expect(tags(&[&"x".repeat(16_385)]), "tags[0]: has 16385 bytes: at most 16384");
        expect(tags(&["a\r\nb"]), "tags[0]: must not have control characters");
    }

    #[test]
    fn cdns_are_the_sites() {
        expect(cdns(&["fastly"]), "");
        expect(cdns(&["fastly", "akamai"]), "cdns[1]: the site has no CDN named `akamai`");
        expect(cdns(&[]), "cdns: name at least one CDN, or leave `cdns` out for all");
    }
}
