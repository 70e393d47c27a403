//! Templates, which make names of tags and pages from the body of a webhook: `entry-{/entry/id}`.
//!
//! Between braces stands a JSON pointer (RFC 6901). Where it meets an array and does not name one of its elements, it
//! goes on in each, so `{/items/id}` gives one name for each item. A template with a pointer that the body lacks gives
//! nothing.

use serde_json::Value;
use std::fmt::{self, Display, Formatter, Write};

/// A template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Pointer(Pointer),
}

/// Why a text is not a template, or not a pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A brace has no partner.
    #[error("a brace has no partner: write `{{{{` for a brace in a name")]
    Brace,
    /// A pointer does not begin with a slash.
    #[error("a JSON pointer begins with `/`, as in {{/entry/id}}")]
    Slash,
    /// A `~` is followed by neither `0` nor `1`.
    #[error("in a JSON pointer, `~0` stands for `~` and `~1` for `/`")]
    Tilde,
    /// The template is empty.
    #[error("must not be empty")]
    Empty,
}

/// There are more names than a purge may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body gives too many names")]
pub struct TooMany;

/// How the values of a body become parts of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Unchanged.
    Tags,
    /// With escapes where a path cannot have the character itself.
    Paths,
}

impl Template {
    /// Parses a template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain += &rest[..at];
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                plain += brace;
                rest = after;
            } else if brace == "{" {
                let (pointer, after) = rest.split_once('}').ok_or(TemplateError::Brace)?;
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                }
                parts.push(Part::Pointer(Pointer::parse(pointer)?));
                rest = after;
            } else {
                return Err(TemplateError::Brace);
            }
        }
        plain += rest;
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        if parts.is_empty() { Err(TemplateError::Empty) } else { Ok(Self { parts }) }
    }

    /// Appends the names that the template makes from a body: one for each combination of the values that its pointers
    /// find. There may be at most `most` in the end.
    pub fn fill(
        &self,
        body: &Value,
        names: Names,
        most: usize,
        into: &mut Vec<String>,
    ) -> Result<(), TooMany> {
        let mut made = vec![String::new()];
        for part in &self.parts {
            match part {
                Part::Text(text) => made.iter_mut().for_each(|name| name.push_str(text)),
                Part::Pointer(pointer) => {
                    let values = pointer.values(body);
                    if made.len().saturating_mul(values.len()) > most {
                        return Err(TooMany);
                    }
                    let values: Vec<String> = values.iter().map(|value| written(value, names)).collect();
                    made = made
                        .iter()
                        .flat_map(|name| values.iter().map(move |value| name.clone() + value))
                        .collect();
                }
            }
        }
        if into.len() + made.len() > most {
            return Err(TooMany);
        }
        into.append(&mut made);
        Ok(())
    }
}

fn written(value: &str, names: Names) -> String {
    match names {
        Names::Tags => value.to_owned(),
        Names::Paths => escaped(value),
    }
}

/// Returns a value as a part of a path. Its slashes separate segments, and its escapes stay.
fn escaped(value: &str) -> String {
    let mut path = String::with_capacity(value.len());
    let bytes = value.as_bytes();
    for (index, byte) in bytes.iter().enumerate() {
        let is_escape = || {
            let digits = bytes.get(index + 1..index + 3);
            digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        };
        let stays = byte.is_ascii_alphanumeric()
            || b"/-._~!$&'()+,;=:@".contains(byte)
            || *byte == b'%' && is_escape();
        if stays {
            path.push(char::from(*byte));
        } else {
            // Writing into a `String` cannot fail.
            let _ = write!(path, "%{byte:02X}");
        }
    }
    path
}

/// A JSON pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    segments: Vec<String>,
}

impl Display for Pointer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let escaped = |segment: &String| segment.replace('~', "~0").replace('/', "~1");
        self.segments.iter().try_for_each(|segment| write!(f, "/{}", escaped(segment)))
    }
}

impl Pointer {
    /// Parses a pointer.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let rest = text.strip_prefix('/').ok_or(TemplateError::Slash)?;
        rest.split('/').map(segment).collect::<Result<_, _>>().map(|segments| Self { segments })
    }

    /// Returns the texts, numbers and truth values that the pointer finds in a body.
    pub fn values(&self, body: &Value) -> Vec<String> {
        let mut found = vec![body];
        for segment in &self.segments {
            found = found.into_iter().flat_map(|value| step(value, segment)).collect();
        }
        let elements = found.into_iter().flat_map(|value| match value {
            Value::Array(elements) => elements.iter().collect(),
            one => vec![one],
        });
        elements.filter_map(scalar).collect()
    }
}

fn segment(text: &str) -> Result<String, TemplateError> {
    let mut segment = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        segment.push(match character {
            '~' => match characters.next() {
                Some('0') => '~',
                Some('1') => '/',
                _ => return Err(TemplateError::Tilde),
            },
            other => other,
        });
    }
    Ok(segment)
}

/// Returns what one segment of a pointer finds in a value.
fn step<'v>(value: &'v Value, segment: &str) -> Vec<&'v Value> {
    match value {
        Value::Object(members) => members.get(segment).into_iter().collect(),
        Value::Array(elements) => match segment.parse::<usize>() {
            Ok(index) => elements.get(index).into_iter().collect(),
            Err(_) => elements.iter().filter_map(|element| element.as_object()?.get(segment)).collect(),
        },
        _ => Vec::new(),
    }
}

