//! The origin: a few pages, and the headers that it may send with them. The meaning of the headers is written
//! next to them by hand, so that the laws never derive it from the headers.

use super::fields::{Fields, fields};
use origin_shim::rewrite::CdnType;

/// A page, in all its spellings.
#[derive(Debug)]
pub struct Page {
    /// Paths of the same page. The first is the usual one.
    pub spellings: &'static [&'static str],
    /// The application's labels. A label with a space is two tags for every reader of the header.
    pub labels: &'static [&'static str],
    /// A folder of the page in some spelling, and the form in which a person may write it.
    pub folder: Option<(&'static str, &'static str)>,
}

pub static PAGES: [Page; 4] = [
    Page { spellings: &["/a"], labels: &["t0", "common", "two words"], folder: None },
    Page {
        spellings: &["/caf%C3%A9/b", "/caf%c3%a9/b"],
        labels: &["t1", "common"],
        folder: Some(("/caf%c3%a9/", "/café/")),
    },
    Page {
        spellings: &["/blog/foo(1)", "/blog/foo%281%29"],
        labels: &["t2", "common", "node:2"],
        folder: Some(("/blog/", "/blog/")),
    },
    Page { spellings: &["/long"], labels: &["t3", "last"], folder: None },
];

/// The page `/long`, which has more tags than any header can carry.
pub const MANY: usize = 3;

/// Whether the origin lets a response be shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    Free,
    /// Sharing is forbidden.
    Forbidden,
    /// Sharing is forbidden, except for the CDNs that the origin addresses in their own field.
    ForbiddenBut(&'static [CdnType]),
}

/// A response that an origin may send.
#[derive(Debug)]
pub struct Sample {
    pub status: u16,
    lines: &'static [(&'static str, &'static str)],
    pub sharing: Sharing,
    /// The lifetime for shared caches, in seconds, in whatever field.
    pub edge: Option<u64>,
    /// Whether that lifetime is in a field for CDNs, and therefore decides.
    pub is_targeted: bool,
    /// The lifetime for browsers.
    pub browser: Option<u64>,
    /// Whether the response itself permits a longer lifetime.
    pub may_be_long: bool,
}

const fn page(lines: &'static [(&'static str, &'static str)]) -> Sample {
    Sample {
        status: 200,
        lines,
        sharing: Sharing::Free,
        edge: None,
        is_targeted: false,
        browser: None,
        may_be_long: true,
    }
}

const fn given(seconds: u64, lines: &'static [(&'static str, &'static str)]) -> Sample {
    Sample { edge: Some(seconds), browser: Some(seconds), ..page(lines) }
}

const fn targeted(seconds: u64, lines: &'static [(&'static str, &'static str)]) -> Sample {
    Sample { edge: Some(seconds), is_targeted: true, ..page(lines) }
}

const fn forbidden(sharing: Sharing, lines: &'static [(&'static str, &'static str)]) -> Sample {
    Sample { sharing, may_be_long: false, ..page(lines) }
}

const fn short(sample: Sample) -> Sample {
    Sample { may_be_long: false, ..sample }
}

const fn status(status: u16, sample: Sample) -> Sample {
    Sample { status, ..sample }
}

const CC: &str = "cache-control";
const SC: &str = "surrogate-control";
const CDN: &str = "cdn-cache-control";
const DATE: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
const IN_AN_HOUR: (&str, &str) = ("expires", "Sun, 06 Nov 1994 09:49:37 GMT");
use Sharing::{Forbidden, ForbiddenBut};

