//! The tag field of a response: tags from the site, its rules and the origin, in the dialect of the CDN that sent
//! the request.

use super::edits::Edits;
use super::facts::TagFacts;
use super::field::Field;
use super::fields::Fields;
use super::keys::{Key, tag_bytes_key};
use super::outcome::Reason;
use super::tags::{encode_bytes, path_tag_bytes, section_tag_bytes, sections};
use super::{CdnType, Keys, Policy, Rule, nameable, never};
use foldhash::fast::FixedState;
use http::StatusCode;
use smallvec::SmallVec;
use std::collections::HashMap;

/// Replaces the tag fields of a response by the one of the dialect. `paths` are the response's path and its canonical
/// form. An error means that not all tags fit (then the field has those that do, the most important ones first), or
/// that no purge can name one of them. A CDN without tags gets no field, but `keys` always gets the tags. A response
/// that only confirms a page that the shim did not see gets no tags, and its keys are marked as incomplete, so that
/// every purge covers it.
pub(super) fn write<'d>(
    policy: &Policy,
    rule: Option<&Rule>,
    (paths, status): ([&str; 2], StatusCode),
    fields: &Fields<'_, 'd>,
    (edits, keys): (&mut Edits<'d>, &mut Keys),
) -> Result<(), Reason> {
    let dialect = fields.dialect();
    if never::is_unseen(status, fields) {
        keys.lack_some();
        present(fields).for_each(|field| edits.remove(field.of_dialect(dialect)));
        return Ok(());
    }
    if dialect.tag_header.is_none() {
        fields.among(&Field::TAGS).for_each(|field| edits.remove(field.of_dialect(dialect)));
        // Without a field, nothing has to fit.
        let _ = fill(&mut Vec::new(), policy, rule, (paths, status), fields, keys);
        return Ok(());
    }
    for field in fields.among(&Field::TAGS).chain(fields.has(fields.own_tags).then_some(fields.own_tags)) {
        edits.remove(field.of_dialect(dialect));
    }
    edits.set(fields.own_tags.of_dialect(dialect), |line| {
        fill(line, policy, rule, (paths, status), fields, keys)
    })
}

/// Appends the list of tags to `line`, and adds them to `keys`. An error is that of [`write`].
fn fill(
    line: &mut Vec<u8>,
    policy: &Policy,
    rule: Option<&Rule>,
    (paths, status): ([&str; 2], StatusCode),
    fields: &Fields<'_, '_>,
    keys: &mut Keys,
) -> Result<(), Reason> {
    let mut list = TagList::new(fields.dialect().cdn, line);
    let fits = fill_with_ours(&mut list, policy, rule, paths)
        .and_then(|()| list.push_fields(fields))
        .and_then(|()| list.push_aem_keys(policy, paths[0], status));
    list.tags.iter().for_each(|tag| keys.add(tag.key));
    if fits.is_err() {
        keys.lack_some();
    }
    // A tag that fits but cannot be named does not keep the others from being sent.
    fits.and(if list.unnameable { Err(Reason::TagsUnnameable) } else { Ok(()) })
}

/// Adds the tags of the site and of the rule, the most important ones first.
fn fill_with_ours(
    list: &mut TagList<'_>,
    policy: &Policy,
    rule: Option<&Rule>,
    [path, canonical]: [&str; 2],
) -> Result<(), Reason> {
    if policy.tags.site {
        list.add(&[b"site-", policy.site.as_bytes()])?;
    }
    // A purge may spell the page differently, so it names the tag of the canonical form. Few paths differ from theirs.
    let others = if path == canonical { &[][..] } else { &[canonical][..] };
    for path in std::iter::once(path).chain(others.iter().copied()) {
        if policy.tags.path {
            list.add(&[&path_tag_bytes(&policy.site, path)])?;
        }
        for section in sections(path, policy.tags.sections) {
            list.add(&[&section_tag_bytes(&policy.site, section)])?;
        }
    }
    for tag in rule.map_or(&[][..], |rule| &rule.tags) {
        list.push(tag.as_bytes())?;
    }
    Ok(())
}

/// The value of a tag field under construction.
struct TagList<'l> {
    cdn: CdnType,
    /// The line of the field, of which the value begins at `start`.
    line: &'l mut Vec<u8>,
    start: usize,
    tags: SmallVec<[Tag; 16]>,
    /// The limits of the CDN for the field.
    limits: &'static TagFacts,
    /// The number of the last tag with each key, if there are many. Searching the list for each of thousands of tags
    /// would take longer than everything else.
    many: HashMap<Key, Number, FixedState>,
    /// Whether the origin sent any tag, including tags that the shim adds as well.
    has_origin_tags: bool,
    /// Whether the origin sent a tag that a purge cannot name.
    unnameable: bool,
}

/// Returns the fields with tags that are present: the usual ones, and the site's own choice.
fn present<'f>(fields: &'f Fields<'_, '_>) -> impl Iterator<Item = Field> + use<'f> {
    let own = fields.own_tags;
    let chosen = (!Field::TAGS.contains(&own) && fields.has(own)).then_some(own);
    fields.among(&Field::TAGS).chain(chosen)
}

/// The number of tags from which on a map is used instead of a search.
const MANY: usize = 32;

