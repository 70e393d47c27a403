//! Facts about a type of CDN in addition to those of the request path ([`crate::rewrite::facts`]): the names
//! under which it is purged, and the traces of it in its answers to visitors.

/// The facts about one type of CDN. Each row is in the file of its adapter.
#[derive(Debug)]
pub struct Row {
    /// The name in purges of the page at a path and query.
    pub page: fn(String) -> String,
    /// The names in purges of all that is below a path.
    pub prefixes: PrefixNames,
    /// The traces of the CDN in its answers to visitors.
    pub responses: ResponseTraces,
    /// What the CDN charges for purges, if it does.
    pub price: Option<Price>,
}

/// What a CDN charges for purges.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Price {
    /// The number of items a month that cost nothing.
    pub free_per_month: u64,
    /// The price of each further item, in US dollars.
    pub dollars_per_item: f64,
}

/// The names of a prefix under which a CDN is purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefixNames {
    /// In each spelling, named as pages are.
    AsPages,
    /// In each spelling, with percent-encoding in upper case.
    UpperHex,
    /// In the canonical form alone, which is what the CDN compares.
    Canonical,
}

/// The traces of a CDN in its answers to visitors, and what they report about its cache.
#[derive(Debug)]
pub struct ResponseTraces {
    /// Marks that only this CDN sends; one is enough.
    pub marks: &'static [Mark],
    /// The precedence among several CDNs that left marks: the lowest one is named.
    pub precedence: u8,
    /// The field and value of a request that asks the CDN to report what its cache did.
    pub asked_by: Option<(&'static str, &'static str)>,
    /// A field with the id of the request, followed by that of the earlier request that brought the copy, if
    /// one was served.
    pub ids: Option<&'static str>,
    /// Advice about a page that the CDN does not keep, if a field has a certain value.
    pub not_kept: Option<NotKept>,
}

/// A mark of a CDN in an answer. Words are in lower case and compared case-insensitively.
#[derive(Debug)]
pub enum Mark {
    /// The field is present.
    Field(&'static str),
    /// The field contains the word.
    Contains(&'static str, &'static str),
    /// The field begins with the word.
    Begins(&'static str, &'static str),
}

/// Advice about a page that a CDN does not keep.
#[derive(Debug)]
pub struct NotKept {
    /// The field that gives the reason.
    pub field: &'static str,
    /// The field's value, compared case-insensitively.
    pub value: &'static str,
    /// The advice, in sentences.
    pub advice: &'static str,
}
