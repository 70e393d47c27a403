//! The decision: what a response gets, and the reason. The checks are in the order of their importance.

use super::cache_control::seconds;
use super::edits::Edits;
use super::field::Field;
use super::fields::Fields;
use super::kept::{self, Kept};
use super::origin::{Obeyed, Origin};
use super::outcome::{Decision, Outcome, Reason};
use super::request::RequestFacts;
use super::table::{self, Row, Treatment};
use super::write::Writer;
use super::{Dialect, Guard, Keys, Policy, Rule, never, page_header, path, spelling, tag_header};
use crate::http::head::Headers;
use http::{Method, StatusCode};
use std::rc::Rc;

/// The edge that sent the request: its dialect, and whether a long TTL could be revoked there.
#[derive(Clone, Copy, Debug)]
pub struct Edge<'a> {
    /// The dialect of the CDN. If it is unknown which CDN sent the request, the dialects of all candidates, the
    /// most likely first. The response then carries the tags of all of them, and `fallback` is set.
    pub dialects: &'a [Dialect],
    /// The reason why responses get the fallback although they could be lengthened: an unhealthy CDN, or one that
    /// cannot be identified.
    pub fallback: Option<Reason>,
    /// The purges to compare the response with; `None` if no purges are known.
    pub guard: Option<Guard<'a>>,
}

impl<'a> Edge<'a> {
    /// The dialect of the CDN that sent the request, or of the most likely one.
    pub fn dialect(&self) -> &'a Dialect {
        &self.dialects[0]
    }

    /// Whether the response is older than a purge that covers it.
    pub(super) fn has_purged(&self, response: &Provenance) -> bool {
        self.guard.is_some_and(|guard| guard.purged.covers(&response.keys, response.generated_ms))
    }
}

/// The facts about a response in flight that purges need.
#[derive(Clone, Debug, Default)]
pub struct Provenance {
    /// The keys by which the response can be purged.
    pub keys: Rc<Keys>,
    /// The earliest time at which it may have been generated, in milliseconds since the epoch, on the clock of the
    /// [`Guard`].
    pub generated_ms: i64,
}

impl Provenance {
    fn of(keys: &Rc<Keys>, age: Option<u32>, edge: Edge<'_>) -> Self {
        let generated_ms = edge.guard.map_or(0, |guard| guard.generated_ms(age));
        Self { keys: Rc::clone(keys), generated_ms }
    }
}

/// Rewrites `headers` of an opted-in response in place: the tags always, the caching fields as decided. Returns
/// the decision and, if the CDN may keep the response, the facts that purges need.
///
/// A second rewriting changes nothing, except for facts that leave no trace in the headers: tags that did not fit,
/// that are broad or that no purge can name, and a lifetime targeted at a CDN that reads it from `Cache-Control`. Tags
/// in short form would become shorter forms of these.
pub fn rewrite(
    policy: &Policy,
    request: RequestFacts<'_>,
    edge: Edge<'_>,
    status: StatusCode,
    headers: &mut Headers,
) -> (Decision, Option<Provenance>) {
    let Rewriting { decision, edits, provenance } = Rewriting::of(policy, request, edge, status, headers);
    edits.make(headers);
    (decision, provenance)
}

/// The changes to make to a response.
struct Rewriting<'d> {
    decision: Decision,
    edits: Edits<'d>,
    /// The facts that purges need, if the CDN may keep the response.
    provenance: Option<Provenance>,
}

impl<'d> Rewriting<'d> {
    fn of(
        policy: &'d Policy,
        request: RequestFacts<'_>,
        edge: Edge<'d>,
        status: StatusCode,
        headers: &Headers,
    ) -> Self {
        let path = path::normalise(request.path);
        let canonical = spelling::of_normal(&path);
        let response =
            Response { path: &path, canonical: &canonical, rule: policy.rule(&path), request, status };
        let mut keys = Keys::default();
        keys.of_page(&canonical);
        let [dialect] = edge.dialects else { return Self::for_each(policy, response, edge, headers, keys) };
        let (fields, mut edits) = (Fields::of(headers, dialect), Edits::default());
        let tags = response.tag(policy, &fields, &mut edits, &mut keys);
        let (decision, provenance) =
            response.decide(policy, edge, (tags, &Rc::new(keys)), &fields, &mut edits);
        Self { decision, edits, provenance }
    }

    /// Does the same if it is unknown which CDN sent the request: decides for each candidate, and adds the tags of
    /// each.
    fn for_each(
        policy: &'d Policy,
        response: Response<'_>,
        edge: Edge<'d>,
        headers: &Headers,
        mut keys: Keys,
    ) -> Self {
        let mut tagged = Vec::with_capacity(edge.dialects.len());
        for dialect in edge.dialects {
            let (fields, mut edits) = (Fields::of(headers, dialect), Edits::default());
            let tags = response.tag(policy, &fields, &mut edits, &mut keys);
            tagged.push((fields, edits, tags));
        }
        let (keys, mut whole) = (Rc::new(keys), None::<Self>);
        for (fields, mut edits, tags) in tagged {
            let (decision, provenance) = response.decide(policy, edge, (tags, &keys), &fields, &mut edits);
            whole = Some(match whole {
                None => Self { decision, edits, provenance },
                Some(mut whole) => {
                    whole.edits.join(edits, fields.dialect());
                    Self { provenance: whole.provenance.or(provenance), ..whole }
                }
            });
        }
        // A site without CDNs has no candidate.
        whole.unwrap_or_else(|| Self {
            decision: Decision { outcome: Outcome::Untouched, reason: Reason::NoCdn },
            edits: Edits::default(),
            provenance: Some(Provenance::of(&keys, None, edge)),
        })
    }
}

