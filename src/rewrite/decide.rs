//! The decision: what a response gets, and why. The order of the checks is the order of their importance.

use super::edits::Edits;
use super::fields::{Field, Fields};
use super::kept::{self, Kept};
use super::origin::{Obeyed, Origin};
use super::outcome::{Decision, Outcome, Reason};
use super::policy::BrowserTtl;
use super::redirect::Asked;
use super::table::{self, Row, Treatment};
use super::write::Writer;
use super::{Dialect, Guard, Keys, Policy, Rule, never, page_header, path, tag_header};
use crate::head::Headers;
use http::{Method, StatusCode};
use smallvec::SmallVec;
use std::rc::Rc;

/// What rewriting needs to know of the request.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    /// The request method.
    pub method: &'a Method,
    /// The path as received, without the query.
    pub path: &'a str,
    /// Whether the request carried `Authorization`.
    pub authorization: bool,
    /// Whether the request carried `Cookie`.
    pub cookie: bool,
    /// What else of its URL a redirect is held against.
    pub asked: Asked<'a>,
}

/// The edge that asked: its dialect, and whether a long TTL could be taken back from it.
#[derive(Clone, Copy, Debug)]
pub struct Edge<'a> {
    /// Its headers. Where it is not known which CDN asked, those of each that it may have been, the likeliest first: then the
    /// response carries the tags of all of them, and `fallback` is given.
    pub dialects: &'a [Dialect],
    /// Why its responses get fallback although they fit: unhealthy purging, or a CDN that cannot be told.
    pub fallback: Option<Reason>,
    /// What the response is held against; none where nothing is known of purges.
    pub guard: Option<Guard<'a>>,
}

impl<'a> Edge<'a> {
    /// The dialect of the CDN that asked, or most likely did.
    pub fn dialect(&self) -> &'a Dialect {
        &self.dialects[0]
    }

    /// Whether such a response is older than a purge that covers it.
    pub(super) fn has_purged(&self, response: &Provenance) -> bool {
        self.guard.is_some_and(|guard| guard.purged.covers(&response.keys, response.generated_ms))
    }
}

/// What a purge needs to know of a response that is on its way.
#[derive(Clone, Debug, Default)]
pub struct Provenance {
    /// What it can be purged by.
    pub keys: Rc<Keys>,
    /// When it was generated, at the earliest; milliseconds since the epoch, as the [`Guard`] counts them.
    pub generated_ms: i64,
}

impl Provenance {
    fn of(keys: &Rc<Keys>, age: Option<u32>, edge: Edge<'_>) -> Self {
        let generated_ms = edge.guard.map_or(0, |guard| guard.generated_ms(age));
        Self { keys: Rc::clone(keys), generated_ms }
    }
}

/// Rewrites `headers` of an opted-in response in place: its tags always, its caching headers as decided. Tells what was
/// decided and, where the CDN may keep the response, what purges need to know of it.
///
/// Rewriting twice is rewriting once, except for what leaves no trace in the headers: tags that did not fit or that no purge
/// can name, a lifetime targeted at a CDN that reads it from `Cache-Control`, and commas in Fastly's tags where Fastly is
/// configured to read them from another CDN's header.
pub fn rewrite(
    policy: &Policy,
    request: RequestFacts<'_>,
    edge: Edge<'_>,
    status: StatusCode,
    headers: &mut Headers,
) -> (Decision, Option<Provenance>) {
    let (rewriting, age) = Rewriting::of(policy, request, edge, status, headers);
    rewriting.edits.make(headers);
    (rewriting.decision, rewriting.provenance(age, edge))
}

/// What is known of a response for one dialect before anything is decided: its fields, its tags, and whether they fit.
type Part<'h, 'd> = (Fields<'h, 'd>, Edits, Result<(), Reason>);

/// What is to be done to a response.
#[derive(Clone, Debug)]
pub(super) struct Rewriting {
    pub(super) decision: Decision,
    pub(super) edits: Edits,
    /// What the response can be purged by.
    pub(super) keys: Rc<Keys>,
    /// Whether the CDN may keep it.
    kept: bool,
    /// Whether the same response to the same request will be rewritten alike at any time and of any age, unless it is purged.
    pub(super) lasts: bool,
}

