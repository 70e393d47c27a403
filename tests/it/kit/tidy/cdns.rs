//! Where a CDN may be named.

use super::{insist, sources};
use origin_shim::rewrite::CdnType;
use std::path::Path;

/// Files that may name any CDN, with the reason. All other files use the facts of the CDN's type, and code for
/// one CDN is in the files with its name.
const ROOMS_OF_ALL_CDNS: [(&str, &str); 14] = [
    ("src/rewrite/facts/mod.rs", "the list of the types"),
    ("src/cdn/mod.rs", "the list of the adapters"),
    ("src/config/cdns/mod.rs", "the list of the settings"),
    ("src/config/file/cdn.rs", "the keys of the file: one struct, so that a wrong key has its line"),
    ("src/config/mod.rs", "values of such keys are part of its interface"),
    ("src/http/head/known.rs", "names of fields, whoever writes them"),
    ("src/rewrite/field.rs", "names of fields, whoever reads them"),
    ("src/rewrite/dialect.rs", "names of fields, whoever reads them"),
    ("src/inbound/mod.rs", "the list of the protocols"),
    ("src/inbound/client.rs", "names of clients"),
    ("src/admin/inbound/", "the protocols that are served"),
    ("src/config/inbound.rs", "the protocols, and one struct for all of their keys"),
    ("src/config/resolve/inbound.rs", "the protocols, and one struct for all of their keys"),
    ("src/cli/import/aem/", "the CDNs that AEM can purge, in the words of its configuration"),
];

/// Files that may name one additional CDN, with the reason.
const ROOMS_OF_ONE_CDN: [(&str, &str, &str); 3] = [
    ("src/rewrite/facts/fastly.rs", "varnish", "it leaves the same trace in `Via`"),
    ("src/rewrite/facts/varnish.rs", "fastly", "it leaves the same trace in `Via`"),
    ("src/demo/", "varnish", "the CDN that the demonstration plays"),
];

/// The rule applies to code and texts, but not to comments, which may give an example.
#[test]
fn a_cdn_is_named_in_its_own_rooms_only() {
    let mut broken = Vec::new();
    for source in sources() {
        for line in source.lines_without_comments() {
            for cdn in cdns_in(line).filter(|cdn| !may_name(&source.path, cdn)) {
                broken.push(format!(
                    "{}: ask the facts of the type instead of naming {cdn}: {line}",
                    source.path
                ));
            }
        }
    }
    insist(broken);
}

/// An entry that is no longer needed must be removed from the list.
#[test]
fn every_room_of_cdns_is_needed() {
    let all = sources();
    let names = |room: &str, cdn: Option<&str>| {
        let mut in_room = all.iter().filter(|source| source.path.starts_with(room));
        in_room.any(|source| {
            source.lines_without_comments().any(|line| {
                cdns_in(line)
                    .any(|named| cdn.is_none_or(|cdn| cdn == named) && !is_own_room(&source.path, named))
            })
        })
    };
    let all_cdns = ROOMS_OF_ALL_CDNS.iter().map(|(room, _)| (*room, None));
    let one_cdn = ROOMS_OF_ONE_CDN.iter().map(|(room, cdn, _)| (*room, Some(*cdn)));
    let idle = all_cdns.chain(one_cdn).filter(|(room, cdn)| !names(room, *cdn));
    insist(idle.map(|(room, cdn)| format!("{room}: names no {}", cdn.unwrap_or("CDN"))).collect());
}

fn cdns_in(line: &str) -> impl Iterator<Item = &'static str> {
    let line = line.to_ascii_lowercase();
    CdnType::ALL.map(CdnType::as_str).into_iter().filter(move |cdn| line.contains(cdn))
}

/// Whether the file or a folder has the CDN's name, as `src/cdn/akamai/credentials.rs` does.
fn is_own_room(path: &str, cdn: &str) -> bool {
    Path::new(path).with_extension("").iter().any(|part| part == cdn)
}

fn may_name(path: &str, cdn: &str) -> bool {
    is_own_room(path, cdn)
        || ROOMS_OF_ALL_CDNS.iter().any(|(room, _)| path.starts_with(room))
        || ROOMS_OF_ONE_CDN.iter().any(|(room, other, _)| path.starts_with(room) && *other == cdn)
}

#[test]
fn the_checker_knows_the_rooms_of_cdns() {
    assert_eq!(cdns_in("CdnType::Fastly => \"x-varnish\"").collect::<Vec<_>>(), ["fastly", "varnish"]);
    assert_eq!(cdns_in("cdn.facts()").count(), 0);
    assert!(may_name("src/cdn/akamai.rs", "akamai") && may_name("src/cdn/akamai/credentials.rs", "akamai"));
    assert!(!may_name("src/cdn/akamai.rs", "fastly") && !may_name("src/purge/plan.rs", "akamai"));
    assert!(may_name("src/rewrite/facts/fastly.rs", "varnish"));
    assert!(!may_name("src/rewrite/facts/fastly.rs", "akamai"));
}
