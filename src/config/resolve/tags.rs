//! The `[sites.tags]` table.

use crate::config::at::At;
use crate::config::file::tags as file;
use crate::rewrite::broad::TagPattern;
use crate::rewrite::tag_field::{Separator, TagFields};
use crate::rewrite::{Dialect, TagPolicy};
use http::HeaderName;

pub(super) fn resolve(file: &file::Tags, at: &At<'_>) -> TagPolicy {
    if file.sections > 16 {
        at.key("sections").error("must be 0 to 16");
    }
    TagPolicy {
        path: file.path,
        site: file.site,
        sections: file.sections,
        fields: file.read.as_ref().map_or_else(TagFields::default, |read| fields(read, &at.key("read"))),
        broad: at
            .key("broad")
            .each(&file.broad)
            .filter_map(|(at, pattern)| at.ok(TagPattern::new(pattern)))
            .collect(),
    }
}

fn fields(read: &[file::Read], at: &At<'_>) -> TagFields {
    let mut fields: Vec<(HeaderName, Separator)> = Vec::with_capacity(read.len());
    for (at, read) in at.each(read) {
        let separator = at.key("separator").ok(separator(&read.separator));
        let at = at.key("header");
        let Some(name) = at.ok(name(&read.header)) else { continue };
        if fields.iter().any(|(other, _)| *other == name) {
            at.error("is in the list already");
        }
        fields.extend(separator.map(|separator| (name, separator)));
    }
    TagFields::new(fields)
}

fn name(text: &str) -> Result<HeaderName, &'static str> {
    let name: HeaderName = text.parse().map_err(|_| "must be the name of a header")?;
    if super::cdn::has_another_meaning(&name) || Dialect::carries_lifetimes(name.as_str()) {
        return Err("has another meaning in every response");
    }
    Ok(name)
}

fn separator(text: &str) -> Result<Separator, &'static str> {
    match text.as_bytes() {
        b"list" => Ok(Separator::List),
        [byte] if *byte == b' ' || byte.is_ascii_punctuation() => Ok(Separator::Byte(*byte)),
        _ => Err("must be one character (a space or a punctuation mark), or \"list\""),
    }
}
