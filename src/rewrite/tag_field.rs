//! The fields in which origins list the tags of a response.

use super::field::{CACHE_TAG, EDGE_CACHE_TAG, FieldName, SURROGATE_KEY, X_SURROGATE_KEY, XKEY};
use crate::http::head::{Headers, Known, Value};
use http::HeaderName;
use smallvec::SmallVec;
use std::fmt;

/// How a field separates its tags.
///
/// Spaces and commas separate in every field but a structured one: AEM's own Akamai output joins its tags with spaces,
/// `Surrogate-Key: a, b` is a list of two, and no purge can name a tag that contains either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Separator {
    /// This byte, in addition to spaces and commas.
    Byte(u8),
    /// A structured list of strings (RFC 9651 §3.1), as in `Cache-Groups` (RFC 9875 §2).
    List,
}

/// A field in which origins list tags.
#[derive(Clone, PartialEq, Eq)]
pub struct TagField {
    name: HeaderName,
    known: Known,
    /// How its tags are separated; `None` if the field is not read.
    separator: Option<Separator>,
}

impl TagField {
    fn new(name: HeaderName, separator: Option<Separator>) -> Self {
        Self { known: Known::of(name.as_str()), name, separator }
    }

    pub(super) fn name(&self) -> FieldName<'_> {
        FieldName { name: &self.name, known: self.known }
    }
}

impl fmt::Debug for TagField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.separator {
            Some(Separator::Byte(byte)) => write!(f, "{} separated by {:?}", self.name, char::from(byte)),
            Some(Separator::List) => write!(f, "{} as a structured list", self.name),
            None => write!(f, "{} removed", self.name),
        }
    }
}

/// The fields in which a site's origin lists tags, in the order in which the tags are joined. Responses to CDNs lose
/// these fields. They also lose the usual fields that the site does not read, in which a CDN would see tags that no
/// purge knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagFields {
    fields: Vec<TagField>,
    /// [Bits](Known::bit) of their names.
    names: u64,
    /// Whether these are the usual ones, not those that the site has chosen.
    is_usual: bool,
}

/// The fields that CDNs themselves read.
static OF_CDNS: [&HeaderName; 5] = [&SURROGATE_KEY, &X_SURROGATE_KEY, &XKEY, &CACHE_TAG, &EDGE_CACHE_TAG];

/// The fields that are read by default: those of CDNs, and those in which content management systems and frameworks
/// list tags for a cache of their own.
const USUAL: [(&str, Separator); 14] = [
    ("surrogate-key", Separator::Byte(b' ')),
    ("x-surrogate-key", Separator::Byte(b' ')),
    ("xkey", Separator::Byte(b' ')),
    ("cache-tags", Separator::Byte(b' ')),
    ("purge-cache-tags", Separator::Byte(b' ')),
    ("x-drupal-cache-tags", Separator::Byte(b' ')),
    ("cache-tag", Separator::Byte(b',')),
    ("edge-cache-tag", Separator::Byte(b',')),
    ("x-cache-tags", Separator::Byte(b',')),
    ("x-magento-tags", Separator::Byte(b',')),
    ("cdn-tag", Separator::Byte(b',')),
    ("netlify-cache-tag", Separator::Byte(b',')),
    ("vercel-cache-tag", Separator::Byte(b',')),
    ("cache-groups", Separator::List),
];

impl Default for TagFields {
    fn default() -> Self {
        let usual = Self::new(USUAL.map(|(name, separator)| (HeaderName::from_static(name), separator)));
        Self { is_usual: true, ..usual }
    }
}

impl TagFields {
    /// Creates the list of the fields that a site has chosen to be read.
    pub fn new(read: impl IntoIterator<Item = (HeaderName, Separator)>) -> Self {
        let mut fields: Vec<_> =
            read.into_iter().map(|(name, separator)| TagField::new(name, Some(separator))).collect();
        for name in OF_CDNS {
            if !fields.iter().any(|field| field.name == name) {
                fields.push(TagField::new(name.clone(), None));
            }
        }
        let names = fields.iter().fold(0, |names, field| names | field.known.bit());
        Self { fields, names, is_usual: false }
    }

    /// The names and separators of the fields that are read.
    pub fn read(&self) -> impl Iterator<Item = (&HeaderName, Separator)> {
        self.fields.iter().filter_map(|field| Some((&field.name, field.separator?)))
    }

