//! The corrections of past faults, each of which can be undone at the boundary of the model. None of the faults
//! is in the program.

use super::fields::Fields;
use super::shim::{Request, is_untouched, says_no_lifetime};
use http::{HeaderName, HeaderValue};
use origin_shim::http::head::{Headers, Line};
use origin_shim::rewrite::spelling::canonical;
use origin_shim::rewrite::{Decision, Outcome, Reason, tags};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The CDN's conditions reach the origin, and its 304 is rewritten as if it were the page.
    NotModifiedAsPage,
    /// A 304 of an unseen page is treated as if it carried only the shim's own tags.
    UnseenWithoutTags,
    /// Guard and register apply only to responses that were lengthened, or left untouched for their status, a
    /// cookie or `Vary`.
    GuardOfFew,
    /// The guard writes nothing if the origin gave no lifetime.
    GuardUnwritten,
    /// Browsers keep pages for two hours.
    BrowsersForTwoHours,
    /// The first trace names the CDN.
    TracesFirst,
    /// Copies without tags are purged by tag.
    ModesByTags,
    /// A response is treated as arrived when it has been written.
    WrittenIsArrived,
    /// Spellings are compared without normalisation.
    RawSpellings,
    /// `public private` is read as public.
    PublicPrivate,
    /// A quoted string that does not end hides the rest of the field.
    UnendedQuote,
    /// A directive in quotes is ignored.
    QuotedWord,
    /// The last member of `Age` is read, and `+60` is not a number.
    LenientAge,
    /// `Connection: age` strips the age.
    AgeNominated,
    /// A malformed targeted field decides.
    BrokenTargeted,
    /// Responses that are not lengthened keep the origin's fields, prohibitions included.
    Untranslated,
    /// The rewriting does not get the requested URL.
    RedirectFactsWithheld,
    /// Tags that do not fit are dropped.
    TagsDropped,
    /// A tag with a space is purged, and reaches nothing.
    SpaceInTag,
    /// There is no register of responses in flight. This fault is older than the list.
    NoRegister,
    /// There is no guard. This fault is older than the list.
    NoGuard,
}

impl Fault {
    /// Changes the origin's fields to what the former program made of them.
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

    /// Whether a response that the guard covers is sent as if nothing had been purged.
    pub fn overlooks(self, decision: Decision, without: Decision, said: &Headers) -> bool {
        decision.outcome == Outcome::Guarded
            && match self {
                Self::NoGuard => true,
                Self::GuardOfFew => self.forgets(without),
                Self::GuardUnwritten => is_untouched(without) && says_no_lifetime(said),
                _ => false,
            }
    }

    /// Whether the register misses a response that would get this decision without a purge.
    pub fn forgets(self, without: Decision) -> bool {
        self == Self::GuardOfFew
            && is_untouched(without)
            && !matches!(without.reason, Reason::Status | Reason::Cookie | Reason::Vary)
    }

    /// Changes the sent fields to what the former program wrote.
    pub fn after(self, decision: Decision, said: &Headers, sent: &mut Headers, request: &Request) {
        match self {
            Self::Untranslated if is_untouched(decision) => {
                let is_of_lifetime = |line: &Line<'_>| line.name().ends_with("control");
                sent.retain(|line| !is_of_lifetime(&line));
                said.lines().filter(is_of_lifetime).for_each(|line| sent.push(line));
            }
            Self::RawSpellings => {
                sent.remove("x-origin-shim-path");
                let [own, other] =
                    [&*request.path, &*canonical(&request.path)].map(|path| tags::path_tag("www", path));
                if own != other {
                    let lines: Vec<_> =
                        sent.iter().map(|(n, v)| (n.to_owned(), v.to_str().unwrap().to_owned())).collect();
                    *sent = lines
                        .into_iter()
                        .map(|(name, value)| {
                            let value =
                                value.replace(&format!(" {other}"), "").replace(&format!(",{other}"), "");
                            (name.parse::<HeaderName>().unwrap(), HeaderValue::try_from(value).unwrap())
                        })
                        .collect();
                }
            }
            _ => {}
        }
    }
}