/// Returns the text of a value that can be a part of a name. An empty text cannot.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => (!text.is_empty()).then(|| text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn fill(template: &str, body: &Value, names: Names) -> Vec<String> {
        let mut made = Vec::new();
        Template::parse(template).unwrap().fill(body, names, 100, &mut made).unwrap();
        made
    }

    #[test]
    fn names_are_made_from_values() {
        let body = json!({
            "entry": { "id": 7, "slug": "für alle/100%", "draft": false, "none": null, "empty": "" },
            "items": [{ "id": "a", "tags": ["x", "y"] }, { "id": "b" }, 3],
            "a/b~c": "odd",
            "lists": [["p", "q"]]
        });
        let check = |template: &str, names: Names, expected: &[&str]| {
            assert_eq!(fill(template, &body, names), expected, "{template}");
        };
        check("all", Names::Tags, &["all"]);
        check("entry-{/entry/id}", Names::Tags, &["entry-7"]);
        check("{/entry/id}-{/entry/draft}", Names::Tags, &["7-false"]);
        check("/blog/{/entry/slug}", Names::Paths, &["/blog/f%C3%BCr%20alle/100%25"]);
        check("{/items/id}", Names::Tags, &["a", "b"]);
        check("{/items/1/id}", Names::Tags, &["b"]);
        check("{/items/tags}!", Names::Tags, &["x!", "y!"]);
        check("{/items/id}:{/items/0/tags}", Names::Tags, &["a:x", "a:y", "b:x", "b:y"]);
        check("{/a~1b~0c}", Names::Tags, &["odd"]);
        check("{{{/entry/id}}}", Names::Tags, &["{7}"]);
        check("{/lists/0}", Names::Tags, &["p", "q"]);
        for nothing in [
            "{/none}",
            "x{/entry/none}",
            "{/entry/empty}",
            "{/entry}",
            "{/entry/id/x}",
            "{/items/9}",
            "{/lists}",
        ] {
            check(nothing, Names::Tags, &[]);
        }
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for (text, error) in [
            ("", TemplateError::Empty),
            ("{", TemplateError::Brace),
            ("a}", TemplateError::Brace),
            ("{entry}", TemplateError::Slash),
            ("{}", TemplateError::Slash),
            ("{/a~2}", TemplateError::Tilde),
            ("{/a", TemplateError::Brace),
        ] {
            assert_eq!(Template::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn the_number_of_names_is_bounded() {
        let body = json!({ "a": (0..11).collect::<Vec<_>>() });
        let mut made = Vec::new();
        assert_eq!(
            Template::parse("{/a}{/a}").unwrap().fill(&body, Names::Tags, 100, &mut made),
            Err(TooMany)
        );
        let ten = Template::parse("{/a}").unwrap();
        (0..9).for_each(|_| ten.fill(&body, Names::Tags, 100, &mut made).unwrap());
        assert_eq!(ten.fill(&body, Names::Tags, 100, &mut made), Err(TooMany));
        assert_eq!(made.len(), 99);
    }

    proptest! {
        #[test]
        fn every_member_is_found_by_its_pointer(
            keys in prop::collection::vec("[a-z/~{ ü]{1,4}", 1..4),
            value in "[a-z]{1,4}",
        ) {
            // A brace would end the pointer.
            let keys: Vec<String> = keys.iter().map(|key| key.replace('{', "_")).collect();
            let body = keys.iter().rev().fold(json!(value), |inner, key| json!({ key.as_str(): inner }));
            let pointer: String =
                keys.iter().map(|key| format!("/{}", key.replace('~', "~0").replace('/', "~1"))).collect();
            prop_assert_eq!(fill(&format!("<{{{pointer}}}>"), &body, Names::Tags), [format!("<{value}>")]);
        }

        #[test]
        fn an_array_gives_one_name_for_each_element(values in prop::collection::vec("[a-z]{1,4}", 0..8)) {
            let expected: Vec<String> = values.iter().map(|value| format!("t-{value}")).collect();
            prop_assert_eq!(fill("t-{/all}", &json!({ "all": values }), Names::Tags), &*expected);
            let objects: Vec<Value> = values.iter().map(|value| json!({ "id": value })).collect();
            prop_assert_eq!(fill("t-{/all/id}", &json!({ "all": objects }), Names::Tags), &*expected);
        }

        #[test]
        fn a_value_is_always_a_legal_part_of_a_path(value in "\\PC{1,8}") {
            let made = fill("/{/a}", &json!({ "a": value }), Names::Paths);
            prop_assert!(crate::rewrite::nameable::path(&made[0]).is_ok(), "{:?}", made);
        }

        #[test]
        fn no_text_is_too_much_for_the_parser(text in "[{}/~a01]{0,12}") {
            if let Ok(template) = Template::parse(&text) {
                let _ = template.fill(&json!({ "a": ["b"], "": { "": "c" } }), Names::Paths, 10, &mut Vec::new());
            }
        }
    }
}
