//! The client of the admin API for the command line.

use crate::admin::problem::Document;
use crate::terminal::{clean, line};
use anyhow::{Context, anyhow, bail};
use reqwest::{Method, RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::error::Error;
use std::fmt::Write;
use std::time::Duration;

/// The number of invalid items that an error message names.
const NAMED: usize = 20;

/// The address of the admin API, shared by the commands that call it.
#[derive(Debug, Clone, clap::Args)]
pub struct AdminArgs {
    /// The admin listener of the running shim; the token is read from ORIGIN_SHIM_TOKEN
    #[arg(long, value_name = "URL", env = "ORIGIN_SHIM_ADMIN", default_value = "http://127.0.0.1:9180")]
    pub admin: String,
}

/// A client of the admin API, with a token.
#[derive(Debug)]
pub struct Client {
    base: Url,
    token: String,
    http: reqwest::Client,
}

/// A successful answer.
#[derive(Debug)]
pub struct Success {
    /// The body.
    pub body: String,
}

/// An answer that is not a success.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Refused {
    status: StatusCode,
    text: String,
    body: String,
}

impl Refused {
    /// Whether the same call would be refused again.
    pub fn is_final(&self) -> bool {
        self.status.is_client_error()
    }

    /// Whether the token lacks a right.
    pub fn is_forbidden(&self) -> bool {
        self.status == StatusCode::FORBIDDEN
    }

    /// Returns the answer as JSON, if it is.
    pub fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_str(&self.body).ok()
    }
}

impl Client {
    /// Creates a client for the admin API at `args.admin`, with the token of the environment.
    pub fn from_env(args: &AdminArgs) -> anyhow::Result<Self> {
        let token = std::env::var("ORIGIN_SHIM_TOKEN").ok().filter(|token| !token.is_empty());
        Self::new(&args.admin, &token.context("set ORIGIN_SHIM_TOKEN to a token of the admin API")?)
    }

    /// Creates a client for the admin API at `base`.
    pub fn new(base: &str, token: &str) -> anyhow::Result<Self> {
        // Listeners are written without a scheme.
        let text = if base.contains("://") { base.to_owned() } else { format!("http://{base}") };
        let url = Url::parse(&text)
            .with_context(|| format!("--admin {base} is not an address, such as http://127.0.0.1:9180"))?;
        if !matches!(url.scheme(), "http" | "https") {
            bail!("--admin {base} must start with http:// or https://");
        }
        let mut http = reqwest::Client::builder()
            // A redirect would send the token elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(5));
        if is_loopback(&url) {
            // The token of a local shim must not be sent to the proxy of HTTP_PROXY, either.
            http = http.no_proxy();
        }
        Ok(Self { base: url, token: token.to_owned(), http: http.build().context("no HTTP client")? })
    }

    /// Gets a path and query as JSON.
    pub async fn get(&self, path: &[&str], query: &[(&str, String)]) -> anyhow::Result<Success> {
        self.call(self.request(Method::GET, path, query).timeout(Duration::from_secs(30))).await
    }

