//! The decision: what a response gets, and why. The order of the checks is the order of their importance.

use super::edits::Edits;
use super::fields::Fields;
use super::origin::Origin;
use super::outcome::{Decision, Outcome, Reason};
use super::table::{self, Treatment};
use super::write::Writer;
use super::{Dialect, Guard, Keys, Policy, Rule, never, page_header, path, tag_header};
use crate::head::Headers;
use http::{Method, StatusCode};
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
}

/// The edge that asked: its dialect, and whether a long TTL could be taken back from it.
#[derive(Clone, Copy, Debug)]
pub struct Edge<'a> {
    /// Its headers.
    pub dialect: &'a Dialect,
    /// Why its responses get fallback although they fit: unhealthy purging, or a CDN type in dispute.
    pub fallback: Option<Reason>,
    /// What the response is held against; none where nothing is known of purges.
    pub guard: Option<Guard<'a>>,
}

impl Edge<'_> {
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

/// Rewrites `headers` of an opted-in response in place: its tags always, its caching headers as decided.
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
) -> Decision {
    let (rewriting, _) = Rewriting::of(policy, request, edge, status, headers);
    rewriting.edits.make(headers);
    rewriting.decision
}

/// What is to be done to a response.
#[derive(Clone, Debug)]
pub(super) struct Rewriting {
    pub(super) decision: Decision,
    pub(super) edits: Edits,
    /// What the response can be purged by.
    pub(super) keys: Rc<Keys>,
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
        let (mut edits, mut keys) = (Edits::default(), Keys::default());
        keys.of_path(&path);
        let fields = Fields::of(headers, edge.dialect);
        page_header::write(request.path, &path, edge.dialect, &mut edits);
        let tags =
            tag_header::write(policy, rule, (&path, status), edge.dialect, &fields, (&mut edits, &mut keys));
        let origin = Origin::read(&fields);
        let (keys, age) = (Rc::new(keys), origin.age);
        let is_old = edge.has_purged(&Provenance::of(&keys, age, edge));
        let writer =
            Writer { policy, dialect: edge.dialect, origin: &origin, fields: &fields, edits: &mut edits };
        let decision = decide((&path, rule, status), request, edge, (tags, is_old), writer);
        // Of an age are fallbacks, which never exceed what is left of the origin's lifetime; of a moment dates, too.
        let is_of_its_age = decision.outcome == Outcome::Fallback && age.is_some();
        let lasts = decision.outcome != Outcome::Guarded && origin.expires.is_none() && !is_of_its_age;
        (Self { decision, edits, keys, lasts }, age)
    }

    /// The same for who keeps it.
    pub(super) fn lasting(self) -> Self {
        Self { edits: self.edits.lasting(), ..self }
    }

    /// What purges need to know of the response if it is of this age.
    pub(super) fn provenance(&self, age: Option<u32>, edge: Edge<'_>) -> Provenance {
        Provenance::of(&self.keys, age, edge)
    }
}

fn decide(
    (path, rule, status): (&str, Option<&Rule>, StatusCode),
    request: RequestFacts<'_>,
    edge: Edge<'_>,
    (tags, is_old): (Result<(), Reason>, bool),
    writer: Writer<'_, '_, '_>,
) -> Decision {
    let (policy, origin) = (writer.policy, writer.origin);
    let overridden = rule.is_some_and(|rule| rule.allow_override);
    let never = never::reason(policy, request, origin, writer.fields);
    let treatment = table::treatment(policy, rule, path, status);

    let decision = |outcome, reason| Decision { outcome, reason };
    let row = match treatment {
        Treatment::NoStore => {
            writer.no_store();
            return decision(Outcome::Fallback, Reason::ErrorStatus);
        }
        Treatment::Row(row) if never.is_none() || overridden => row,
        treatment => {
            let status = (treatment == Treatment::Untouched).then_some(Reason::Status);
            let untouched = decision(Outcome::Untouched, status.or(never).unwrap_or(Reason::Status));
            if is_old && (untouched.may_be_kept() || tags.is_err()) {
                writer.clamp(policy.ttls.guard);
                return decision(Outcome::Guarded, Reason::Purged);
            }
            if let Err(unfit) = tags {
                writer.clamp(policy.ttls.fallback);
                return decision(Outcome::Fallback, unfit);
            }
            return untouched;
        }
    };
    let fallback = edge.fallback.or(tags.err());
    // What only a rule allows is not allowed by the origin, which fallback never exceeds.
    let only_by_rule = fallback.is_some() && never.is_some();
    if is_old {
        if only_by_rule {
            writer.clamp(policy.ttls.guard);
        } else {
            let decided = fallback.is_some() || origin.targeted.is_some();
            let most = if decided { origin.edge_lifetime() } else { None };
            writer.lengthen(row.guarded(policy.ttls.guard, most));
        }
        return decision(Outcome::Guarded, Reason::Purged);
    }
    if let Some(reason) = fallback {
        if only_by_rule {
            writer.clamp(policy.ttls.fallback);
        } else {
            writer.fallback(row);
        }
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
