//! The properties of `cdn.prod` in AEM's schema, and their counterparts here.

use super::Variable;
use super::entries::Entry;
use super::error::Problem;
use serde_json::Value;

/// The state of reading AEM's file: the entries not read yet, and the messages so far.
pub(super) struct Imports {
    entries: Vec<Entry>,
    pub(super) problems: Vec<Problem>,
    pub(super) notes: Vec<String>,
    pub(super) variables: Vec<Variable>,
}

/// The note on parts of a site's configuration that do not concern its CDN and are not needed here.
const OTHER_PARTS: &str = "not about the CDN, so left out";

impl Imports {
    pub(super) fn new(entries: Vec<Entry>) -> Self {
        Self { entries, problems: Vec::new(), notes: Vec::new(), variables: Vec::new() }
    }

    /// Takes the entry with this key.
    pub(super) fn take(&mut self, key: &[&str]) -> Option<Entry> {
        let index = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(index))
    }

    /// Takes every entry whose key starts with this one.
    pub(super) fn take_below(&mut self, key: &[&str]) -> Vec<Entry> {
        let is_below = |entry: &mut Entry| {
            entry.key.len() > key.len() && entry.key.iter().zip(key).all(|(part, wanted)| part == wanted)
        };
        self.entries.extract_if(.., is_below).collect()
    }

    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    pub(super) fn wrong(&mut self, entry: &Entry, message: impl Into<String>) {
        self.problems.push(Problem::new(entry.line, entry.name(), message));
    }

    /// Takes a text of `cdn.prod`; `None` if it is absent or empty.
    fn text(&mut self, name: &str) -> Option<String> {
        let entry = self.take(&["cdn", "prod", name])?;
        match &entry.value {
            Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            // A sheet took an id of digits for a number.
            Value::Number(number) if number.is_u64() => Some(number.to_string()),
            _ => {
                self.wrong(&entry, "must be a string");
                None
            }
        }
    }

    /// Takes a text that AEM's schema requires for this type. Without it, AEM itself skips every purge
    /// silently.
    fn required(&mut self, name: &str, cdn_type: &str) -> String {
        let wrong_before = self.problems.len();
        let text = self.text(name);
        if text.is_none() && self.problems.len() == wrong_before {
            let message = format!("is required for the type {cdn_type}; without it AEM purges nothing");
            self.problems.push(Problem::new(None, format!("cdn.prod.{name}"), message));
        }
        text.unwrap_or_default()
    }

    /// Takes a secret, which is required, and names an environment variable for it.
    fn secret(&mut self, name: &str, cdn_type: &str, variable: &'static str) -> &'static str {
        self.required(name, cdn_type);
        self.variables.push(Variable { name: variable, holds: format!("cdn.prod.{name}") });
        variable
    }

    fn flag(&mut self, name: &str) -> bool {
        let Some(entry) = self.take(&["cdn", "prod", name]) else { return false };
        match &entry.value {
            Value::Bool(flag) => *flag,
            Value::String(text) if text.eq_ignore_ascii_case("true") => true,
            Value::String(text) if text.eq_ignore_ascii_case("false") || text.is_empty() => false,
            _ => {
                self.wrong(&entry, "must be true or false");
                false
            }
        }
    }

    /// Adds notes that name the entries that were not read, without their values.
    pub(super) fn mention_the_rest(&mut self) {
        for entry in self.take_below(&["cdn", "prod"]) {
            self.note(format!("{}: not a property that AEM knows for this type; left out", entry.name()));
        }
        for entry in self.take_below(&["cdn"]) {
            self.note(format!("{}: a host of AEM's own tools, which need no counterpart", entry.name()));
        }
        let mut parts: Vec<_> =
            self.entries.drain(..).filter_map(|entry| entry.key.into_iter().next()).collect();
        parts.sort_unstable();
        parts.dedup();
        if !parts.is_empty() {
            self.note(format!("{}: {OTHER_PARTS}", parts.join(", ")));
        }
    }
}

/// A production CDN in the shim's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cdn {
    /// The host; empty if none is given.
    pub(super) host: String,
    pub(super) settings: Settings,
}

/// The keys of `[[sites.cdns]]`; secrets are names of environment variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Settings {
    Fastly {
        service_id: String,
        auth_token: &'static str,
    },
    Akamai {
        endpoint: String,
        client_token: &'static str,
        client_secret: &'static str,
        access_token: &'static str,
    },
    Cloudflare {
        zone_id: String,
        api_token: &'static str,
        plan: Option<String>,
    },
    Cloudfront {
        distribution_id: String,
        access_key_id: String,
        secret_access_key: &'static str,
        tags: bool,
    },
    /// No CDN that the shim could purge.
    None,
}

/// Reads `cdn.prod`; `None` if AEM does not know its type.
pub(super) fn read(imports: &mut Imports) -> Option<Cdn> {
    let type_entry = imports.take(&["cdn", "prod", "type"]);
    let cdn_type = match type_entry.as_ref().map(|entry| &entry.value) {
        None => "",
        Some(Value::String(text)) => text.trim(),
        Some(_) => "?",
    };
    let settings = match cdn_type {
        "fastly" => fastly(imports),
        "akamai" => akamai(imports),
        "cloudflare" => cloudflare(imports),
        "cloudfront" => cloudfront(imports),
        "managed" => managed(imports),
        "" => {
            imports.note("cdn.prod.type: absent, so AEM purges no CDN; the site becomes a plain proxy");
            Settings::None
        }
        _ => {
            if let Some(entry) = &type_entry {
                imports.wrong(entry, "must be fastly, akamai, cloudflare, cloudfront or managed");
            }
            return None;
        }
    };
    let host = host(imports);
    if let Some(route) = imports.take(&["cdn", "prod", "route"]) {
        let count = match &route.value {
            Value::Array(routes) => routes.len(),
            _ => 1,
        };
        imports.note(format!(
            "cdn.prod.route: no equivalent ({count} given). It tells AEM which paths the CDN takes from it; here the CDN's own \
             configuration decides what it asks the shim for"
        ));
    }
    Some(Cdn { host, settings })
}

