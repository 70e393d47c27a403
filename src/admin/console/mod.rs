//! `GET /`: the console, a page that needs nothing from elsewhere. The page holds no secret: its user enters the
//! token, which stays in the browser's tab.
//!
//! | file | view |
//! |---|---|
//! | `script/overview.js`, `charts.js` | what happens now at each site, and in the last hour and day |
//! | `script/purges.js`, `timeline.js` | all purges, and the way of one |
//! | `script/publish.js` | purges and events, tried before they are sent |
//! | `script/explain.js` | what is done to a response, and why |
//! | `script/freshness.js` | whether copies at the CDN are older than the last purge |
//! | `script/credentials.js` | whether the CDNs can be purged |
//! | `script/configuration.js` | what runs, where the file differs, the log filter |
//! | `script/base.js`, `api.js`, `start.js` | what all views use: elements, calls and events, the choice of the view |
//!
//! There is no build step: the files are joined here, as they are.

use axum::http::{HeaderName, header};
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");
/// One script, in which later files use what earlier ones define.
const SCRIPT: &str = concat!(
    include_str!("script/base.js"),
    include_str!("script/api.js"),
    include_str!("script/charts.js"),
    include_str!("script/overview.js"),
    include_str!("script/purges.js"),
    include_str!("script/timeline.js"),
    include_str!("script/publish.js"),
    include_str!("script/explain.js"),
    include_str!("script/freshness.js"),
    include_str!("script/credentials.js"),
    include_str!("script/configuration.js"),
    include_str!("script/start.js"),
);

/// The page and its Content Security Policy: the browser may run this script, apply this style and call this API,
/// and nothing else.
static CONSOLE: LazyLock<(String, String)> = LazyLock::new(|| {
    let page = PAGE.replace("/*STYLE*/", STYLE).replace("/*SCRIPT*/", SCRIPT);
    let policy = format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash(SCRIPT),
        hash(STYLE)
    );
    (page, policy)
});

/// `GET /`
pub(super) async fn page() -> impl IntoResponse {
    let (page, policy) = &*CONSOLE;
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    (headers, page.as_str())
}

/// Returns a hash in the form by which Content Security Policy names an inline element
/// (<https://www.w3.org/TR/CSP3/#grammardef-hash-source>).
fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}
