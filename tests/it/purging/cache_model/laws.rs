//! The laws that the caches must keep. They follow from the origin's intent, never from reports of the code
//! under test.

use super::exchange::{Body, Flight, Said};
use super::fields::{Directives, Fields, expires, has};
use super::origin::{AgeForm, MANY, Sharing};
use super::site::{EDGE, FALLBACK, GUARD_MS, NOT_FOUND};
use super::world::{Lawful, World};

/// The limit of a copy's lifetime.
#[derive(Clone, Debug, Default)]
pub struct Limit {
    pub seconds: u64,
    /// Whether the copy must be kept for exactly this long, because everything is healthy and nothing forbids
    /// it.
    pub exactly: bool,
    /// Whether the shim left the response untouched because it answers one visitor's own request.
    pub is_somebodys: bool,
    /// The law that a longer lifetime would break.
    law: &'static str,
    /// Seconds for which this CDN would keep the copy without a shim.
    by_itself: u64,
    /// Seconds for which the copy may be kept if it is rewritten.
    if_rewritten: u64,
    /// Seconds that its stored fields may give it anew, when a response without an age confirms it.
    anew: u64,
}

impl Limit {
    /// Returns the limit of a copy that the shim never rewrote, when a response confirms it, perhaps one with
    /// tags.
    pub fn of_untagged(self, is_tagged_now: bool) -> Self {
        // The confirming response may be guarded, whether or not it repeats the lifetime.
        let most = if is_tagged_now { u64::MAX } else { GUARD_MS as u64 / 1_000 };
        let rewritten = self.if_rewritten.min(most);
        Self { seconds: self.by_itself.max(rewritten), exactly: false, ..self }
    }

    /// Whether the response must not be shared at all.
    pub fn forbids(&self) -> bool {
        self.law == PRIVATE
    }

    /// Returns the limit of a rewritten copy that is confirmed while nothing is rewritten.
    pub fn or_of_untagged(self, now: &Self) -> Self {
        let seconds = self.seconds.max(self.anew).max(now.by_itself).max(now.if_rewritten);
        Self { seconds, exactly: false, ..self }
    }
}

const LIFETIMES: &str = "law 2: kept for longer than allowed";
const PRIVATE: &str = "law 3: shared although the origin forbids it";
const LOOP: &str = "law 4: a redirect to itself, kept beyond what the origin said";

/// Returns how long the CDN may keep a response that leaves now.
pub fn limit(world: &World, flight: &Flight, said: &Said) -> Limit {
    let rewritten = of_rewritten(world, flight, said);
    if flight.compiled.is_on() {
        return rewritten;
    }
    // A 304 need not repeat the fields that make a page private, and then its lifetime takes effect.
    let is_confirmed = said.status == 304;
    let told = flight.body.sample.edge.filter(|_| is_confirmed).unwrap_or(0);
    let by_itself = rewritten.by_itself.max(told);
    Limit { seconds: by_itself, exactly: false, law: LIFETIMES, by_itself, ..rewritten }
}

/// Does the same for a site that rewrites responses. Responses that the shim does not lengthen may be kept for
/// as long as this CDN would keep them without a shim.
fn of_rewritten(world: &World, flight: &Flight, said: &Said) -> Limit {
    let kind = world.kinds[flight.cdn];
    let (habits, body, sample) = (kind.habits, &flight.body, flight.body.sample);
    // A visitor whose request revalidates a copy does not make the page their own.
    let nobody = Fields::new();
    let visitor = if said.status == 304 { &nobody } else { &flight.visitor };
    let by_itself = habits.keeps_for(visitor, sample.status, &said.whole).unwrap_or(0);
    let ageless: Fields = said.whole.iter().filter(|(name, _)| name != "age").cloned().collect();
    let targeted = sample.edge.filter(|_| sample.is_targeted).unwrap_or(0);
    let anew = habits.keeps_for(visitor, sample.status, &ageless).unwrap_or(0).max(targeted);
    let of_errors = if sample.status >= 400 { habits.error_seconds } else { 0 };
    let at_most = |seconds: u64, law| {
        let seconds = seconds.max(of_errors);
        Limit { seconds, law, by_itself, if_rewritten: seconds, anew, ..Limit::default() }
    };
    // A page whose lifetime is not repeated can still be guarded.
    let of_guard = if said.status == 304 { GUARD_MS as u64 / 1_000 } else { 0 };
    let is_forbidden = match sample.sharing {
        Sharing::Free => false,
        Sharing::ForbiddenBut(allowed) => !allowed.contains(&kind.cdn),
        Sharing::Forbidden => true,
    };
    if is_forbidden {
        // A property that is configured to ignore `Cache-Control` does so with or without a shim.
        let stubborn = by_itself.max((habits.default_seconds)(sample.status).unwrap_or(0));
        // A 304 does not repeat the prohibition either, for a page that was stored while nothing was rewritten.
        return at_most(if habits.reads_cache_control { of_guard } else { stubborn.max(of_guard) }, PRIVATE);
    }
    let at_most = |seconds: u64, law| at_most(seconds.max(of_guard), law);
    if sample.status >= 500 {
        return at_most(0, LIFETIMES);
    }
    // An age that no cache can read has no effect, whoever passes it on.
    let readable = said.age.filter(|(_, form)| !matches!(form, AgeForm::Signed));
    let age = readable.map_or(0, |(seconds, _)| seconds);
    let fallback = sample.edge.map_or(FALLBACK, |edge| edge.saturating_sub(age)).min(FALLBACK);
    let fits = body.page != MANY || habits.tag_header.is_none();
    let needs_public = has(visitor, "authorization") && !sample.is_said_to_be_shared();
    let needs_lifetime = has(visitor, "cookie") && sample.edge.unwrap_or(0) == 0;
    if !sample.may_be_long || needs_public || needs_lifetime || sample.edge == Some(0) {
        // A copy may be guarded, or get the fallback, even if the CDN would choose another lifetime.
        let least = if fits && world.healthy { GUARD_MS as u64 / 1_000 } else { fallback };
        let law = if sample.status == 301 { LOOP } else { LIFETIMES };
        let is_somebodys = needs_public || needs_lifetime;
        return Limit { is_somebodys, ..at_most(by_itself.max(least), law) };
    }
    let row = if sample.status == 404 { NOT_FOUND } else { EDGE };
    let shares_field = habits.targeted.is_empty() && said.status == 304;
    if !fits && world.healthy && shares_field {
        // Where browsers and CDN share a field a 304 may bring back the origin's own lifetime, and nobody saw the
        // tags.
        return at_most(fallback.min(row).max(by_itself), LIFETIMES);
    }
    if !fits || !world.healthy {
        return at_most(fallback.min(row), LIFETIMES);
    }
    if sample.is_targeted {
        return at_most(sample.edge.unwrap_or(0).saturating_sub(age), LIFETIMES);
    }
    let is_past_cache =
        habits.passes_credentials && (has(visitor, "cookie") || has(visitor, "authorization"));
    // Some tags of a page with too many are unknown, so any purge may cover it.
    let exactly = sample.status == 200
        && body.page != MANY
        && world.setup.names
        && !shares_field
        && !is_past_cache
        && !world.purges.iter().any(|purge| purge.may_cover(body))
        // A page that was only confirmed may have any tag, and its confirmation may be as old as its `Age`.
        && !(said.status == 304
            && (said.age.is_some() || world.purges.iter().any(|purge| purge.may_be_later(flight))));
    Limit { exactly, ..at_most(row, LIFETIMES) }
}

