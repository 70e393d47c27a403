//! The properties of `cdn.prod` in AEM's schema, and their counterparts here.

use super::imports::Imports;
use serde_json::Value;

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
