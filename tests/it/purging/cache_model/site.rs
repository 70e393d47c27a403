//! The site of the model: configurations as a file has them, compiled by the program.

use super::habits::{self, Habits};
use crate::harness::site::Site;
use origin_shim::config::{self, Config, Mode};
use origin_shim::metrics::Metrics;
use origin_shim::proxy::Shared;
use origin_shim::proxy::routing::Routing;
use origin_shim::rewrite::CdnType;
use origin_shim::view::PurgeHealthView;
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Lifetimes of the site's `[sites.cache]`, in seconds.
pub const EDGE: u64 = 172_800;
pub const FALLBACK: u64 = 300;
pub const NOT_FOUND: u64 = 240;
pub const GUARD_MS: i64 = 1_000;
pub const MARGIN_MS: i64 = 500;

/// A CDN of the model.
#[derive(Debug)]
pub struct Kind {
    pub cdn: CdnType,
    pub habits: &'static Habits,
    settings: &'static str,
    /// The fields that it adds to each request, by which it can be recognised without `X-BYO-CDN-Type`.
    pub traces: &'static [(&'static str, &'static str)],
    /// Whether it drops the traces that a visitor sends.
    pub drops_traces: bool,
}

pub static KINDS: [Kind; 7] = [
    Kind {
        cdn: CdnType::Fastly,
        habits: &habits::FASTLY,
        settings: "type = \"fastly\"\nservice_id = \"S\"\nauth_token = \"literal:t\"",
        traces: &[("cdn-loop", "Fastly"), ("via", "1.1 varnish")],
        drops_traces: false,
    },
    Kind {
        cdn: CdnType::Varnish,
        habits: &habits::VARNISH,
        settings: "type = \"varnish\"\napi_urls = [\"http://127.0.0.1:6081\"]",
        traces: &[("via", "1.1 varnish")],
        drops_traces: true,
    },
    Kind {
        cdn: CdnType::Cloudflare,
        habits: &habits::CLOUDFLARE,
        settings: "type = \"cloudflare\"\nzone_id = \"z\"\napi_token = \"literal:t\"",
        traces: &[("cdn-loop", "cloudflare")],
        drops_traces: false,
    },
    Kind {
        cdn: CdnType::Cloudfront,
        habits: &habits::CLOUDFRONT,
        settings: "type = \"cloudfront\"\ndistribution_id = \"E\"\naccess_key_id = \"A\"\nsecret_access_key = \"literal:t\"\n\
                   tag_header = \"Cache-Tag\"",
        traces: &[("via", "1.1 x.cloudfront.net (CloudFront)")],
        drops_traces: false,
    },
    Kind {
        cdn: CdnType::Akamai,
        habits: &habits::AKAMAI,
        settings: AKAMAI,
        traces: &[("via", "1.1 akamai.net(ghost) (AkamaiGHost)")],
        drops_traces: false,
    },
    Kind {
        cdn: CdnType::Akamai,
        habits: &habits::STUBBORN_AKAMAI,
        settings: AKAMAI,
        traces: &[("via", "1.1 akamai.net(ghost) (AkamaiGHost)")],
        drops_traces: false,
    },
    Kind {
        cdn: CdnType::Cloudfront,
        habits: &habits::BARE_CLOUDFRONT,
        settings: "type = \"cloudfront\"\ndistribution_id = \"E\"\naccess_key_id = \"A\"\nsecret_access_key = \"literal:t\"",
        traces: &[("via", "1.1 x.cloudfront.net (CloudFront)")],
        drops_traces: false,
    },
];

const AKAMAI: &str = "type = \"akamai\"\nendpoint = \"x.purge.akamaiapis.net\"\nclient_token = \"literal:t\"\n\
                      client_secret = \"literal:t\"\naccess_token = \"literal:t\"\ncp_codes = [1]";

/// The variable part of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Choice {
    /// Indices into [`KINDS`].
    pub cdns: (usize, Option<usize>),
    pub mode: u8,
    /// Whether conditional requests reach the origin.
    pub passes_conditions: bool,
    /// Whether browsers get a fixed lifetime, which only a fault does.
    pub fixed_browser: bool,
}

impl Choice {
    pub fn kinds(self) -> Vec<&'static Kind> {
        let (first, second) = self.cdns;
        let first = &KINDS[first];
        let second = second.map(|second| &KINDS[second]).filter(|second| second.cdn != first.cdn);
        std::iter::once(first).chain(second).collect()
    }
}

/// A configuration as both planes have it.
#[derive(Debug)]
pub struct Compiled {
    pub config: Arc<config::Site>,
    routing: Routing,
    health: Arc<PurgeHealthView>,
}

impl Compiled {
    /// Compiles a choice, one time per thread.
    pub fn of(choice: Choice) -> Rc<Self> {
        thread_local! {
            static KNOWN: RefCell<HashMap<Choice, Rc<Compiled>>> = RefCell::default();
        }
        KNOWN.with_borrow_mut(|known| {
            Rc::clone(known.entry(choice).or_insert_with(|| Rc::new(Self::compile(choice))))
        })
    }

    fn compile(choice: Choice) -> Self {
        let mode = ["on", "observe", "off"][usize::from(choice.mode)];
        let conditional = if choice.passes_conditions { "pass" } else { "strip" };
        let browser = if choice.fixed_browser { "2h" } else { "origin" };
        let mut site = Site::named("www")
            .host("www.example.com")
            .origin("origin.test")
            .keys(&format!("mode = \"{mode}\""))
            .cache(&format!(
                "conditional = \"{conditional}\"\nbrowser_ttl = \"{browser}\"\nedge_ttl = \"{EDGE}s\"\n\
                 fallback_ttl = \"{FALLBACK}s\"\nnot_found_ttl = \"{NOT_FOUND}s\"\nguard_ttl = \"{GUARD_MS}ms\"\n\
                 follow_up_margin = \"{MARGIN_MS}ms\""
            ))
            .tables("[sites.tags]\nsections = 1");
        for kind in choice.kinds() {
            site = site.cdn(kind.settings);
        }
        let text = site.to_string();
        let config = Config::parse(&text, Path::new("model.toml"), &|_| None)
            .unwrap_or_else(|e| panic!("{e}\n{text}"));
        let health = Arc::new(PurgeHealthView::default());
        let shared = Shared::new(&config, Arc::new(Metrics::new(1)), Arc::clone(&health)).unwrap();
        let routing = shared.compile(&config).unwrap();
        assert_eq!(config.sites[0].follow_up_margin, Duration::from_millis(MARGIN_MS as u64));
        Self { config: Arc::clone(&config.sites[0]), routing, health }
    }

    /// Returns the site as the request path has it.
    pub fn site(&self) -> &origin_shim::proxy::routing::Site {
        self.routing.site(0)
    }

    pub fn is_on(&self) -> bool {
        self.config.mode == Mode::On
    }

    /// Sets whether the request path considers the CDNs healthy.
    pub fn set_healthy(&self, healthy: bool) {
        for cdn in &self.config.cdns {
            self.health.cell("www", &cdn.name).set(healthy);
        }
    }
}