impl Rewriting {
    /// Decides; and tells how many seconds the response has spent in caches, if it comes from one.
    pub(super) fn of(
        policy: &Policy,
        request: RequestFacts<'_>,
        edge: Edge<'_>,
        status: StatusCode,
        headers: &Headers,
    ) -> (Self, Option<u32>) {
        let path = path::normalise(request.path);
        let rule = policy.rule(&path);
        let mut keys = Keys::default();
        keys.of_path(&path);
        // Each dialect's edits by themselves; nearly always there is but one.
        let mut parts: SmallVec<[Part<'_, '_>; 1]> = SmallVec::new();
        for dialect in edge.dialects {
            let (fields, mut edits) = (Fields::of(headers, dialect), Edits::default());
            page_header::write(request.path, &path, dialect, &mut edits);
            let tags =
                tag_header::write(policy, rule, (&path, status), dialect, &fields, (&mut edits, &mut keys));
            parts.push((fields, edits, tags));
        }
        let keys = Rc::new(keys);
        let (mut whole, mut age): (Option<Self>, _) = (None, None);
        for (fields, mut edits, tags) in parts {
            let dialect = fields.dialect();
            let origin = Origin::read(&fields);
            age = origin.age;
            let is_old = edge.has_purged(&Provenance::of(&keys, age, edge));
            let writer = Writer { policy, dialect, origin: &origin, fields: &fields, edits: &mut edits };
            let asked = (&*path, rule, status);
            let (decision, kept) = decide(asked, request, edge.fallback, (tags, is_old), writer);
            // A lifetime that is the origin's shrinks with the age of the response, and dates are of a moment.
            let is_origins = match rule.and_then(|rule| rule.browser_ttl) {
                Some(ttl) => ttl == BrowserTtl::Origin,
                None => policy.ttls.browser == BrowserTtl::Origin,
            };
            let is_of_its_age = match decision.outcome {
                Outcome::Fallback => age.is_some(),
                Outcome::Lengthened => age.is_some() && is_origins,
                Outcome::Untouched => false,
                Outcome::Guarded => true,
            };
            let is_get = matches!(*request.method, Method::GET | Method::HEAD);
            let lasts = is_get && !status.is_redirection() && !is_of_its_age && origin.expires.is_none();
            let part = Self { decision, edits, keys: Rc::clone(&keys), kept, lasts };
            whole = Some(match whole {
                None => part,
                Some(whole) => whole.joined(part, dialect),
            });
        }
        let nothing = || Self {
            decision: Decision { outcome: Outcome::Untouched, reason: Reason::NoCdn },
            edits: Edits::default(),
            keys,
            kept: true,
            lasts: false,
        };
        (whole.unwrap_or_else(nothing), age)
    }

    /// The same also for another CDN that may have asked.
    fn joined(mut self, other: Self, dialect: &Dialect) -> Self {
        self.edits.join(other.edits, dialect);
        Self { kept: self.kept || other.kept, lasts: false, ..self }
    }

    /// The same for who keeps it.
    pub(super) fn lasting(self) -> Self {
        Self { edits: self.edits.lasting(), ..self }
    }

    /// What purges need to know of the response if it is of this age; nothing where the CDN will not keep it.
    pub(super) fn provenance(&self, age: Option<u32>, edge: Edge<'_>) -> Option<Provenance> {
        self.kept.then(|| Provenance::of(&self.keys, age, edge))
    }

    /// Whether the response is older than a purge that covers it, if it is of this age.
    pub(super) fn is_purged(&self, age: Option<u32>, edge: Edge<'_>) -> bool {
        edge.has_purged(&Provenance::of(&self.keys, age, edge))
    }
}