    /// Gets every site that the token may see, page by page, with the fields of `T`.
    pub async fn sites<T: DeserializeOwned>(&self) -> anyhow::Result<Vec<T>> {
        #[derive(Deserialize)]
        struct Page<T> {
            sites: Vec<T>,
            /// Absent in the answers of shims from before pages were introduced, which list all sites at once.
            #[serde(default)]
            next_cursor: Option<String>,
        }
        let mut all = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let query: Vec<_> = cursor.take().map(|cursor| ("cursor", cursor)).into_iter().collect();
            let page: Page<T> = self.get(&["v1", "sites"], &query).await?.json()?;
            all.extend(page.sites);
            match page.next_cursor {
                Some(next) => cursor = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// Posts a JSON body; the server may take `wait` to answer.
    pub async fn post(&self, path: &[&str], body: String, wait: Option<Duration>) -> anyhow::Result<Success> {
        let mut request = self
            .request(Method::POST, path, &[])
            .header("content-type", "application/json")
            .timeout(wait.unwrap_or_default() + Duration::from_secs(60))
            .body(body);
        if let Some(wait) = wait {
            request = request.header("prefer", format!("wait={}", wait.as_secs()));
        }
        self.call(request).await
    }

    /// Makes a call without a body that changes something.
    pub async fn act(&self, method: Method, path: &[&str]) -> anyhow::Result<Success> {
        self.call(self.request(method, path, &[]).timeout(Duration::from_secs(60))).await
    }

    fn request(&self, method: Method, path: &[&str], query: &[(&str, String)]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.http.request(method, url).bearer_auth(&self.token)
    }

    async fn call(&self, request: RequestBuilder) -> anyhow::Result<Success> {
        let base = &self.base;
        let response = request.send().await.map_err(|error| no_answer(base, &error))?;
        let status = response.status();
        let body = response
            .text()
            .await
            .with_context(|| format!("the answer of the admin API at {base} broke off"))?;
        if !status.is_success() {
            return Err(Refused { status, text: explain(status, &body), body }.into());
        }
        Ok(Success { body })
    }
}

impl Success {
    /// Parses the body.
    pub fn json<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        serde_json::from_str(&self.body).context("the admin API's answer is not what this version expects")
    }
}

/// Describes in one line why no answer came, and what to do.
fn no_answer(base: &Url, error: &reqwest::Error) -> anyhow::Error {
    let sources = std::iter::successors(error.source(), |error: &&(dyn std::error::Error + 'static)| {
        (**error).source()
    });
    let refused = sources
        .filter_map(|error| error.downcast_ref::<std::io::Error>())
        .any(|error| error.kind() == std::io::ErrorKind::ConnectionRefused);
    let why = match () {
        () if refused => "connection refused",
        () if error.is_timeout() => "no answer in time",
        () if base.scheme() == "https" && error.is_connect() => {
            return anyhow!(
                "no secure connection to {base}: the admin listener speaks plain HTTP, so use http:// unless a proxy in front of it has TLS"
            );
        }
        () if error.is_connect() => "no connection: check the host name and the network",
        () => "the connection broke off",
    };
    anyhow!(
        "cannot reach the shim at {base} ({why}). Is it running? --admin or ORIGIN_SHIM_ADMIN names another address"
    )
}

/// Describes a problem document in words, or the status if the body is not such a document.
fn explain(status: StatusCode, body: &str) -> String {
    let Ok(document) = serde_json::from_str::<Document>(body) else {
        return format!("HTTP {status}, not from the admin API of a shim: check --admin");
    };
    let mut text = format!("{} ({status}): {}", document.title, document.detail);
    for error in document.errors.iter().take(NAMED) {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n  {}: {}", line(&error.item), line(&error.message));
    }
    if document.errors.len() > NAMED {
        let _ = write!(text, "\n  and {} more", document.errors.len() - NAMED);
    }
    clean(&text).into_owned()
}

fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_known_in_every_spelling() {
        let check =
            |url: &str, expected| assert_eq!(is_loopback(&Url::parse(url).unwrap()), expected, "{url}");
        check("http://127.0.0.1:9180", true);
        check("http://[::1]:9180", true);
        check("http://localhost", true);
        check("http://10.0.0.1", false);
        check("http://localhost.example.com", false);
    }

    #[test]
    fn errors_are_told_in_words() {
        let document = r#"{"type":"t","title":"The request cannot be carried out","status":422,
            "detail":"Nothing was purged.","errors":[{"item":"/a\u001b[2J","message":"bad"}]}"#;
        insta::assert_snapshot!(explain(StatusCode::UNPROCESSABLE_ENTITY, document), @r"
        The request cannot be carried out (422 Unprocessable Entity): Nothing was purged.
          /a\u{1b}[2J: bad
        ");
        insta::assert_snapshot!(explain(StatusCode::BAD_GATEWAY, "<html>"), @"HTTP 502 Bad Gateway, not from the admin API of a shim: check --admin");
    }

    #[test]
    fn the_base_must_be_http() {
        let check = |base| Client::new(base, "t").unwrap_err().to_string();
        assert!(Client::new("127.0.0.1:9180", "t").is_ok());
        insta::assert_snapshot!(check("a b"), @"--admin a b is not an address, such as http://127.0.0.1:9180");
        insta::assert_snapshot!(check("ftp://host"), @"--admin ftp://host must start with http:// or https://");
    }
}