/// Reads a bare DNS name, which may be empty if there is a type.
fn host(imports: &mut Imports) -> String {
    let Some(entry) = imports.take(&["cdn", "prod", "host"]) else {
        imports.note(
            "cdn.prod.host: absent; the site serves every host. Name those that visitors use in `hosts`",
        );
        return String::new();
    };
    let Value::String(host) = &entry.value else {
        imports.wrong(&entry, "must be a string");
        return String::new();
    };
    let host = host.trim().to_ascii_lowercase();
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_aems = [".aem.live", ".aem.page", ".aem.reviews", ".aem.network"]
        .iter()
        .any(|ending| host.strip_suffix(ending).is_some_and(|names| names.matches("--").count() >= 2));
    if host.is_empty() {
        imports.note(
            "cdn.prod.host: empty; the site serves every host. Name those that visitors use in `hosts`",
        );
    } else if is_aems {
        imports.wrong(&entry, "must be the production host, not AEM's own");
    } else if !(2..=6).contains(&host.split('.').count()) || !host.split('.').all(label) {
        imports.wrong(&entry, "must be a host name such as www.example.com, without scheme, port and path");
    }
    host
}

fn fastly(imports: &mut Imports) -> Settings {
    Settings::Fastly {
        service_id: imports.required("serviceId", "fastly"),
        auth_token: imports.secret("authToken", "fastly", "FASTLY_TOKEN"),
    }
}

fn akamai(imports: &mut Imports) -> Settings {
    let endpoint = imports.required("endpoint", "akamai");
    let bare = endpoint.trim_start_matches("https://").trim_end_matches('/').to_owned();
    if bare != endpoint {
        imports.note("cdn.prod.endpoint: written without `https://`, as Akamai's client files have it");
    }
    imports.note(
        "akamai: purges go to the production network; for the staging network, and to purge everything by CP code, see \
         `network` and `cp_codes`",
    );
    Settings::Akamai {
        endpoint: bare,
        client_token: imports.secret("clientToken", "akamai", "AKAMAI_CLIENT_TOKEN"),
        client_secret: imports.secret("clientSecret", "akamai", "AKAMAI_CLIENT_SECRET"),
        access_token: imports.secret("accessToken", "akamai", "AKAMAI_ACCESS_TOKEN"),
    }
}

fn cloudflare(imports: &mut Imports) -> Settings {
    const PLANS: [&str; 4] = ["free", "pro", "business", "enterprise"];
    let given = imports.text("plan");
    let plan = given.as_deref().map(str::to_ascii_lowercase).filter(|plan| PLANS.contains(&plan.as_str()));
    match (&given, &plan) {
        (Some(_), None) => imports.note(
            "cdn.prod.plan: not free, pro, business or enterprise, so `free` with its low rates; set the plan that the zone has",
        ),
        (None, _) => imports.note("cdn.prod.plan: absent, so `free` with its low rates; set the plan that the zone has"),
        _ => {}
    }
    if plan.as_deref() != Some("enterprise") {
        imports.note(
            "cloudflare: AEM's guide says that it purges everything below Enterprise. The shim purges exactly what changed on every \
             plan; `surgical_purge = \"enterprise-only\"` brings that back",
        );
    }
    Settings::Cloudflare {
        zone_id: imports.required("zoneId", "cloudflare"),
        api_token: imports.secret("apiToken", "cloudflare", "CLOUDFLARE_TOKEN"),
        plan,
    }
}

fn cloudfront(imports: &mut Imports) -> Settings {
    let tags = imports.flag("tagInvalidationEnabled");
    imports.note(if tags {
        "cdn.prod.tagInvalidationEnabled: AEM sends tags in `x-amz-meta-cache-tag`; check that `tag_header` is what the \
         distribution's cache tag configuration (CacheTagConfig) names"
    } else {
        "cdn.prod.tagInvalidationEnabled: not true, so a purge by tag purges everything, as AEM does. With a cache tag \
         configuration in the distribution, set `tag_header`"
    });
    imports.note(
        "cloudfront: the access key needs cloudfront:CreateInvalidation, as for AEM, and cloudfront:ListInvalidations, by \
         which the shim checks it",
    );
    Settings::Cloudfront {
        distribution_id: imports.required("distributionId", "cloudfront"),
        access_key_id: imports.required("accessKeyId", "cloudfront"),
        secret_access_key: imports.secret("secretAccessKey", "cloudfront", "AWS_SECRET_ACCESS_KEY"),
        tags,
    }
}

fn managed(imports: &mut Imports) -> Settings {
    imports.note(
        "cdn.prod.type managed: no equivalent. Adobe runs this CDN and alone can purge it; without a CDN of your own the site \
         is a plain proxy",
    );
    if imports.take(&["cdn", "prod", "envId"]).is_some() {
        imports.note("cdn.prod.envId: no equivalent; it names Adobe's environment");
    }
    Settings::None
}
