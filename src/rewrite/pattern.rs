//! Path patterns of rules: `*` within a segment, `**` across.

/// A compiled path pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern(String);

impl PathPattern {
    /// Compiles `pattern`, which must start with `/`.
    pub fn new(pattern: &str) -> Result<Self, String> {
        Ok(Self(pattern.to_owned()))
    }

    /// Whether the normalised path matches.
    pub fn matches(&self, _path: &str) -> bool {
        false
    }
}
