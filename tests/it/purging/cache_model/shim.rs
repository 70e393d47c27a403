//! The real shim for the model: opt-in, rewriting, guard and register are those of the program. The model adds
//! only the [`Fault`]s, each of which undoes one correction at this boundary.

use super::faults::Fault;
use super::fields::{Fields, first};
use super::site::Compiled;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use origin_shim::config::Mode;
use origin_shim::guard::in_flight::{InFlight, Response, Waiting};
use origin_shim::http::head::Headers;
use origin_shim::http::hop;
use origin_shim::proxy::fields::KeyFields;
use origin_shim::proxy::opt_in::{self, Caller};
use origin_shim::rewrite::{
    Asked, CdnType, Decision, Guard, Outcome, Provenance, Purged, RequestFacts, rewrite,
};
use std::net::{IpAddr, Ipv4Addr};

/// The shim's version of a response.
pub struct Answer {
    pub fields: Fields,
    pub decision: Option<Decision>,
    /// The response for the register, or `None` if the CDN will not keep it.
    pub response: Option<Response>,
}

/// One process, whose state survives reloads.
#[derive(Default)]
pub struct Shim {
    pub purged: Purged,
    pub in_flight: InFlight,
    pub fault: Option<Fault>,
}

/// A request as the CDN sent it.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    pub query: Option<String>,
    pub fields: Fields,
    pub began_ms: i64,
}

const METHOD: Method = Method::GET;
const CALLER: Caller = Caller { address: IpAddr::V4(Ipv4Addr::LOCALHOST), certified: false };

pub fn headers(fields: &Fields) -> Headers {
    let line = |(name, value): &(String, String)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
    };
    fields.iter().map(line).collect()
}

fn text(headers: &Headers) -> Fields {
    headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
}

impl Shim {
    /// Returns a shim that has just started.
    pub fn new(fault: Option<Fault>) -> Self {
        Self { fault, ..Self::default() }
    }

    /// Whether the CDN's conditions are withheld from the origin.
    pub fn withholds_conditions(&self, compiled: &Compiled, request: &Request) -> bool {
        let (site, fields) = (compiled.site(), headers(&request.fields));
        let withholds =
            opt_in::decide(site, CALLER, &KeyFields::of(&fields)).withholds_conditions(site, &METHOD);
        withholds && self.fault != Some(Fault::NotModifiedAsPage)
    }

    /// Rewrites a response on its way back.
    pub fn answer(&mut self, compiled: &Compiled, request: &Request, status: u16, said: &Fields) -> Answer {
        let fault = self.fault;
        let site = compiled.site();
        let mut asked = headers(&request.fields);
        let mut from_origin = said.clone();
        if let Some(fault) = fault.filter(|_| compiled.is_on()) {
            fault.before(&mut from_origin);
            if fault == Fault::TracesFirst && !believe_first_trace(compiled, &mut asked) {
                return Answer { fields: from_origin, decision: None, response: None };
            }
        }
        let key_fields = KeyFields::of(&asked);
        let opt_in = opt_in::decide(site, CALLER, &key_fields);
        let mut response = headers(&from_origin);
        hop::strip_response(&mut response, |name| site.edges.reads(name));
        let before = response.clone();
        let (Mode::On, Ok(edge)) = (site.mode, opt_in.edge) else {
            return Answer { fields: text(&response), decision: None, response: None };
        };
        let asked = match fault {
            Some(Fault::RedirectFactsWithheld) => Asked { host: "elsewhere.example.com", ..Asked::default() },
            _ => Asked { scheme: None, host: "www.example.com", query: request.query.as_deref() },
        };
        let facts = RequestFacts {
            method: &METHOD,
            path: &request.path,
            authorization: key_fields.authorization,
            bound: false,
            cookie: key_fields.cookie,
            asked,
        };
        let guard = Guard { purged: &self.purged, began_ms: request.began_ms };
        let guarded = origin_shim::rewrite::Edge { guard: Some(guard), ..edge };
        let status = StatusCode::from_u16(status).unwrap();
        let as_page = fault == Some(Fault::NotModifiedAsPage) && status == StatusCode::NOT_MODIFIED;
        let taken_for = if as_page { StatusCode::OK } else { status };
        let (mut decision, mut provenance) = rewrite(&site.policy, facts, guarded, taken_for, &mut response);

        if let Some(fault) = fault {
            let mut unguarded = before.clone();
            let nothing = Purged::default();
            let blind = Guard { purged: &nothing, began_ms: request.began_ms };
            let edge = origin_shim::rewrite::Edge { guard: Some(blind), ..edge };
            let (without, _) = rewrite(&site.policy, facts, edge, taken_for, &mut unguarded);
            if fault.overlooks(decision, without, &before) {
                (decision, response) = (without, unguarded.clone());
                if fault.forgets(without) {
                    provenance = None;
                }
            } else if fault.forgets(without) {
                provenance = None;
            }
            if fault == Fault::UnseenWithoutTags && status == StatusCode::NOT_MODIFIED {
                let mut page = before.clone();
                let (_, known) = rewrite(&site.policy, facts, guarded, StatusCode::OK, &mut page);
                if let Some(known) = &known
                    && !self.purged.covers(&known.keys, known.generated_ms)
                {
                    (decision, response) = (without, unguarded);
                }
                provenance = provenance.and(known);
            }
            fault.after(decision, &before, &mut response, request);
            if fault == Fault::LenientAge && response.contains("age") {
                // The CDN reads the origin's own value.
                let said = first(said, "age").unwrap_or_default();
                response.insert(&http::header::AGE, &HeaderValue::from_str(said).unwrap());
            }
        }
        let cdns: Vec<CdnType> = edge.dialects.iter().map(|dialect| dialect.cdn).collect();
        let of = |provenance: Provenance| Response {
            site: 0,
            cdns: cdns.iter().copied().collect(),
            untagged: false,
            margin_ms: site.follow_up_margin_ms,
            provenance,
            waiting: Waiting::default(),
        };
        let is_told = fault != Some(Fault::NoRegister);
        let response_told = provenance.filter(|_| is_told).map(of);
        Answer { fields: text(&response), decision: Some(decision), response: response_told }
    }
}

/// As before: whatever trace comes first names the CDN, and one that the site lacks is answered as if nobody had
/// asked. Whether the response is rewritten.
fn believe_first_trace(compiled: &Compiled, asked: &mut Headers) -> bool {
    let has = |name: &str, word: &str| {
        asked.get_all(name).any(|value| value.to_str().is_some_and(|v| v.to_ascii_lowercase().contains(word)))
    };
    let traces = [
        (CdnType::Akamai, has("via", "akamai")),
        (CdnType::Fastly, has("cdn-loop", "fastly")),
        (CdnType::Cloudflare, has("cdn-loop", "cloudflare") || asked.contains("cf-worker")),
        (CdnType::Cloudfront, has("via", "cloudfront")),
    ];
    let Some((cdn, _)) = traces.into_iter().find(|(_, seen)| *seen) else { return true };
    asked.insert(&opt_in::CDN_TYPE, &HeaderValue::from_static(cdn.as_str()));
    compiled.site().edges.has(cdn)
}

/// Whether the response gives no lifetime.
pub fn says_no_lifetime(headers: &Headers) -> bool {
    !headers.iter().any(|(name, value)| {
        name == "expires"
            || name.ends_with("control") && value.to_str().is_some_and(|v| v.contains("max-age"))
    })
}

/// Whether the decision leaves the response untouched.
pub fn is_untouched(decision: Decision) -> bool {
    decision.outcome == Outcome::Untouched
}
