//! The tag field of a response: tags from the site, its rules and the origin, in the dialect of the CDN that sent
//! the request.

use super::edits::Edits;
use super::facts::TagFacts;
use super::field::Field;
use super::fields::Fields;
use super::outcome::Reason;
use super::tags::{encode_bytes, path_tag_bytes, section_tag_bytes, sections};
use super::{CdnType, Keys, Policy, Rule, nameable, never};
use crate::http::head::FieldLine;
use http::{HeaderValue, StatusCode};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::collections::HashSet;
use std::rc::Rc;

/// Replaces the tag fields of a response by the one of the dialect. `paths` are the response's path and its canonical
/// form. An error means that not all tags fit (then the field has those that do, the most important ones first), or
/// that no purge can name one of them. A CDN without tags gets no field, but `keys` always gets the tags. A response
/// that only confirms a page that the shim did not see gets no tags, and its keys are marked as incomplete, so that
/// every purge covers it.
pub(super) fn write(
    policy: &Policy,
    rule: Option<&Rule>,
    (paths, status): ([&str; 2], StatusCode),
    fields: &Fields<'_, '_>,
    (edits, keys): (&mut Edits, &mut Keys),
) -> Result<(), Reason> {
    let dialect = fields.dialect();
    if never::is_unseen(status, fields) {
        keys.lack_some();
        present(fields).for_each(|field| edits.remove(field.name(dialect)));
        return Ok(());
    }
    let mut list = TagList::new(dialect.cdn);
    let mut fits = fill_with_ours(&mut list, policy, rule, paths)
        .and_then(|()| list.push_fields(fields))
        .and_then(|()| list.push_aem_keys(policy, paths[0], status));
    list.tags().for_each(|tag| keys.add_tag(tag));
    if fits.is_err() {
        keys.lack_some();
    }
    // A tag that fits but cannot be named does not keep the others from being sent.
    fits = fits.and(if list.unnameable { Err(Reason::TagsUnnameable) } else { Ok(()) });
    if dialect.tag_header.is_none() {
        fits = Ok(());
    }
    let value = list.value().filter(|_| dialect.tag_header.is_some());
    let is_ours = |field: Field| dialect.tag_header.is_some() && field == fields.own_tags;
    for field in fields.among(&Field::TAGS).filter(|field| !is_ours(*field)) {
        edits.remove(field.name(dialect));
    }
    match (&dialect.tag_header, value) {
        (Some(own), Some(value)) => edits.set(Rc::new(FieldLine::new(own.clone(), value))),
        (Some(own), None) if fields.has(fields.own_tags) => edits.remove(own),
        _ => {}
    }
    fits
}

/// Adds the tags of the site and of the rule, the most important ones first.
fn fill_with_ours(
    list: &mut TagList,
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

/// A tag field under construction.
struct TagList {
    cdn: CdnType,
    line: Vec<u8>,
    tags: SmallVec<[Tag; 16]>,
    /// The limits of the CDN for the field.
    limits: &'static TagFacts,
    /// The tags in the form in which they are compared, if there are many. Searching the list for each of
    /// thousands of tags would take longer than everything else.
    many: HashSet<Vec<u8>>,
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

/// The number of tags from which on a set is used instead of a search.
const MANY: usize = 128;

/// A tag of the line: its place, and a fingerprint that differs from that of most others.
struct Tag {
    fingerprint: u32,
    start: u32,
    end: u32,
}

impl TagList {
    fn new(cdn: CdnType) -> Self {
        let limits = &cdn.facts().tags;
        let (line, tags) = (Vec::with_capacity(256), SmallVec::new());
        let many = HashSet::new();
        Self { cdn, line, tags, limits, many, has_origin_tags: false, unnameable: false }
    }

    /// Appends the encoded form of a tag unless it is already in the list.
    fn push(&mut self, tag: &[u8]) -> Result<(), Reason> {
        let mut space = [0; 32];
        self.add(&[encode_bytes(self.cdn, tag, &mut space)])
    }

    /// Does the same as [`TagList::push`] for a tag that the CDN can carry unchanged, given in parts.
    fn add(&mut self, parts: &[&[u8]]) -> Result<(), Reason> {
        let end = self.line.len();
        if end > 0 {
            self.line.push(self.limits.separator);
        }
        let start = self.line.len();
        for part in parts {
            self.line.extend_from_slice(part);
        }
        let tag = &self.line[start..];
        let fingerprint = fingerprint(tag);
        let result = if self.contains(tag, fingerprint) {
            Ok(())
        } else if self.tags.len() == self.limits.most {
            Err(Reason::TagsTooMany)
        } else if self.line.len() > self.limits.bytes {
            Err(Reason::TagsTooLarge)
        } else {
            // The casts are safe because the limits are at most 16 KiB.
            self.tags.push(Tag { fingerprint, start: start as u32, end: self.line.len() as u32 });
            if self.tags.len() >= MANY {
                self.note_many();
            }
            return Ok(());
        };
        self.line.truncate(end);
        result
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
            // Most lines are plain, and then all of their tags are.
            let is_plain = nameable::are_tags(line.as_bytes());
            let tags = line.as_bytes().split(|b| matches!(b, b' ' | b'\t' | b','));
            for tag in tags.filter(|tag| !tag.is_empty()) {
                self.has_origin_tags = true;
                self.unnameable |= !is_plain && !nameable::is_tag(tag);
                self.push(tag)?;
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

    /// Adds the last tag to the set, and all earlier ones the first time.
    fn note_many(&mut self) {
        let known = if self.many.is_empty() { 0 } else { self.tags.len() - 1 };
        let new: Vec<_> = self.tags().skip(known).map(|tag| self.told_apart(tag).into_owned()).collect();
        self.many.extend(new);
    }

    /// The form of the tag in which the CDN compares it.
    fn told_apart<'t>(&self, tag: &'t [u8]) -> Cow<'t, [u8]> {
        if self.limits.ignores_case { tag.to_ascii_lowercase().into() } else { tag.into() }
    }

    fn contains(&self, tag: &[u8], fingerprint: u32) -> bool {
        if !self.many.is_empty() {
            return self.many.contains(&*self.told_apart(tag));
        }
        self.tags.iter().filter(|known| known.fingerprint == fingerprint).any(|known| {
            let known = &self.line[known.start as usize..known.end as usize];
            known == tag || self.limits.ignores_case && known.eq_ignore_ascii_case(tag)
        })
    }

    fn tags(&self) -> impl Iterator<Item = &[u8]> {
        self.tags.iter().map(|tag| &self.line[tag.start as usize..tag.end as usize])
    }

    fn value(&self) -> Option<HeaderValue> {
        let value =
            || HeaderValue::from_bytes(&self.line).expect("encoded tags and separators are visible ASCII");
        (!self.line.is_empty()).then(value)
    }
}

/// Returns a number that is equal for equal tags, ignoring case. It differs for most others, which differ in
/// length or in their end.
fn fingerprint(tag: &[u8]) -> u32 {
    let end = match tag.last_chunk::<4>() {
        Some(end) => u32::from_le_bytes(*end),
        None => tag.iter().fold(0, |end, b| end << 8 | u32::from(*b)),
    };
    // In ASCII, this bit is the case of a letter.
    (end | 0x2020_2020) ^ (tag.len() as u32).rotate_right(8)
}
