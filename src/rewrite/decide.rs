//! The decision: what a response gets, and why. The order of the checks is the order of their importance.

use super::edits::Edits;
use super::field::Field;
use super::fields::Fields;
use super::kept::{self, Kept};
use super::origin::{Obeyed, Origin};
use super::outcome::{Decision, Outcome, Reason};
use super::policy::BrowserTtl;
use super::redirect::Asked;
use super::table::{self, Row, Treatment};
use super::write::Writer;
use super::{Dialect, Guard, Keys, Policy, Rule, never, page_header, path, spelling, tag_header};
use crate::http::head::Headers;
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
    /// Whether that authenticates the connection instead of the request (RFC 4559 §6). No rule can make the answer anybody
    /// else's.
    pub bound: bool,
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
/// can name, and a lifetime targeted at a CDN that reads it from `Cache-Control`.
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
        let canonical = spelling::of_normal(&path);
        let response =
            Response { path: &path, canonical: &canonical, rule: policy.rule(&path), request, status };
        let mut keys = Keys::default();
        keys.of_page(&canonical);
        let [dialect] = edge.dialects else { return Self::for_each(policy, response, edge, headers, keys) };
        let (fields, mut edits) = (Fields::of(headers, dialect), Edits::default());
        let tags = response.tag(policy, &fields, &mut edits, &mut keys);
        let keys = Rc::new(keys);
        let (verdict, age) = response.decide(policy, edge, (tags, &keys), &fields, &mut edits);
        (verdict.with(edits, keys), age)
    }

    /// The same where it is not known which CDN asked: for each that it may have been, and so with the tags of each.
    fn for_each(
        policy: &Policy,
        response: Response<'_>,
        edge: Edge<'_>,
        headers: &Headers,
        mut keys: Keys,
    ) -> (Self, Option<u32>) {
        let mut tagged = Vec::with_capacity(edge.dialects.len());
        for dialect in edge.dialects {
            let (fields, mut edits) = (Fields::of(headers, dialect), Edits::default());
            let tags = response.tag(policy, &fields, &mut edits, &mut keys);
            tagged.push((fields, edits, tags));
        }
        let (keys, mut whole, mut age) = (Rc::new(keys), None::<Self>, None);
        for (fields, mut edits, tags) in tagged {
            let (verdict, seconds) = response.decide(policy, edge, (tags, &keys), &fields, &mut edits);
            age = seconds;
            whole = Some(match whole {
                None => verdict.with(edits, Rc::clone(&keys)),
                Some(mut whole) => {
                    whole.edits.join(edits, fields.dialect());
                    Self { kept: whole.kept || verdict.kept, lasts: false, ..whole }
                }
            });
        }
        // Where there is no CDN nothing can be said to any.
        let nobodys = || {
            let decision = Decision { outcome: Outcome::Untouched, reason: Reason::NoCdn };
            Verdict { decision, kept: true, lasts: false }.with(Edits::default(), keys)
        };
        (whole.unwrap_or_else(nobodys), age)
    }

    /// The same for who keeps it.
    pub(super) fn lasting(self) -> Self {
        Self { edits: self.edits.lasting(), ..self }
    }

    /// What purges need to know of the response if it is of this age; nothing where the CDN will not keep it.
    pub(super) fn provenance(&self, age: Option<u32>, edge: Edge<'_>) -> Option<Provenance> {
        self.kept.then(|| Provenance::of(&self.keys, age, edge))
    }

    /// The same where no purge covers it; else it has to be decided anew.
    pub(super) fn if_not_purged(&self, age: Option<u32>, edge: Edge<'_>) -> Option<Option<Provenance>> {
        let provenance = Provenance::of(&self.keys, age, edge);
        (!edge.has_purged(&provenance)).then(|| self.kept.then_some(provenance))
    }
}

/// What was decided, besides the edits.
struct Verdict {
    decision: Decision,
    kept: bool,
    lasts: bool,
}

impl Verdict {
    fn with(self, edits: Edits, keys: Rc<Keys>) -> Rewriting {
        let Self { decision, kept, lasts } = self;
        Rewriting { decision, edits, keys, kept, lasts }
    }
}

/// A response of which something is to be decided, apart from what its headers say.
#[derive(Clone, Copy)]
struct Response<'a> {
    /// Normalised.
    path: &'a str,
    /// The same, whatever its spelling.
    canonical: &'a str,
    rule: Option<&'a Rule>,
    request: RequestFacts<'a>,
    status: StatusCode,
}

impl Response<'_> {
    /// Names the page and its tags to the CDN; an error means that the tags do not fit.
    fn tag(
        self,
        policy: &Policy,
        fields: &Fields<'_, '_>,
        edits: &mut Edits,
        keys: &mut Keys,
    ) -> Result<(), Reason> {
        let dialect = fields.dialect();
        let Self { path, canonical, rule, request, status } = self;
        page_header::write(request.path, canonical, dialect, edits);
        tag_header::write(policy, rule, ([path, canonical], status), fields, (edits, keys))
    }

    fn decide(
        self,
        policy: &Policy,
        edge: Edge<'_>,
        (tags, keys): (Result<(), Reason>, &Rc<Keys>),
        fields: &Fields<'_, '_>,
        edits: &mut Edits,
    ) -> (Verdict, Option<u32>) {
        let origin = Origin::read(fields);
        let is_old = edge.has_purged(&Provenance::of(keys, origin.age, edge));
        let writer = Writer { policy, dialect: fields.dialect(), origin: &origin, fields, edits };
        let Self { path, rule, request, status, .. } = self;
        let (decision, kept) = decide((path, rule, status), request, edge.fallback, (tags, is_old), writer);
        let lasts = self.lasts(policy, &origin, decision.outcome);
        (Verdict { decision, kept, lasts }, origin.age)
    }

    /// Whether the same response to the same request is rewritten alike at any time and of any age.
    fn lasts(self, policy: &Policy, origin: &Origin, outcome: Outcome) -> bool {
        let Self { rule, request, status, .. } = self;
        // The origin's own lifetime shrinks with the age of the response, and dates are of a moment.
        let browser_ttl = rule.and_then(|rule| rule.browser_ttl).unwrap_or(policy.ttls.browser);
        let is_of_its_age = match outcome {
            Outcome::Fallback => origin.age.is_some(),
            Outcome::Lengthened => origin.age.is_some() && browser_ttl == BrowserTtl::Origin,
            Outcome::Untouched => false,
            Outcome::Guarded => true,
        };
        // Of a redirect the whole URL matters, and of other methods their name.
        let is_get = matches!(*request.method, Method::GET | Method::HEAD);
        is_get && !status.is_redirection() && !is_of_its_age && origin.expires.is_none()
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

/// Leaves the lifetimes to the origin, unless the CDN may keep the response although that cannot be: because it is old, or
/// for the reason `short`, and then for at most `most` seconds. What forbids to keep it is said so that the CDN reads it.
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
        let ttl = if is_told { policy.ttls.fallback } else { policy.ttls.guard };
        writer.fallback(Row::at_most(table::seconds(ttl).min(most)));
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