    /// Returns the lines of these fields in a response, in the order in which their tags are joined. `own` is the
    /// field of the dialect. Unless the site has chosen what is read, it is read, too, after the others.
    pub(super) fn lines<'f, 'h>(
        &'f self,
        headers: &'h Headers,
        own: Option<(FieldName<'f>, Separator)>,
    ) -> TagLines<'f, 'h> {
        let mut lines = TagLines::new();
        let names = self.names | own.map_or(0, |(own, _)| own.known.bit());
        for line in headers.among(names) {
            let is_of = |name: FieldName<'_>| {
                name.known == line.known() && (name.known.is_one_name() || line.is_named(name.name.as_str()))
            };
            let number = self.fields.iter().position(|field| is_of(field.name()));
            let (number, field, separator) = match number {
                Some(number) => (number, self.fields[number].name(), self.fields[number].separator),
                None => match own.filter(|(own, _)| is_of(*own)) {
                    Some((own, separator)) => {
                        (self.fields.len(), own, Some(separator).filter(|_| self.is_usual))
                    }
                    None => continue,
                },
            };
            let place = lines.iter().rposition(|other| other.number <= number).map_or(0, |before| before + 1);
            lines.insert(place, TagLine { number, field, separator, value: line.value() });
        }
        lines
    }
}

/// A line that lists tags.
#[derive(Clone, Copy, Debug)]
pub(super) struct TagLine<'f, 'h> {
    /// The number of the field among the others.
    number: usize,
    pub(super) field: FieldName<'f>,
    /// How its tags are separated; `None` if the field is not read.
    pub(super) separator: Option<Separator>,
    pub(super) value: Value<'h>,
}

/// The lines with tags of a response, of which most have one or two.
pub(super) type TagLines<'f, 'h> = SmallVec<[TagLine<'f, 'h>; 4]>;

/// Whether a field of this name carries tags for any CDN or for a content management system's own cache.
pub(super) fn carries_tags(name: &str) -> bool {
    Known::of(name) == Known::TagList || OF_CDNS.iter().any(|of_cdn| of_cdn.as_str() == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rewrite::{CdnType, Dialect};
    use http::HeaderValue;

    fn read(fields: &TagFields, dialect: &Dialect, sent: &[(&str, &'static str)]) -> Vec<String> {
        let line = |(name, value): &(&str, &'static str)| {
            (HeaderName::try_from(*name).unwrap(), HeaderValue::from_static(value))
        };
        let headers: Headers = sent.iter().map(line).collect();
        let lines = fields.lines(&headers, dialect.tag_list());
        let read = lines.iter().filter(|line| line.separator.is_some());
        read.map(|line| line.value.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn every_usual_field_is_read_and_known() {
        let fields = TagFields::default();
        for (name, _) in USUAL {
            assert_ne!(Known::of(name), Known::Other, "{name}");
            assert!(carries_tags(name), "{name}");
            assert_eq!(read(&fields, &Dialect::new(CdnType::Fastly, None, None), &[(name, "a")]), ["a"]);
        }
        assert!(!carries_tags("x-tags"));
    }

    #[test]
    fn the_order_is_that_of_the_list_and_a_dialects_own_field_comes_last() {
        let sent =
            [("x-tags", "5"), ("cache-tag", "3"), ("xkey", "2"), ("cache-tag", "4"), ("surrogate-key", "1")];
        let own = Dialect::new(CdnType::Cloudfront, None, Some(HeaderName::from_static("x-tags")));
        assert_eq!(read(&TagFields::default(), &own, &sent), ["1", "2", "3", "4", "5"]);
        // A list of the site's own takes the place of the usual one, but CDNs' fields are removed all the same.
        let chosen = TagFields::new([(HeaderName::from_static("x-cms"), Separator::Byte(b'|'))]);
        let fastly = Dialect::new(CdnType::Fastly, None, None);
        let sent = [("surrogate-key", "1"), ("x-cms", "2"), ("x-magento-tags", "3")];
        assert_eq!(read(&chosen, &fastly, &sent), ["2"]);
        let headers: Headers = sent
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect();
        let all: Vec<_> =
            chosen.lines(&headers, fastly.tag_list()).iter().map(|line| line.field.name.clone()).collect();
        assert_eq!(all, ["x-cms", "surrogate-key"]);
    }
}
