//! The life of the demo: visitors who open pages, and an editor who publishes one every few seconds. Each page is
//! opened through the shim's edge and through an edge without the shim, so that both can be compared.

use super::figures::{Figures, Side};
use super::http1;
use super::pages::{PRODUCTS, Page};
use super::ports::Addresses;
use super::site::Site;
use http::{Request, header};
use http_body_util::BodyExt;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The time between two visits.
const VISIT_EVERY: Duration = Duration::from_millis(40);

/// The time between two publishes.
const PUBLISH_EVERY: Duration = Duration::from_secs(3);

/// The visitors and the editor.
#[derive(Clone, Debug)]
pub struct Load {
    /// The addresses of the parts of the demo.
    pub addresses: Addresses,
    /// The token for the admin API.
    pub token: String,
    /// The origin, which knows what is new.
    pub site: Arc<Site>,
    /// What was seen.
    pub figures: Arc<Mutex<Figures>>,
}

impl Load {
    /// Lets visitors and the editor act, forever.
    pub async fn run(self) -> Infallible {
        let editor = self.clone();
        tokio::spawn(async move { editor.publish().await });
        let mut ticks = tokio::time::interval(VISIT_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let page = some_page();
            // Both at the same moment, for a fair comparison.
            tokio::join!(self.visit(page, Side::With), self.visit(page, Side::Without));
        }
    }

    /// Opens a page at an edge, and notes how old it was. A failed visit is no visit: the demo is being stopped.
    async fn visit(&self, page: Page, side: Side) {
        let edge = match side {
            Side::With => self.addresses.edge,
            Side::Without => self.addresses.bare_edge,
        };
        let Some(etag) = open(edge, &page.path()).await else { return };
        let outdated = self.site.outdated_for(page, &etag);
        self.note(|figures| figures.visited(side, outdated));
    }

    async fn publish(&self) {
        let mut ticks = tokio::time::interval(PUBLISH_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let page = some_page();
            let target = format!("/publish?path={}", page.path());
            let published = Request::post(target).header(header::HOST, self.addresses.origin.to_string());
            let Ok(published) = published.body(http1::empty()) else { continue };
            if http1::send(self.addresses.origin, published).await.is_ok() && self.purge(page).await {
                self.note(Figures::published);
            }
        }
    }

    /// Tells the shim what a CMS would tell it. Returns whether it has accepted that.
    async fn purge(&self, page: Page) -> bool {
        let items = match page {
            Page::Product(number) => serde_json::json!({ "tags": [format!("product-{number}")] }),
            _ => serde_json::json!({ "paths": [page.path()] }),
        };
        let request = Request::post("/v1/sites/demo/purges")
            .header(header::HOST, self.addresses.admin.to_string())
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::CONTENT_TYPE, "application/json")
            .body(http1::full(items.to_string()));
        let Ok(request) = request else { return false };
        let answer = http1::send(self.addresses.admin, request).await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    fn note(&self, what: impl FnOnce(&mut Figures)) {
        what(&mut self.figures.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Returns the entity tag of a page at an edge.
async fn open(edge: SocketAddr, path: &str) -> Option<String> {
    let request = Request::get(path).header(header::HOST, edge.to_string()).body(http1::empty()).ok()?;
    let (head, body) = http1::send(edge, request).await.ok()?.into_parts();
    body.collect().await.ok()?;
    let etag = head.headers.get(header::ETAG)?.to_str().ok()?;
    head.status.is_success().then(|| etag.to_owned())
}

/// Chooses a page. Some products are more popular than others, with visitors and with the editor.
fn some_page() -> Page {
    match fastrand::usize(0..12) {
        0 => Page::Post,
        _ => Page::Product(fastrand::usize(1..=PRODUCTS).min(fastrand::usize(1..=PRODUCTS))),
    }
}
