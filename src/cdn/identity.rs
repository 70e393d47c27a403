//! The identity of a CDN, independent of its name in a configuration. A pending purge belongs to the service
//! that keeps the copies, and is never sent to another service that was given its name.

use super::configured;
use crate::config::Cdn;
use crate::rewrite::CdnType;
use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter, Write as _};

/// The service, zone, distribution, property or nodes behind a configured CDN: its type and its parts. Most
/// types have one part. The parts of Varnish are its nodes; those of an Akamai property, which has no id here,
/// are the hosts that it serves on a network. Both may gain and lose parts and keep their identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    cdn_type: String,
    parts: BTreeSet<String>,
}

impl Identity {
    /// Returns the identity of a configured CDN.
    pub fn of(cdn: &Cdn) -> Self {
        Self::new(cdn.dialect.cdn, configured(&cdn.settings).parts(cdn))
    }

    /// Returns the identity of a CDN of this type that consists of these parts.
    pub fn new(cdn_type: CdnType, parts: impl IntoIterator<Item = String>) -> Self {
        Self { cdn_type: cdn_type.as_str().to_owned(), parts: parts.into_iter().collect() }
    }

    /// Whether the identity is unknown: such a queue was written by a version that identified CDNs by name.
    pub fn is_unknown(&self) -> bool {
        self.cdn_type.is_empty()
    }

    /// Whether purges that wait for one of the two may be sent to the other. If either is unknown, names
    /// decide.
    pub fn is_same(&self, other: &Self) -> bool {
        self.is_unknown() || other.is_unknown() || self == other
    }
}

/// Writes `fastly:SU1Z0isxPaozGVKXdv0eY`. Several parts are separated by spaces, which no part contains.
impl Display for Identity {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cdn_type)?;
        for (number, part) in self.parts.iter().enumerate() {
            f.write_char(if number == 0 { ':' } else { ' ' })?;
            f.write_str(part)?;
        }
        Ok(())
    }
}

/// Parses the form that [`Display`] writes.
impl From<&str> for Identity {
    fn from(text: &str) -> Self {
        let (cdn_type, parts) = text.split_once(':').unwrap_or((text, ""));
        let parts = parts.split(' ').filter(|part| !part.is_empty()).map(str::to_owned);
        Self { cdn_type: cdn_type.to_owned(), parts: parts.collect() }
    }
}

/// Returns the CDN of the site that gets the purges that wait for `former`, which was called `name`: a CDN of the same
/// type that has every part of `former` that the site still has. `None` if the site has none of these parts any more,
/// or if no single CDN has all of them: then the purges may go to no CDN. If `former` is unknown, its successor is the
/// CDN with its name, provided that this has the type of the pending purges (`waits_for`).
pub fn successor<'a>(
    (name, former): (&str, &Identity),
    waits_for: Option<&str>,
    of_site: &[(&'a str, &Identity)],
) -> Option<&'a str> {
    if former.is_unknown() {
        let mut named = of_site.iter().filter(|(known, _)| *known == name);
        return named
            .find(|(_, is)| waits_for.is_none_or(|wanted| is.cdn_type == wanted))
            .map(|(name, _)| *name);
    }
    let of_type = || of_site.iter().filter(|(_, is)| is.cdn_type == former.cdn_type);
    let still_there: BTreeSet<&String> =
        former.parts.iter().filter(|part| of_type().any(|(_, is)| is.parts.contains(*part))).collect();
    let heirs = of_type()
        .filter(|(_, is)| !still_there.is_empty() && still_there.iter().all(|part| is.parts.contains(*part)));
    // Of several, the one with the same name is preferred, then one with an equal identity.
    heirs.min_by_key(|(known, is)| (*known != name, *is != former)).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn heir<'a>(former: (&str, &str), of_site: &[(&'a str, &str)]) -> Option<&'a str> {
        let of_site: Vec<_> = of_site.iter().map(|(name, is)| (*name, Identity::from(*is))).collect();
        let of_site: Vec<_> = of_site.iter().map(|(name, is)| (*name, is)).collect();
        successor((former.0, &Identity::from(former.1)), Some("fastly"), &of_site)
    }

    #[test]
    fn a_service_is_found_under_any_name() {
        let site = [("fastly", "fastly:S2"), ("fastly-old", "fastly:S1"), ("cloudfront", "cloudfront:S3")];
        assert_eq!(heir(("fastly", "fastly:S1"), &site), Some("fastly-old"));
        assert_eq!(heir(("fastly", "fastly:S3"), &site), None, "of another type");
        assert_eq!(heir(("cloudfront", "fastly:S4"), &site), None, "another service");
        let twice = [("a", "fastly:S1"), ("b", "fastly:S1")];
        assert_eq!(heir(("b", "fastly:S1"), &twice), Some("b"));
    }

    #[test]
    fn nodes_come_and_go() {
        let former = ("varnish", "varnish:http://a http://b");
        let heir = |of_site: &[(&'static str, &str)]| heir(former, of_site);
        assert_eq!(heir(&[("varnish", "varnish:http://a http://b http://c")]), Some("varnish"), "one more");
        assert_eq!(heir(&[("new", "varnish:http://a")]), Some("new"), "the other one is gone");
        assert_eq!(heir(&[("varnish", "varnish:http://c")]), None, "others");
        let apart = [("varnish", "varnish:http://a"), ("other", "varnish:http://b")];
        assert_eq!(heir(&apart), None, "neither has both");
    }

    #[test]
    fn who_is_not_known_has_its_name() {
        let site = [("cdn", "fastly:S1"), ("other", "cloudfront:E1")];
        assert_eq!(heir(("cdn", ""), &site), Some("cdn"));
        assert_eq!(heir(("other", ""), &site), None, "what waits is for Fastly");
        assert_eq!(heir(("gone", ""), &site), None);
    }

    fn identity() -> impl Strategy<Value = Identity> {
        let parts = prop::collection::btree_set("[a-c]", 1..4);
        ("fastly|varnish", parts).prop_map(|(cdn_type, parts)| Identity { cdn_type, parts })
    }

    proptest! {
        /// No purge goes to a service that it was not meant for, and no part that the site still has is left
        /// out.
        #[test]
        fn never_to_another_service(
            name in "[x-z]",
            former in identity(),
            of_site in prop::collection::btree_map("[x-z]", identity(), 0..4),
        ) {
            prop_assert_eq!(&Identity::from(former.to_string().as_str()), &former);
            let of_site: Vec<_> = of_site.iter().map(|(name, is)| (name.as_str(), is)).collect();
            let heir = successor((&name, &former), None, &of_site);
            let has = |part: &String| {
                of_site.iter().filter(|(_, is)| is.cdn_type == former.cdn_type && is.parts.contains(part))
                    .map(|(name, _)| *name).collect::<Vec<_>>()
            };
            if let Some(heir) = heir {
                let is = of_site.iter().find(|(name, _)| *name == heir).unwrap().1;
                prop_assert_eq!(&is.cdn_type, &former.cdn_type);
                prop_assert!(is.parts.intersection(&former.parts).next().is_some());
                for part in former.parts.iter().filter(|part| !has(part).is_empty()) {
                    prop_assert!(has(part).contains(&heir), "{} is not at {}", part, heir);
                }
            }
            if of_site.iter().any(|(_, is)| **is == former) {
                prop_assert!(heir.is_some());
            }
        }
    }
}
