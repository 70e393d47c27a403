//! AWS's facts about a CDN: the configuration of a distribution, and the owner of a key.

use super::xml::texts;
use crate::cdn::Reply;
use http::HeaderName;

/// The parts of `GetDistributionConfig` that decide the effect of purges.
#[derive(Debug, PartialEq, Eq)]
pub struct Distribution {
    /// The alternate domain names, which may begin with a wildcard.
    pub aliases: Vec<String>,
    /// Whether the distribution serves requests.
    pub enabled: bool,
    /// The header field of its `CacheTagConfig`.
    pub tag_header: Option<String>,
}

/// The distribution's tag header compared with ours.
#[derive(Debug, PartialEq, Eq)]
pub enum Tags {
    /// Both are the same, or both sides have none.
    Agree,
    /// We have one, and the distribution has none.
    Missing,
    /// The distribution has this one, which differs from ours.
    Differ(String),
    /// The distribution has this one, and we have none.
    Unused(String),
}

impl Distribution {
    /// Compares the distribution's tag header with `ours`.
    pub fn tags(&self, ours: Option<&HeaderName>) -> Tags {
        match (&self.tag_header, ours) {
            (None, None) => Tags::Agree,
            (None, Some(_)) => Tags::Missing,
            (Some(theirs), Some(ours)) if theirs.eq_ignore_ascii_case(ours.as_str()) => Tags::Agree,
            (Some(theirs), Some(_)) => Tags::Differ(theirs.clone()),
            (Some(theirs), None) => Tags::Unused(theirs.clone()),
        }
    }

    /// Whether visitors reach the distribution by this name.
    pub fn serves(&self, host: &str) -> bool {
        host.ends_with(".cloudfront.net")
            || self.aliases.iter().any(|alias| match alias.strip_prefix('*') {
                Some(end) => host.to_ascii_lowercase().ends_with(&end.to_ascii_lowercase()),
                None => alias.eq_ignore_ascii_case(host),
            })
    }
}

/// Returns the reason why purges by tag have no effect.
pub fn complaint(tags: &Tags, ours: Option<&HeaderName>) -> String {
    let ours = ours.map_or("", HeaderName::as_str);
    match tags {
        Tags::Differ(theirs) => {
            format!("The distribution takes tags from {theirs}, not from {ours}: purges by tag do nothing.")
        }
        _ => format!(
            "The distribution takes no tags (it has no CacheTagConfig), but `tag_header` is {ours}: purges by tag do nothing."
        ),
    }
}

/// Parses a distribution's configuration; `None` if the reply is not the whole configuration.
pub fn distribution(reply: &Reply) -> Option<Distribution> {
    if !reply.status.is_success() {
        return None;
    }
    let document = reply.text();
    let first = |path: &[&str]| Some(texts(&document, path)?.into_iter().next());
    let enabled = first(&["DistributionConfig", "Enabled"])?;
    // A document without `Enabled` is something else.
    let enabled = enabled? == "true";
    let tag_header = first(&["DistributionConfig", "CacheTagConfig", "HeaderName"])?;
    Some(Distribution {
        aliases: texts(&document, &["Aliases", "Items", "CNAME"])?,
        enabled,
        tag_header: tag_header.filter(|name| !name.is_empty()),
    })
}

/// Returns the ARN that `GetCallerIdentity` reports.
pub fn caller(reply: &Reply) -> Option<String> {
    let arns = texts(&reply.text(), &["GetCallerIdentityResult", "Arn"])?;
    arns.into_iter().next().filter(|_| reply.status.is_success())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cdn::tests::reply;

    #[test]
    fn a_distribution_is_read_by_its_places() {
        let config = |inside: &str| {
            let document = format!(
                "<?xml version=\"1.0\"?><DistributionConfig xmlns=\"urn:x\">{inside}</DistributionConfig>"
            );
            distribution(&reply(200, &[], &document))
        };
        let origin = "<Origins><Items><Origin><CustomHeaders><Items><OriginCustomHeader><HeaderName>X-Other</HeaderName>\
            </OriginCustomHeader></Items></CustomHeaders></Origin></Items></Origins>";
        let found = config(&format!("{origin}<Enabled>true</Enabled>")).expect("a configuration");
        assert_eq!(found, Distribution { aliases: Vec::new(), enabled: true, tag_header: None });
        let full = format!(
            "<Aliases><Quantity>2</Quantity><Items><CNAME>www.example.com</CNAME><CNAME>*.example.org</CNAME></Items></Aliases>\
             {origin}<Enabled>false</Enabled><CacheTagConfig><HeaderName>Cache-Tag</HeaderName></CacheTagConfig>"
        );
        let found = config(&full).expect("a configuration");
        assert_eq!(found.tag_header.as_deref(), Some("Cache-Tag"));
        assert!(!found.enabled);
        for (host, expected) in [
            ("www.example.com", true),
            ("WWW.example.com", true),
            ("a.example.org", true),
            ("example.org", false),
            ("d1.cloudfront.net", true),
        ] {
            assert_eq!(found.serves(host), expected, "{host}");
        }
        // The documents are cut off, of another kind, and an error.
        assert_eq!(distribution(&reply(200, &[], "<DistributionConfig><Enabled>true</Enabled>")), None);
        assert_eq!(distribution(&reply(200, &[], "<html></html>")), None);
        assert_eq!(distribution(&reply(403, &[], "<ErrorResponse></ErrorResponse>")), None);
    }

    #[test]
    fn tag_headers_are_compared_without_case() {
        let check = |theirs: Option<&str>, ours: Option<&'static str>, expected: Tags| {
            let distribution =
                Distribution { aliases: Vec::new(), enabled: true, tag_header: theirs.map(str::to_owned) };
            assert_eq!(distribution.tags(ours.map(HeaderName::from_static).as_ref()), expected);
        };
        check(None, None, Tags::Agree);
        check(Some("Cache-Tag"), Some("cache-tag"), Tags::Agree);
        check(None, Some("cache-tag"), Tags::Missing);
        check(Some("X-Tags"), Some("cache-tag"), Tags::Differ("X-Tags".to_owned()));
        check(Some("X-Tags"), None, Tags::Unused("X-Tags".to_owned()));
    }
}
