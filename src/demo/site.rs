//! The demo's origin: a shop whose content changes when it is published. Its responses have tags in `Surrogate-Key`
//! and, as with many origins, may be cached for a short time.

use super::http1::{self, AnyBody};
use super::pages::{PRODUCTS, Page, STORY, Versions};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

/// The path of the editor's page, which visitors do not need and which is never cached.
pub const EDITOR: &str = "/editor";

/// The lifetime that the site gives its pages. Without the shim, a page may be old for that long.
const LIFETIME: &str = "max-age=20";

/// The pages on the editor's page.
const EDITED: [Page; 4] = [Page::Home, Page::Post, Page::Product(STORY), Page::Style];

/// The site, with the version of each of its pages. Publishing a page makes a new version.
#[derive(Debug, Default)]
pub struct Site {
    versions: Mutex<Versions>,
}

impl Site {
    /// Serves the site, forever, and counts the requests for pages.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, requests: Arc<AtomicU64>) -> Infallible {
        let handler = move |request: Request<_>, _: IpAddr| {
            if Page::at(request.uri().path()).is_some() {
                requests.fetch_add(1, Ordering::Relaxed);
            }
            let answer = self.answer(&request.map(drop));
            async move { answer }
        };
        http1::serve(listener, handler).await
    }

    /// Returns for how long the version of a page with this entity tag has been replaced by a newer one.
    pub fn outdated_for(&self, page: Page, etag: &str) -> Option<Duration> {
        self.versions().outdated_for(page, etag, Instant::now())
    }

    /// Returns the site's response to a request.
    pub fn answer(&self, request: &Request<()>) -> Response<AnyBody> {
        match (request.method(), request.uri().path()) {
            (&Method::POST, "/publish") => self.publish(request),
            (&Method::GET | &Method::HEAD, EDITOR) => html(StatusCode::OK, self.editor()),
            (&Method::GET | &Method::HEAD, path) => match Page::at(path) {
                Some(page) => self.page(page, request.headers()),
                None => html(StatusCode::NOT_FOUND, layout("Not found", "<p>There is no such page.</p>")),
            },
            _ => http1::text(StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD, or POST /publish?path=…\n"),
        }
    }

    /// Returns the price that the site shows now for the product of the story.
    pub fn price(&self) -> String {
        self.price_of(STORY)
    }

    fn price_of(&self, product: usize) -> String {
        format!("{}.00 EUR", product + self.published(Page::Product(product)))
    }

    fn page(&self, page: Page, request: &HeaderMap) -> Response<AnyBody> {
        // Taken first: a page that is published meanwhile must not get the tag of its new version.
        let etag = self.versions().etag(page);
        let unchanged =
            request.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes());
        let mut answer = if unchanged {
            let mut answer = Response::new(http1::empty());
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
            answer
        } else if page == Page::Style {
            let mut answer = http1::text(StatusCode::OK, self.css());
            answer
                .headers_mut()
                .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8"));
            answer
        } else {
            html(StatusCode::OK, self.body(page))
        };
        let headers = answer.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(LIFETIME));
        for (name, value) in [("surrogate-key", page.tags()), ("etag", etag)] {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
        answer
    }

    /// Makes a new version of the page in `?path=`. A browser's form is redirected back to the editor.
    fn publish(&self, request: &Request<()>) -> Response<AnyBody> {
        let path = request.uri().query().and_then(|query| query.strip_prefix("path="));
        let path = path.map(|path| path.replace("%2F", "/").replace("%2f", "/"));
        let Some(page) = path.and_then(|path| Page::at(&path)) else {
            let known: Vec<String> = EDITED.iter().map(|page| format!("?path={}", page.path())).collect();
            return http1::text(
                StatusCode::NOT_FOUND,
                format!("Publish one of {}, or any of {PRODUCTS} products\n", known.join(", ")),
            );
        };
        self.versions().publish(page, Instant::now());
        let mut answer = http1::text(
            StatusCode::OK,
            format!("Published version {} of {}.\n", self.published(page) + 1, page.path()),
        );
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        let browser = request
            .headers()
            .get(header::ACCEPT)
            .is_some_and(|accept| accept.as_bytes().starts_with(b"text/html"));
        if request.headers().get(header::CONTENT_TYPE) == Some(&form) && browser {
            *answer.status_mut() = StatusCode::SEE_OTHER;
            answer.headers_mut().insert(header::LOCATION, HeaderValue::from_static(EDITOR));
        }
        answer
    }

    fn versions(&self) -> MutexGuard<'_, Versions> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn published(&self, page: Page) -> usize {
        usize::try_from(self.versions().published(page)).unwrap_or(usize::MAX)
    }

    fn body(&self, page: Page) -> String {
        match page {
            Page::Home => {
                let content = format!(
                    "<p>Version {} of this page. Product {STORY} costs <b>{}</b>.</p>
<ul><li><a href=\"/products/{STORY}\">Product {STORY}</a></li><li><a href=\"/blog/first\">The first post</a></li></ul>",
                    self.published(page) + 1,
                    self.price(),
                );
                layout("The demo shop", &content)
            }
            Page::Product(product) => layout(
                &format!("Product {product}"),
                &format!("<p>Price: <b>{}</b></p>", self.price_of(product)),
            ),
            Page::Post | Page::Style => layout(
                "The first post",
                &format!("<p>Version {} of this post.</p>", self.published(page) + 1),
            ),
        }
    }

    fn css(&self) -> String {
        let hue = 210 + 40 * self.published(Page::Style);
        format!(
            "body {{ font: 1.1rem/1.5 sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem }}\nh1, b {{ color: hsl({hue} 70% 40%) }}\n"
        )
    }

    fn editor(&self) -> String {
        let mut content = String::from(
            "<p>Publishing changes the page here, at the origin. Visitors of the edge see it after its purge.</p>\n",
        );
        for page in EDITED {
            let (path, what, version) = (page.path(), page.what(), self.published(page) + 1);
            // Writing to a String cannot fail.
            let _ = writeln!(
                content,
                "<form method=\"post\" action=\"/publish?path={path}\"><button>Publish</button> \
                 <code>{path}</code>: {what}, now version {version}</form>"
            );
        }
        layout("Editor", &content)
    }
}

