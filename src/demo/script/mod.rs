//! The sequence that the demo shows at its start: a page is cached, published, purged and fresh. Every step is
//! checked, so `demo --once` is a test of the whole chain.

use super::error::DemoError;
use super::http1::{self, AnyBody};
use super::ports::Addresses;
use super::story::say;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const PAGE: &str = "/products/42";
const TAG: &str = "product-42";

/// The default edge TTL. A shorter one is the fallback, which means that the shim does not trust the edge's purging.
const TWO_DAYS: &str = "max-age=172800";

/// Time for the shim to start and to finish its first check of the edge.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// The sequence, and what it needs.
#[derive(Clone, Copy, Debug)]
pub struct Script<'a> {
    /// The addresses of the parts of the demo.
    pub addresses: Addresses,
    /// The token for the admin API.
    pub token: &'a str,
}

impl Script<'_> {
    /// Waits until the shim has started and has verified that it can purge the edge. Before that, no page gets a long
    /// TTL.
    pub async fn wait_until_ready(&self) -> Result<(), DemoError> {
        let started = Instant::now();
        loop {
            let last = self.health().await;
            match last {
                Ok(health) if health == "healthy" => return Ok(()),
                Ok(health) if started.elapsed() > READY_WITHIN => {
                    return Err(unexpected("the first check of the edge", "a healthy CDN", health));
                }
                Err(error) if started.elapsed() > READY_WITHIN => return Err(error),
                Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Shows the sequence. Fails at the first step with an unexpected result.
    pub async fn run(&self) -> Result<(), DemoError> {
        let old = self.visit("1. a visitor opens the page", "MISS").await?;
        self.show_what_the_shim_says().await?;
        let again = self.visit("2. the next visitor", "HIT").await?;
        must_be_equal("2. the next visitor", &old, &again)?;

        let origin = self.addresses.origin;
        self.exchange("3. publish", origin, post(&format!("/publish?path={PAGE}"), "")).await?;
        say("  3. an editor publishes a new price at the origin")?;
        let stale = self.visit("4. a visitor, before the purge", "HIT").await?;
        must_be_equal("4. a visitor, before the purge", &old, &stale)?;

        let started = Instant::now();
        self.purge().await?;
        let command = format!("5. purge --tag {TAG} --wait");
        say(&format!("  {command:<42} done in {} ms", started.elapsed().as_millis()))?;

        let fresh = self.visit("6. a visitor, after the purge", "MISS").await?;
        if fresh == old {
            return Err(unexpected("6. a visitor, after the purge", "the new price", fresh));
        }
        Ok(())
    }

    /// Requests the page from the edge; returns the price on it.
    async fn visit(&self, step: &'static str, cache: &str) -> Result<String, DemoError> {
        let (_, headers, body) = self.exchange(step, self.addresses.edge, get(PAGE)).await?;
        let price =
            body.split_once("<b>").and_then(|(_, rest)| rest.split_once("</b>")).map(|(price, _)| price);
        let got = text(&headers, "x-cache");
        say(&format!("  {step:<42} {got:<5} {}", price.unwrap_or("no price")))?;
        if got != cache {
            return Err(unexpected(step, &format!("X-Cache: {cache}"), got.to_owned()));
        }
        price.map(str::to_owned).ok_or_else(|| unexpected(step, "a page with a price", body.clone()))
    }

    async fn show_what_the_shim_says(&self) -> Result<(), DemoError> {
        let step = "what the shim tells the edge";
        let mut request = get(PAGE);
        let opt_in = [("x-push-invalidation", "enabled"), ("x-byo-cdn-type", "varnish")];
        for (name, value) in opt_in {
            request.headers_mut().insert(name, header::HeaderValue::from_static(value));
        }
        let (_, headers, _) = self.exchange(step, self.addresses.shim, request).await?;
        for (name, expected) in [("Surrogate-Control", TWO_DAYS), ("Cache-Control", ""), ("xkey", TAG)] {
            let value = text(&headers, &name.to_ascii_lowercase());
            if value.is_empty() || !value.contains(expected) {
                return Err(unexpected(step, &format!("{name}: {expected}"), format!("{value:?}")));
            }
            say(&format!("       {name}: {value}"))?;
        }
        Ok(())
    }

    async fn purge(&self) -> Result<(), DemoError> {
        let step = "5. purge";
        let mut request = self.authorised(post("/v1/sites/demo/purges", &format!(r#"{{"tags":["{TAG}"]}}"#)));
        request.headers_mut().insert("prefer", header::HeaderValue::from_static("wait=10"));
        let (status, _, body) = self.exchange(step, self.addresses.admin, request).await?;
        let purge: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
        match (status, purge["state"].as_str()) {
            (StatusCode::OK, Some("done")) => Ok(()),
            _ => Err(unexpected(step, "200 and a purge that is done", format!("{status} and {body}"))),
        }
    }

    /// Returns `healthy`, or the answer of the admin API if the CDN is not healthy.
    async fn health(&self) -> Result<String, DemoError> {
        let step = "the shim's start";
        let request = self.authorised(get("/v1/sites/demo"));
        let (_, _, body) = self.exchange(step, self.addresses.admin, request).await?;
        let site: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
        let healthy = site["cdns"][0]["healthy"].as_bool() == Some(true);
        Ok(if healthy { "healthy".to_owned() } else { body })
    }

    fn authorised(&self, mut request: Request<AnyBody>) -> Request<AnyBody> {
        if let Ok(mut bearer) = header::HeaderValue::try_from(format!("Bearer {}", self.token)) {
            bearer.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, bearer);
        }
        request
    }

    /// Exchanges one request and response with one part. A response without a success status ends the sequence.
    async fn exchange(
        &self,
        step: &'static str,
        to: SocketAddr,
        mut request: Request<AnyBody>,
    ) -> Result<(StatusCode, HeaderMap, String), DemoError> {
        if let Ok(host) = header::HeaderValue::try_from(to.to_string()) {
            request.headers_mut().insert(header::HOST, host);
        }
        let silent = |source| DemoError::Silent { step, source };
        let (parts, body) = http1::send(to, request).await.map_err(silent)?.into_parts();
        let body =
            body.collect().await.map_err(|source| silent(http1::SendError::Http { from: to, source }))?;
        let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        if !parts.status.is_success() {
            return Err(unexpected(step, "a success", format!("{} and {body}", parts.status)));
        }
        Ok((parts.status, parts.headers, body))
    }
}

fn get(target: &str) -> Request<AnyBody> {
    let mut request = Request::new(http1::empty());
    *request.uri_mut() = target.parse().unwrap_or_default();
    request
}

fn post(target: &str, json: &str) -> Request<AnyBody> {
    let mut request = get(target);
    *request.method_mut() = http::Method::POST;
    request.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    request.map(|_| http1::full(json.to_owned()))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn must_be_equal(step: &'static str, expected: &str, got: &str) -> Result<(), DemoError> {
    if expected == got { Ok(()) } else { Err(unexpected(step, expected, got.to_owned())) }
}

fn unexpected(step: &'static str, expected: &str, got: String) -> DemoError {
    DemoError::Unexpected { step, expected: expected.to_owned(), got }
}

#[cfg(test)]
mod tests;