/// What is done to the response, and whether the CDN may keep it then.
fn decide(
    (path, rule, status): (&str, Option<&Rule>, StatusCode),
    request: RequestFacts<'_>,
    fallback: Option<Reason>,
    (tags, is_old): (Result<(), Reason>, bool),
    mut writer: Writer<'_, '_, '_>,
) -> (Decision, bool) {
    let (policy, origin) = (writer.policy, writer.origin);
    let fallback = fallback.or(tags.err());
    let decision = |outcome, reason| (Decision { outcome, reason }, true);

    let treatment = table::treatment(policy, rule, path, status);
    let beyond_rules = never::reason_beyond_rules(policy, request, status, writer.fields);
    let unless_a_rule = never::reason(policy, request, origin, writer.fields);
    let overridden = rule.is_some_and(|rule| rule.allow_override);
    // What only a rule allows is not allowed by the origin, which fallback never exceeds.
    let is_allowed = beyond_rules.is_none() && (unless_a_rule.is_none() || overridden && fallback.is_none());
    writer.drop_invalid();
    let row = match treatment {
        Treatment::NoStore => {
            let keeps = kept::keeps_errors(writer.dialect.cdn);
            writer.no_store();
            return (Decision { outcome: Outcome::Fallback, reason: Reason::ErrorStatus }, keeps);
        }
        Treatment::Row(row) if is_allowed => row,
        treatment => {
            let by_status = (treatment == Treatment::Untouched).then_some(Reason::Status);
            let reason = beyond_rules.or(by_status).or(unless_a_rule).unwrap_or(Reason::Status);
            // A 304 for a CDN that cannot be purged renews what the CDN holds: not for long then.
            let of_unseen = fallback.filter(|_| reason == Reason::NotModified);
            let of_rule = fallback.filter(|_| overridden && by_status.is_none() && beyond_rules.is_none());
            let short = tags.err().or(of_unseen).or(of_rule);
            let is_disputed = fallback == Some(Reason::CdnInDispute);
            return leave((request, status), (reason, short), (is_old, is_disputed), writer);
        }
    };
    if is_old {
        writer.lengthen(row.guarded(policy.ttls.guard, origin.edge_lifetime()));
        return decision(Outcome::Guarded, Reason::Purged);
    }
    if let Some(reason) = fallback {
        writer.fallback(row);
        return decision(Outcome::Fallback, reason);
    }
    match origin.targeted {
        Some(targeted) if !overridden => {
            writer.translate(targeted);
            decision(Outcome::Lengthened, Reason::OriginTargeted)
        }
        _ => {
            writer.lengthen(row);
            decision(Outcome::Lengthened, row.reason)
        }
    }
}

/// Leaves the lifetimes to the origin, unless the CDN may keep the response although that cannot be: because it is old, or
/// for the reason `short`. What forbids to keep it is said so that the CDN reads it.
fn leave(
    (request, status): (RequestFacts<'_>, StatusCode),
    (reason, short): (Reason, Option<Reason>),
    (is_old, is_disputed): (bool, bool),
    mut writer: Writer<'_, '_, '_>,
) -> (Decision, bool) {
    let (policy, origin, dialect) = (writer.policy, writer.origin, writer.dialect);
    let kept = kept::as_sent(dialect, request, status, origin, writer.fields);
    let guarded = Decision { outcome: Outcome::Guarded, reason: Reason::Purged };
    let as_it_is = match short {
        // Tags that do not fit are told of, whatever becomes of the response.
        Some(short) => Decision { outcome: Outcome::Fallback, reason: short },
        None => Decision { outcome: Outcome::Untouched, reason },
    };
    let forbids = origin.forbids_sharing() && !origin.grants_to(dialect);
    // What confirms a page that is kept already may shorten it, and only the origin can forbid it.
    let is_get = matches!(*request.method, Method::GET | Method::HEAD);
    let only_confirms = reason == Reason::NotModified && is_get && !forbids;
    let is_doubtful = kept == Some(Kept::InDoubt) && !only_confirms;
    if is_doubtful && (is_old || short.is_some()) {
        writer.prohibit();
        return (if is_old { guarded } else { as_it_is }, true);
    }
    if is_old && kept.is_some() {
        writer.guard(policy.ttls.guard);
        return (guarded, true);
    }
    if short.is_some() && kept.is_some() {
        let is_told = reason != Reason::NotModified || origin.edge_lifetime().is_some();
        let most = if is_told { policy.ttls.fallback } else { policy.ttls.guard };
        writer.fallback(Row::at_most(table::seconds(most)));
        return (as_it_is, true);
    }
    // A lifetime that is stored in the CDN's own field would overrule what a 304 forbids in another one; and where several CDNs
    // may have asked, the words for one of them must not go away with what the others are not to read.
    let is_overruled = status == StatusCode::NOT_MODIFIED || is_disputed;
    if forbids && (is_overruled || origin.is_obeyed_by(dialect, writer.fields) == Obeyed::No) {
        writer.prohibit();
    } else if only_confirms {
        leave_stored_lifetime(&mut writer);
    }
    (as_it_is, kept.is_some())
}

/// The CDN's own field, if it gives no lifetime, would replace the stored one that does (RFC 9111 §3.2).
fn leave_stored_lifetime(writer: &mut Writer<'_, '_, '_>) {
    let own = writer.fields.own_ttl;
    let decides = writer.origin.targeted.is_some_and(|targeted| targeted.field == own);
    if own != Field::CacheControl && !decides && writer.fields.has(own) {
        writer.edits.remove(own.name(writer.dialect));
    }
}