fn layout(title: &str, content: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
         <link rel=\"stylesheet\" href=\"/style.css\">\n<h1>{title}</h1>\n{content}\n"
    )
}

fn html(status: StatusCode, body: String) -> Response<AnyBody> {
    let mut answer = http1::text(status, body);
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn ask(site: &Site, method: &str, target: &str, headers: &[(&str, &str)]) -> (u16, HeaderMap, String) {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, body) = site.answer(&request.body(()).unwrap()).into_parts();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let body = runtime.block_on(body.collect()).unwrap().to_bytes();
        (parts.status.as_u16(), parts.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn pages_are_tagged_and_change_when_published() {
        let site = Site::default();
        let (status, headers, before) = ask(&site, "GET", "/products/42", &[]);
        assert_eq!(
            (status, &headers["surrogate-key"]),
            (200, &HeaderValue::from_static("products product-42"))
        );
        assert!(before.contains("42.00 EUR"), "{before}");

        assert_eq!(ask(&site, "POST", "/publish?path=/products/42", &[]).0, 200);
        assert!(ask(&site, "GET", "/products/42", &[]).2.contains("43.00 EUR"));
        assert!(ask(&site, "GET", "/", &[]).2.contains("43.00 EUR"), "the home page shows the price too");
    }

    #[test]
    fn a_copy_is_confirmed_until_a_publish() {
        let site = Site::default();
        for path in ["/", "/products/42"] {
            let etag = ask(&site, "GET", path, &[]).1["etag"].to_str().unwrap().to_owned();
            let known = [("if-none-match", etag.as_str())];
            assert_eq!(ask(&site, "GET", path, &known).0, 304);
            ask(&site, "POST", "/publish?path=/products/42", &[]);
            assert_eq!(ask(&site, "GET", path, &known).0, 200);
        }
    }

    #[test]
    fn answers_by_method_and_path() {
        fn check(method: &str, target: &str, status: u16) {
            assert_eq!(ask(&Site::default(), method, target, &[]).0, status, "{method} {target}");
        }
        check("GET", "/?utm=1", 200);
        check("HEAD", "/blog/first", 200);
        check("GET", "/style.css", 200);
        check("GET", "/nothing", 404);
        check("GET", "/publish?path=/", 404);
        check("POST", "/publish?path=/nothing", 404);
        check("POST", "/publish", 404);
        check("POST", "/publish?path=%2Fblog%2Ffirst", 200);
        check("DELETE", "/", 405);
    }

    #[test]
    fn a_form_goes_back_to_the_editor() {
        let form = [("content-type", "application/x-www-form-urlencoded"), ("accept", "text/html,*/*")];
        let (status, headers, _) = ask(&Site::default(), "POST", "/publish?path=/", &form);
        assert_eq!((status, &headers["location"]), (303, &HeaderValue::from_static(EDITOR)));
        assert!(ask(&Site::default(), "GET", EDITOR, &[]).2.contains("/publish?path=/products/42"));
    }
}