/// The possible responses. `{self}` in a `Location` is the URL that was requested.
pub static SAMPLES: [Sample; 46] = [
    page(&[]),
    given(60, &[(CC, "max-age=60")]),
    given(3_600, &[(CC, "public, max-age=3600")]),
    given(600, &[(CC, "max-age=600, must-revalidate")]),
    given(3_600, &[DATE, IN_AN_HOUR]),
    given(0, &[(CC, "max-age=0")]),
    short(Sample { browser: Some(0), ..given(3_600, &[(CC, "public, max-age=0, s-maxage=3600")]) }),
    // Responses that are never lengthened, and that some CDNs keep nevertheless.
    short(page(&[("set-cookie", "lang=en")])),
    short(given(3_600, &[("set-cookie", "lang=en"), (CC, "max-age=3600")])),
    short(page(&[("vary", "Accept-Language")])),
    short(given(60, &[("vary", "Cookie"), (CC, "max-age=60")])),
    short(given(600, &[("vary", "*"), (CC, "max-age=600")])),
    short(page(&[("pragma", "no-cache")])),
    page(&[("vary", "Accept-Encoding")]),
    // Fields for CDNs.
    targeted(60, &[(SC, "max-age=60")]),
    targeted(600, &[(CDN, "max-age=600"), (CC, "no-cache")]),
    Sample { browser: Some(60), ..targeted(86_400, &[(CDN, "max-age=86400"), (CC, "max-age=60")]) },
    targeted(3_600, &[("edge-control", "!no-store, max-age=1h")]),
    targeted(90, &[("cloudflare-cdn-cache-control", "max-age=90")]),
    page(&[(SC, "content=\"ESI/1.0\"")]),
    // Prohibitions.
    forbidden(Forbidden, &[(CC, "private, max-age=600")]),
    forbidden(Forbidden, &[(CC, "no-store")]),
    forbidden(Forbidden, &[(CC, "no-cache")]),
    forbidden(Forbidden, &[(CC, "max-age=600, s-maxage=0")]),
    forbidden(Forbidden, &[(CC, "private=\"x-user\", max-age=600")]),
    forbidden(Forbidden, &[(CC, "public, max-age=3600"), (CDN, "no-store")]),
    forbidden(Forbidden, &[(CC, "public, max-age=3600"), (CDN, "private")]),
    forbidden(Forbidden, &[(CC, "max-age=600"), (SC, "no-store")]),
    forbidden(Forbidden, &[(CC, "max-age=600"), ("edge-control", "no-store")]),
    forbidden(Forbidden, &[(CC, "max-age=3600"), ("cloudflare-cdn-cache-control", "no-store")]),
    forbidden(Forbidden, &[(CC, "max-age=3600"), ("akamai-cache-control", "max-age=0")]),
    forbidden(Forbidden, &[(CC, "no-store"), (SC, "content=\"ESI/1.0\"")]),
    Sample {
        edge: Some(86_400),
        ..forbidden(
            ForbiddenBut(&[CdnType::Fastly, CdnType::Varnish]),
            &[(CC, "no-store"), (SC, "max-age=86400")],
        )
    },
    forbidden(Forbidden, &[(CC, "no-cache"), (CDN, "max-age=86400;")]),
    forbidden(Forbidden, &[(CC, "public private")]),
    forbidden(Forbidden, &[(CC, "max-age=60, ext=\"oops, no-store")]),
    forbidden(Forbidden, &[(CC, "\"private\"")]),
    // Other statuses.
    status(404, page(&[])),
    status(404, given(3_600, &[(CC, "max-age=3600")])),
    status(500, page(&[])),
    status(503, given(600, &[(CC, "max-age=600")])),
    status(301, page(&[("location", "/elsewhere")])),
    status(301, short(page(&[("location", "{self}")]))),
    status(301, short(given(600, &[("location", "{self}"), (CC, "max-age=600")]))),
    status(302, short(given(600, &[("location", "/elsewhere"), (CC, "s-maxage=600, max-age=600")]))),
    status(302, short(page(&[("location", "/elsewhere")]))),
];

/// The form in which the origin reports that a response comes from its own cache.
#[derive(Clone, Copy, Debug)]
pub enum AgeForm {
    Plain,
    /// A list, of which the first member is valid.
    List,
    /// Not a number.
    Signed,
    /// A plain number, together with `Connection: age`.
    Nominated,
}

/// The part of its 200 that a 304 repeats.
#[derive(Clone, Copy, Debug)]
pub enum Repeats {
    Nothing,
    Lifetimes,
    Everything,
}

/// The fields in which tags are sent, and their separators.
pub static TAG_FIELDS: [(&str, &str); 4] =
    [("surrogate-key", " "), ("xkey", " "), ("cache-tag", ","), ("edge-cache-tag", ",")];

impl Sample {
    /// Returns the origin's fields for a page.
    pub fn fields(&self, page: usize, path: &str, tag_field: usize) -> Fields {
        let mut said = fields(self.lines);
        for (_, value) in &mut said {
            *value = value.replace("{self}", &format!("https://www.example.com{path}"));
        }
        let (name, separator) = TAG_FIELDS[tag_field];
        let many = if page == MANY { 400 } else { 0 };
        let filler = (0..many).map(|n| format!("filler-{n}-{}", "x".repeat(70)));
        let tags: Vec<String> = filler.chain(PAGES[page].labels.iter().map(|l| (*l).to_owned())).collect();
        said.push((name.to_owned(), tags.join(separator)));
        said
    }

    /// Whether the response is explicitly meant for other visitors, too, whoever requested it (RFC 9111 §3.5).
    pub fn is_said_to_be_shared(&self) -> bool {
        self.lines
            .iter()
            .any(|(name, value)| *name == CC && (value.contains("public") || value.contains("s-maxage")))
    }

    /// Whether the field is about lifetimes.
    pub fn is_of_lifetime(name: &str) -> bool {
        name.ends_with("control") || matches!(name, "expires" | "date" | "vary")
    }
}