/// A tag of the line.
struct Tag {
    /// The key by which purges name the tag, the same for tags that differ in case only.
    key: Key,
    start: u32,
    end: u32,
    /// The number of the tag before it with the same key.
    before: Number,
}

/// The number of a tag in the list; [`NONE`] if there is none.
type Number = u32;
const NONE: Number = Number::MAX;

impl<'l> TagList<'l> {
    fn new(cdn: CdnType, line: &'l mut Vec<u8>) -> Self {
        let (start, limits) = (line.len(), &cdn.facts().tags);
        let (tags, many) = (SmallVec::new(), HashMap::default());
        Self { cdn, line, start, tags, limits, many, has_origin_tags: false, unnameable: false }
    }

    /// Appends the encoded form of a tag unless it is already in the list.
    fn push(&mut self, tag: &[u8]) -> Result<(), Reason> {
        let mut space = [0; 32];
        self.add(&[encode_bytes(self.cdn, tag, &mut space)])
    }

    /// Does the same as [`TagList::push`] for a tag that the CDN can carry unchanged, given in parts.
    fn add(&mut self, parts: &[&[u8]]) -> Result<(), Reason> {
        let end = self.line.len();
        if end > self.start {
            self.line.push(self.limits.separator);
        }
        let start = self.line.len();
        for part in parts {
            self.line.extend_from_slice(part);
        }
        let tag = &self.line[start..];
        let key = tag_bytes_key(tag);
        let before = self.last_with(key);
        let result = if self.is_among(before, tag) {
            Ok(())
        } else if self.tags.len() == self.limits.most {
            Err(Reason::TagsTooMany)
        } else if self.line.len() - self.start > self.limits.bytes {
            Err(Reason::TagsTooLarge)
        } else {
            // The casts are safe because the limits are at most 16 KiB.
            self.tags.push(Tag { key, start: start as u32, end: self.line.len() as u32, before });
            self.note_many();
            return Ok(());
        };
        self.line.truncate(end);
        result
    }

    /// Returns the number of the last tag with this key.
    fn last_with(&self, key: Key) -> Number {
        let number = match self.tags.len() < MANY {
            true => self.tags.iter().rposition(|tag| tag.key == key).map(|number| number as Number),
            false => self.many.get(&key).copied(),
        };
        number.unwrap_or(NONE)
    }

    /// Whether the tag is the one of this number, or one of those before it with the same key.
    fn is_among(&self, mut number: Number, tag: &[u8]) -> bool {
        while let Some(other) = self.tags.get(number as usize) {
            let text = &self.line[other.start as usize..other.end as usize];
            if text == tag || self.limits.ignores_case && text.eq_ignore_ascii_case(tag) {
                return true;
            }
            number = other.before;
        }
        false
    }

    /// Adds the last tag to the map, and all earlier ones when there are many for the first time.
    fn note_many(&mut self) {
        let known = match self.tags.len() {
            ..MANY => return,
            MANY => 0,
            more => more - 1,
        };
        let new = self.tags.iter().enumerate().skip(known);
        self.many.extend(new.map(|(number, tag)| (tag.key, number as Number)));
    }

    /// Appends every tag that the origin sent.
    fn push_fields(&mut self, fields: &Fields<'_, '_>) -> Result<(), Reason> {
        present(fields).try_for_each(|field| self.push_field(fields, field))
    }

    /// Appends the tags of a field. In every field, both spaces and commas separate tags: AEM's own Akamai output
    /// joins its tags with spaces, `Surrogate-Key: a, b` is a list of two, and no purge can name a tag that
    /// contains either ([`nameable::tag`]).
    fn push_field(&mut self, fields: &Fields<'_, '_>, field: Field) -> Result<(), Reason> {
        for line in fields.lines(field) {
            let mut rest = line.as_bytes();
            while !rest.is_empty() {
                // Most tags are legal, and a purge can name them.
                let (mut length, mut is_legal, mut is_plain) = (0, true, true);
                for byte in rest {
                    if matches!(byte, b' ' | b'\t' | b',') {
                        break;
                    }
                    is_legal &= self.limits.alphabet[usize::from(*byte)];
                    is_plain &= nameable::is_plain(*byte);
                    length += 1;
                }
                let (tag, after) = rest.split_at(length);
                rest = after.get(1..).unwrap_or_default();
                if tag.is_empty() {
                    continue;
                }
                self.has_origin_tags = true;
                let is_nameable = is_plain && nameable::is_short(tag) || nameable::is_tag(tag);
                self.unnameable |= !is_nameable;
                match is_legal && tag.len() <= self.limits.longest {
                    true => self.add(&[tag])?,
                    false => self.push(tag)?,
                }
            }
        }
        Ok(())
    }

    /// Appends the keys by which AEM's publish events purge, as AEM would send them.
    fn push_aem_keys(&mut self, policy: &Policy, path: &str, status: StatusCode) -> Result<(), Reason> {
        let Some(project) = policy.aem.as_ref().filter(|aem| aem.computes_keys(self.has_origin_tags)) else {
            return Ok(());
        };
        project.response_keys(path, status).iter().try_for_each(|key| self.push(key.as_bytes()))
    }
}
