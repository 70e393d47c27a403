//! The value of a tag field under construction: each tag one time, in the form of the dialect, within the limits of
//! its CDN.

use super::dialect::Dialect;
use super::facts::TagFacts;
use super::keys::{Key, tag_bytes_key};
use super::outcome::Reason;
use super::policy::TagPolicy;
use super::tag_field::Separator;
use super::tags::{TagForm, encode_bytes};
use super::{CdnType, nameable};
use foldhash::fast::FixedState;
use sfv::{BareItem, ListEntry, Parser};
use smallvec::SmallVec;
use std::collections::HashMap;

/// The value of a tag field under construction. A long one is continued in further lines if the CDN reads them.
pub(super) struct TagList<'l> {
    cdn: CdnType,
    form: TagForm,
    policy: &'l TagPolicy,
    /// The name of the field, with which a further line begins.
    name: &'l str,
    /// The lines of the field, of which the value of the last one begins at `last`.
    lines: &'l mut Vec<u8>,
    last: usize,
    /// The number of bytes of the values before the last.
    bytes_before: usize,
    tags: SmallVec<[Tag; 16]>,
    /// A bit for each tag, chosen by its key: most tags are new, and their bits show it.
    seen: u64,
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

/// The number of tags from which on a map is used instead of a search.
const MANY: usize = 32;

/// A tag of the list.
struct Tag {
    /// The key by which purges name the tag, the same for tags that differ in case only.
    key: Key,
    start: u32,
    end: u32,
    /// The number of the tag before it with the same key.
    before: Number,
}

/// One of 64 bits, chosen by a key.
fn bit(key: Key) -> u64 {
    1 << (key % 64)
}

/// The number of a tag in the list; [`NONE`] if there is none.
type Number = u32;
const NONE: Number = Number::MAX;

impl<'l> TagList<'l> {
    /// Begins a list at the end of `lines`, after the name of the field.
    pub(super) fn new(dialect: &'l Dialect, policy: &'l TagPolicy, lines: &'l mut Vec<u8>) -> Self {
        let (cdn, form, last) = (dialect.cdn, dialect.tag_form, lines.len());
        Self {
            cdn,
            form,
            policy,
            name: dialect.tag_header.as_ref().map_or("", |name| name.as_str()),
            lines,
            last,
            bytes_before: 0,
            tags: SmallVec::new(),
            seen: 0,
            limits: &cdn.facts().tags,
            many: HashMap::default(),
            has_origin_tags: false,
            unnameable: false,
        }
    }

    /// The keys of the tags.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        self.tags.iter().map(|tag| tag.key)
    }

    /// Whether the origin sent any tag.
    pub(super) fn has_origin_tags(&self) -> bool {
        self.has_origin_tags
    }

    /// Whether a purge can name every tag that the origin sent.
    pub(super) fn is_nameable(&self) -> bool {
        !self.unnameable
    }

    /// Adds the encoded form of a tag, unless it is in the list already or is [broad](super::broad).
    pub(super) fn push(&mut self, tag: &[u8]) -> Result<(), Reason> {
        if self.policy.is_broad(tag) {
            return Ok(());
        }
        let mut space = [0; 32];
        self.add(&[encode_bytes(self.cdn, self.form, tag, &mut space)])
    }

    /// Adds a tag of the site's own, given in parts. Every CDN can carry it unchanged, and it is never broad.
    pub(super) fn add_own(&mut self, parts: &[&[u8]]) -> Result<(), Reason> {
        match self.form {
            TagForm::Full => self.add(parts),
            TagForm::Short => {
                let mut space = [0; 32];
                self.add(&[encode_bytes(self.cdn, self.form, &parts.concat(), &mut space)])
            }
        }
    }

    /// Adds the tags of a line that the origin sent.
    pub(super) fn push_line(&mut self, line: &[u8], separator: Separator) -> Result<(), Reason> {
        let Separator::Byte(separator) = separator else { return self.push_structured(line) };
        let mut rest = line;
        while !rest.is_empty() {
            // Most tags are legal, and a purge can name them.
            let (mut length, mut is_legal, mut is_plain) = (0, self.form == TagForm::Full, true);
            for byte in rest {
                if matches!(byte, b' ' | b'\t' | b',') || *byte == separator {
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
            match is_legal && tag.len() <= self.limits.longest && self.policy.broad.is_empty() {
                true => self.add(&[tag])?,
                false => self.push(tag)?,
            }
        }
        Ok(())
    }

    /// Adds the tags of a structured list. Members that are no strings are none (RFC 9875 §2.1). A line that is no
    /// list has tags that are unknown, so no purge can name them.
    fn push_structured(&mut self, line: &[u8]) -> Result<(), Reason> {
        let Ok(list) = Parser::new(line).parse::<sfv::List>() else {
            self.has_origin_tags = true;
            self.unnameable = true;
            return Ok(());
        };
        for member in &list {
            let ListEntry::Item(item) = member else { continue };
            let BareItem::String(tag) = &item.bare_item else { continue };
            let tag = tag.as_str().as_bytes();
            self.has_origin_tags = true;
            self.unnameable |= !nameable::is_tag(tag);
            self.push(tag)?;
        }
        Ok(())
    }

    /// Adds a tag that the CDN can carry unchanged, given in parts, unless it is in the list already.
    fn add(&mut self, parts: &[&[u8]]) -> Result<(), Reason> {
        let (end, last, bytes_before) = (self.lines.len(), self.last, self.bytes_before);
        if end > last {
            let length: usize = parts.iter().map(|part| part.len()).sum();
            match self.limits.line_bytes {
                Some(most) if end - last + 1 + length > most => self.begin_line(),
                _ => self.lines.push(self.limits.separator),
            }
        }
        let start = self.lines.len();
        for part in parts {
            self.lines.extend_from_slice(part);
        }
        let tag = &self.lines[start..];
        let key = tag_bytes_key(tag);
        let before = self.last_with(key);
        let result = if self.is_among(before, tag) {
            Ok(())
        } else if self.tags.len() == self.limits.most {
            Err(Reason::TagsTooMany)
        } else if self.bytes_before + (self.lines.len() - self.last) > self.limits.bytes {
            Err(Reason::TagsTooLarge)
        } else {
            // The casts are safe because the limits of all fields are below 1 MiB.
            self.seen |= bit(key);
            self.tags.push(Tag { key, start: start as u32, end: self.lines.len() as u32, before });
            self.note_many();
            return Ok(());
        };
        self.lines.truncate(end);
        (self.last, self.bytes_before) = (last, bytes_before);
        result
    }

    /// Ends the last line, and begins another one of the same field.
    fn begin_line(&mut self) {
        self.bytes_before += self.lines.len() - self.last;
        for part in [b"\r\n", self.name.as_bytes(), b": "] {
            self.lines.extend_from_slice(part);
        }
        self.last = self.lines.len();
    }

    /// Returns the number of the last tag with this key.
    fn last_with(&self, key: Key) -> Number {
        if self.seen & bit(key) == 0 {
            return NONE;
        }
        let number = match self.tags.len() < MANY {
            true => self.tags.iter().rposition(|tag| tag.key == key).map(|number| number as Number),
            false => self.many.get(&key).copied(),
        };
        number.unwrap_or(NONE)
    }

    /// Whether the tag is the one of this number, or one of those before it with the same key.
    fn is_among(&self, mut number: Number, tag: &[u8]) -> bool {
        while let Some(other) = self.tags.get(number as usize) {
            let text = &self.lines[other.start as usize..other.end as usize];
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
}