/// Law 2 for browsers: what nobody can purge has the origin's own lifetime, never a longer one; nor a shorter one,
/// where all is well.
pub fn browsers(flight: &Flight, said: &Said, sent: &Fields) -> Lawful {
    if said.status == 304 || !flight.compiled.is_on() {
        return Ok(());
    }
    let lifetime = |fields: &Fields| {
        let said = Directives::of(fields, "cache-control");
        let forbids = |said: &Directives| ["no-store", "no-cache"].iter().any(|word| said.has(word));
        match &said {
            Some(said) if forbids(said) => 0,
            Some(said) => said.seconds("max-age").or_else(|| expires(fields)).unwrap_or(0),
            None => expires(fields).unwrap_or(0),
        }
    };
    let allowed = flight.body.sample.browser.unwrap_or(0).max(lifetime(&said.whole));
    let got = lifetime(sent);
    if got > allowed {
        return Err(format!(
            "law 2: a browser keeps it for {got} s, and the origin said {allowed} s: {sent:?}"
        ));
    }
    Ok(())
}

/// Laws 2, 3 and 4 for a copy that has just come or was confirmed; `before_ms` is for how long it was kept before
/// that.
pub fn kept(body: &Body, before_ms: Option<i64>, name: &str) -> Lawful {
    let (limit, kept_ms) = (&body.limit, body.kept_ms);
    let most_ms = limit.seconds as i64 * 1_000;
    if kept_ms > most_ms {
        return Err(format!("{} ({name}: {kept_ms} ms, allowed {most_ms} ms)", limit.law));
    }
    let was_long = before_ms.is_none_or(|before_ms| before_ms == most_ms);
    if limit.exactly && was_long && kept_ms < most_ms {
        return Err(format!("law 2: a long lifetime is lost ({name}: {kept_ms} ms, expected {most_ms} ms)"));
    }
    Ok(())
}

/// Law 1: what is older than a purge that is done is not served, but for the moment that the guard allows to what
/// comes late.
pub fn hold(world: &World) -> Lawful {
    for (cache, kind) in world.caches.iter().zip(&world.kinds) {
        for copy in cache.copies.iter().filter(|copy| copy.is_fresh(world.now_ms)) {
            let body = &copy.body;
            let of_errors = if copy.status >= 400 { kind.habits.error_seconds as i64 * 1_000 } else { 0 };
            for (number, purge) in world.purges.iter().enumerate() {
                let Some(done_ms) = purge.done_ms else { continue };
                // Tags that do not fit cannot be purged, which is the reason for the fallback.
                let fits = body.page != MANY || !purge.is_of_tag();
                let of_fallback = if fits { 0 } else { FALLBACK as i64 * 1_000 };
                let grace_ms = GUARD_MS.max(of_errors).max(of_fallback);
                let is_over = world.now_ms > done_ms.max(copy.stored_ms) + grace_ms;
                // Responses in mode `observe` are not guarded, because nothing is changed.
                let counts = body.is_guarded || copy.stored_ms < purge.accepted_ms;
                if body.generated_ms <= purge.accepted_ms && is_over && counts && purge.covers(body) {
                    return Err(format!(
                        "law 1: {} still serves {}, which is older than purge {number}, done {} ms ago",
                        kind.habits.name,
                        copy.target,
                        world.now_ms - done_ms
                    ));
                }
            }
        }
    }
    Ok(())
}
