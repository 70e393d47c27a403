//! The corrections of past faults, each of which can be undone at the boundary of the model. None of the faults is in
//! the program.

use super::fields::Fields;
use super::shim::{Request, is_untouched, says_no_lifetime};
use http::{HeaderName, HeaderValue};
use origin_shim::http::head::Headers;
use origin_shim::rewrite::spelling::canonical;
use origin_shim::rewrite::{Decision, Outcome, Reason, tags};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The CDN's conditions reach the origin, and its 304 is rewritten as if it were the page.
    NotModifiedAsPage,
    /// A 304 of a page that was not seen counts as carrying our own tags only.
    UnseenWithoutTags,
    /// Guard and register know only what was lengthened, or left alone for its status, a cookie or `Vary`.
    GuardOfFew,
    /// Nothing is written where the origin gave no lifetime.
    GuardUnwritten,
    /// Browsers keep pages for two hours.
    BrowsersForTwoHours,
    /// The first trace names the CDN.
    TracesFirst,
    /// Copies without tags are purged by tag.
    ModesByTags,
    /// What was written has arrived.
    WrittenIsArrived,
    /// Spellings are compared as they are.
    RawSpellings,
    /// `public private` is public.
    PublicPrivate,
    /// A quoted string that does not end hides what follows.
    UnendedQuote,
    /// A directive in quotes is none.
    QuotedWord,
    /// The last member of `Age` counts, and `+60` is none.
    LenientAge,
    /// `Connection: age` strips the age.
    AgeNominated,
    /// A targeted field that is broken decides.
    BrokenTargeted,
    /// What is not lengthened stays as the origin said it, prohibitions included.
    Untranslated,
    /// The rewriting does not know which URL was asked for.
    RedirectFactsWithheld,
    /// Tags that do not fit are dropped.
    TagsDropped,
    /// A tag with a space is purged, and reaches nothing.
    SpaceInTag,
    /// Older than the list: nothing is known of what is on its way.
    NoRegister,
    /// Older than the list: nothing is guarded.
    NoGuard,
}

impl Fault {
    /// The origin's fields as the program read them before.
    pub fn before(self, said: &mut Fields) {
        let replace = |said: &mut Fields, name: &str, from: &str, to: &str| {
            for (_, value) in said.iter_mut().filter(|(known, value)| known == name && value == from) {
                *value = to.to_owned();
            }
        };
        match self {
            Self::PublicPrivate => replace(said, "cache-control", "public private", "public"),
            Self::UnendedQuote => {
                replace(said, "cache-control", "max-age=60, ext=\"oops, no-store", "max-age=60");
            }
            Self::QuotedWord => replace(said, "cache-control", "\"private\"", "x"),
            Self::BrokenTargeted => replace(said, "cdn-cache-control", "max-age=86400;", "max-age=86400"),
            Self::LenientAge => {
                for (_, value) in said.iter_mut().filter(|(name, _)| name == "age") {
                    *value = value.rsplit(',').next().unwrap_or_default().trim().to_owned();
                    if value.starts_with('+') {
                        *value = "0".to_owned();
                    }
                }
            }
            Self::AgeNominated if said.iter().any(|(name, value)| name == "connection" && value == "age") => {
                said.retain(|(name, _)| name != "age");
            }
            Self::TagsDropped => {
                for (_, value) in said.iter_mut().filter(|(_, value)| value.starts_with("filler-")) {
                    value.truncate(value.find("filler-20-").unwrap_or(value.len()));
                }
            }
            _ => {}
        }
    }

    /// Whether a response that the guard is for goes out as if nothing had been purged.
    pub fn overlooks(self, decision: Decision, without: Decision, said: &Headers) -> bool {
        decision.outcome == Outcome::Guarded
            && match self {
                Self::NoGuard => true,
                Self::GuardOfFew => self.forgets(without),
                Self::GuardUnwritten => is_untouched(without) && says_no_lifetime(said),
                _ => false,
            }
    }

    /// Whether the register is not told of a response that would get this without a purge.
    pub fn forgets(self, without: Decision) -> bool {
        self == Self::GuardOfFew
            && is_untouched(without)
            && !matches!(without.reason, Reason::Status | Reason::Cookie | Reason::Vary)
    }

    /// What is sent as the program wrote it before.
    pub fn after(self, decision: Decision, said: &Headers, sent: &mut Headers, request: &Request) {
        match self {
            Self::Untranslated if is_untouched(decision) => {
                let is_of_lifetime = |name: &HeaderName| name.as_str().ends_with("control");
                sent.retain(|line| !is_of_lifetime(line.name()));
                for (name, value) in said.iter().filter(|(name, _)| is_of_lifetime(name)) {
                    sent.append(name.clone(), value.clone());
                }
            }
            Self::RawSpellings => {
                sent.remove("x-origin-shim-path");
                let [own, other] =
                    [&*request.path, &*canonical(&request.path)].map(|path| tags::path_tag("www", path));
                if own != other {
                    let lines: Vec<_> =
                        sent.iter().map(|(n, v)| (n.clone(), v.to_str().unwrap().to_owned())).collect();
                    *sent = lines
                        .into_iter()
                        .map(|(name, value)| {
                            let value =
                                value.replace(&format!(" {other}"), "").replace(&format!(",{other}"), "");
                            (name, HeaderValue::try_from(value).unwrap())
                        })
                        .collect();
                }
            }
            _ => {}
        }
    }
}