/// A response to be decided on, apart from its headers.
#[derive(Clone, Copy)]
struct Response<'a> {
    /// The normalised path.
    path: &'a str,
    /// The canonical path, the same for all spellings.
    canonical: &'a str,
    rule: Option<&'a Rule>,
    request: RequestFacts<'a>,
    status: StatusCode,
}

impl Response<'_> {
    /// Adds the name of the page, if the CDN needs one, and the tags to `edits`, and the tags to `keys`. An error
    /// means that not all tags fit, or that no purge can name one of them.
    fn tag<'d>(
        self,
        policy: &'d Policy,
        fields: &Fields<'_, 'd>,
        edits: &mut Edits<'d>,
        keys: &mut Keys,
    ) -> Result<(), Reason> {
        let dialect = fields.dialect();
        let Self { path, canonical, rule, request, status } = self;
        page_header::write(request.path, canonical, dialect, edits);
        tag_header::write(policy, rule, ([path, canonical], status), fields, (edits, keys))
    }

    /// Decides and writes the lifetimes. Returns the decision and, if the CDN may then keep the response, the facts
    /// that purges need.
    fn decide<'d>(
        self,
        policy: &Policy,
        edge: Edge<'_>,
        (tags, keys): (Result<(), Reason>, &Rc<Keys>),
        fields: &Fields<'_, 'd>,
        edits: &mut Edits<'d>,
    ) -> (Decision, Option<Provenance>) {
        let origin = Origin::read(fields);
        let provenance = Provenance::of(keys, origin.age, edge);
        let is_old = edge.has_purged(&provenance);
        let writer = Writer { policy, dialect: fields.dialect(), origin: &origin, fields, edits };
        let Self { path, rule, request, status, .. } = self;
        let (decision, is_kept) =
            decide((path, rule, status), request, edge.fallback, (tags, is_old), writer);
        (decision, is_kept.then_some(provenance))
    }
}

/// Decides and writes the lifetimes. Also returns whether the CDN may then keep the response.
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
    // If only a rule allows the long lifetime, the origin does not allow it, and the fallback never exceeds what
    // the origin allows.
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
            // For a CDN that cannot be purged, a 304 would renew a stored page, so it must not renew it for long.
            let of_unseen = fallback.filter(|_| reason == Reason::NotModified);
            let of_rule = fallback.filter(|_| overridden && by_status.is_none() && beyond_rules.is_none());
            let short = tags.err().or(of_unseen).or(of_rule);
            let is_disputed = fallback == Some(Reason::CdnInDispute);
            let most = if let Treatment::Row(row) = treatment { row.edge } else { u32::MAX };
            return leave((request, status), (reason, short, most), (is_old, is_disputed), writer);
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

/// Leaves the lifetimes to the origin. Responses that the CDN may keep get a short lifetime instead if they are
/// old, or if there is the reason `short` (then at most `most` seconds). A prohibition is written in a form that
/// the CDN reads.
fn leave(
    (request, status): (RequestFacts<'_>, StatusCode),
    (reason, short, most): (Reason, Option<Reason>, u32),
    (is_old, is_disputed): (bool, bool),
    mut writer: Writer<'_, '_, '_>,
) -> (Decision, bool) {
    let (policy, origin, dialect) = (writer.policy, writer.origin, writer.dialect);
    let kept = kept::as_sent(dialect, request, status, origin, writer.fields);
    let guarded = Decision { outcome: Outcome::Guarded, reason: Reason::Purged };
    let as_it_is = match short {
        // The reason `short` is reported even if the response is then left as it is.
        Some(short) => Decision { outcome: Outcome::Fallback, reason: short },
        None => Decision { outcome: Outcome::Untouched, reason },
    };
    let forbids = origin.forbids_sharing() && !origin.grants_to(dialect);
    // A 304 confirms a stored page and may shorten it, but only the origin can forbid keeping it.
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
        let ttl = if is_told { policy.ttls.fallback } else { policy.ttls.guard };
        writer.fallback(Row::at_most(seconds(ttl).min(most)));
        return (as_it_is, true);
    }
    // A lifetime stored in the CDN's own field would overrule a prohibition that a 304 has in another field. If
    // several CDNs are possible, the prohibition for one of them must not be removed together with the fields that
    // the others must not read.
    let is_overruled = status == StatusCode::NOT_MODIFIED || is_disputed;
    if forbids && (is_overruled || origin.is_obeyed_by(dialect, writer.fields) == Obeyed::No) {
        writer.prohibit();
    } else if only_confirms {
        leave_stored_lifetime(&mut writer);
    }
    (as_it_is, kept.is_some())
}

/// Removes the CDN's own field if it gives no lifetime, because it would replace a stored one that does (RFC 9111
/// §3.2).
fn leave_stored_lifetime(writer: &mut Writer<'_, '_, '_>) {
    let own = writer.fields.own_ttl;
    let decides = writer.origin.targeted.is_some_and(|targeted| targeted.field == own);
    if own != Field::CacheControl && !decides && writer.fields.has(own) {
        writer.edits.remove(own.of_dialect(writer.dialect));
    }
}
