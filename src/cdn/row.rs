//! What is known of a type of CDN besides what the request path needs ([`crate::rewrite::facts`]): under which names it is
//! purged, and how its answers to visitors show it.

/// What is known of one type of CDN. It stands in the file of its adapter.
#[derive(Debug)]
pub struct Row {
    /// How purges name the page at a path and query.
    pub page: fn(String) -> String,
    /// How purges name what is below a path.
    pub prefixes: PrefixNames,
    /// How its answers to visitors show it.
    pub responses: ResponseTraces,
}

/// Under which names of a prefix a CDN is purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefixNames {
    /// As its pages are named, in each spelling.
    AsPages,
    /// In each spelling, with percent-encoding in upper case.
    UpperHex,
    /// In the canonical form alone, which is what it compares.
    Canonical,
}

/// How a CDN's answers to visitors show it, and what they say of its cache.
#[derive(Debug)]
pub struct ResponseTraces {
    /// What only it sends; one is enough.
    pub marks: &'static [Mark],
    /// Of several CDNs that left marks the one with the lowest is named.
    pub precedence: u8,
    /// The field and value of a request by which it is asked to tell what its cache did.
    pub asked_by: Option<(&'static str, &'static str)>,
    /// A field with the id of the request, followed by that of the earlier one which brought the copy, if one was served.
    pub ids: Option<&'static str>,
    /// What to do about a page that it does not keep, where a field has this value.
    pub not_kept: Option<NotKept>,
}

/// A mark of a CDN in an answer; words are in lower case, and compared without case.
#[derive(Debug)]
pub enum Mark {
    /// There is this field.
    Field(&'static str),
    /// This field contains the word.
    Contains(&'static str, &'static str),
    /// This field begins with the word.
    Begins(&'static str, &'static str),
}

/// What to do about a page that a CDN does not keep.
#[derive(Debug)]
pub struct NotKept {
    /// The field that says why.
    pub field: &'static str,
    /// Its value, whose case does not matter.
    pub value: &'static str,
    /// What to do, in sentences.
    pub advice: &'static str,
}
