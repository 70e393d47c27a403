//! Broad tags: those that stand for most of a site, such as Drupal's `rendered`. Listing them in every response costs
//! room and spares nothing, so responses do not carry them, and a purge of one purges everything.

/// A pattern of tags, in which `*` stands for any characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagPattern {
    text: String,
}

impl TagPattern {
    /// Creates a pattern.
    ///
    /// # Errors
    /// Returns an error if the pattern cannot match any tag, or matches all of them.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.contains([' ', '\t', ',']) || text.contains(|c: char| c.is_ascii_control()) {
            return Err("must not have spaces, commas or control characters, which no tag has".into());
        }
        if text.bytes().all(|byte| byte == b'*') {
            return Err("must have more than `*`: if every tag were broad, none would be sent".into());
        }
        Ok(Self { text: text.to_owned() })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a tag matches.
    pub fn matches(&self, tag: &[u8]) -> bool {
        let mut parts = self.text.as_bytes().split(|byte| *byte == b'*');
        // There is always a first part, and the rest of the tag must end with the last.
        let Some(mut rest) = parts.next().and_then(|start| tag.strip_prefix(start)) else { return false };
        let Some(end) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            let Some(at) = position(rest, part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(end)
    }
}

/// The place at which `part` first occurs.
fn position(text: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() { Some(0) } else { text.windows(part.len()).position(|window| window == part) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stars_stand_for_any_characters() {
        let check = |pattern: &str, matching: &[&str], others: &[&str]| {
            let pattern = TagPattern::new(pattern).unwrap();
            assert!(matching.iter().all(|tag| pattern.matches(tag.as_bytes())), "{pattern:?}");
            assert!(!others.iter().any(|tag| pattern.matches(tag.as_bytes())), "{pattern:?}");
        };
        check("rendered", &["rendered"], &["", "rendere", "rendered2", "Rendered", "x-rendered"]);
        check("config:*", &["config:", "config:a.b"], &["config", "xconfig:a"]);
        check("*_list", &["_list", "node_list"], &["node_list2", "list"]);
        check("*:list:*", &["a:list:b", ":list:"], &["a:list", "list:"]);
        check("a*a", &["aa", "aba"], &["a", "ab"]);
        check("a*b*c", &["abc", "axbxc", "abbc"], &["ac", "acb"]);
    }

    #[test]
    fn what_is_no_pattern() {
        for (pattern, why) in [("", "more than"), ("**", "more than"), ("a b", "spaces"), ("a,b", "commas")] {
            assert!(TagPattern::new(pattern).unwrap_err().contains(why), "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_matches_as_a_slow_one_does(pattern in "[ab*]{1,6}", tag in "[ab]{0,8}") {
            fn slow(pattern: &[u8], tag: &[u8]) -> bool {
                match pattern {
                    [] => tag.is_empty(),
                    [b'*', after @ ..] => (0..=tag.len()).any(|at| slow(after, &tag[at..])),
                    [byte, after @ ..] => tag.first() == Some(byte) && slow(after, &tag[1..]),
                }
            }
            if let Ok(compiled) = TagPattern::new(&pattern) {
                prop_assert_eq!(compiled.matches(tag.as_bytes()), slow(pattern.as_bytes(), tag.as_bytes()));
            }
        }
    }
}
