//! The demo's origin: a shop with four pages, whose content changes when it is published. Its responses have tags in
//! `Surrogate-Key` and, as with many origins, may be cached for one minute.

use super::http1::{self, AnyBody};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::net::TcpListener;

/// The path of the editor's page, which visitors do not need and which is never cached.
pub const EDITOR: &str = "/editor";

const PAGES: [Page; 4] = [
    Page { path: "/", tags: "home product-42", what: "the home page" },
    Page { path: "/blog/first", tags: "blog", what: "the first post" },
    Page { path: "/products/42", tags: "products product-42", what: "the price of product 42" },
    Page { path: "/style.css", tags: "assets", what: "the accent colour" },
];

#[derive(Debug)]
struct Page {
    path: &'static str,
    tags: &'static str,
    what: &'static str,
}

/// The site, with the version of each of its pages. Publishing a page makes a new version.
#[derive(Debug, Default)]
pub struct Site {
    versions: [AtomicU32; PAGES.len()],
}

impl Site {
    /// Serves the site, forever.
    pub async fn serve(self, listener: TcpListener) -> Infallible {
        let site = std::sync::Arc::new(self);
        let handler = move |request: Request<_>, _: IpAddr| {
            let answer = site.answer(&request.map(drop));
            async move { answer }
        };
        http1::serve(listener, handler).await
    }

    /// Returns the site's response to a request.
    pub fn answer(&self, request: &Request<()>) -> Response<AnyBody> {
        match (request.method(), request.uri().path()) {
            (&Method::POST, "/publish") => self.publish(request),
            (&Method::GET | &Method::HEAD, EDITOR) => html(StatusCode::OK, self.editor()),
            (&Method::GET | &Method::HEAD, path) => match PAGES.iter().position(|page| page.path == path) {
                Some(index) => self.page(index, request.headers()),
                None => html(StatusCode::NOT_FOUND, layout("Not found", "<p>There is no such page.</p>")),
            },
            _ => http1::text(StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD, or POST /publish?path=…\n"),
        }
    }

    /// Returns the price that the site shows now, for comparison.
    pub fn price(&self) -> String {
        format!("{}.00 EUR", 42 + self.version(2))
    }

    fn page(&self, index: usize, request: &HeaderMap) -> Response<AnyBody> {
        let page = &PAGES[index];
        let etag = self.etag(index);
        let unchanged =
            request.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes());
        let mut answer = if unchanged {
            let mut answer = Response::new(http1::empty());
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
            answer
        } else if page.path == "/style.css" {
            let mut answer = http1::text(StatusCode::OK, self.css());
            answer
                .headers_mut()
                .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8"));
            answer
        } else {
            html(StatusCode::OK, self.body(page.path))
        };
        let headers = answer.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
        headers.insert("surrogate-key", HeaderValue::from_static(page.tags));
        if let Ok(etag) = HeaderValue::try_from(etag) {
            headers.insert(header::ETAG, etag);
        }
        answer
    }

    /// Makes a new version of the page in `?path=`. A browser's form is redirected back to the editor.
    fn publish(&self, request: &Request<()>) -> Response<AnyBody> {
        let path = request.uri().query().and_then(|query| query.strip_prefix("path="));
        let path = path.map(|path| path.replace("%2F", "/").replace("%2f", "/"));
        let Some(index) = path.and_then(|path| PAGES.iter().position(|page| page.path == path)) else {
            let known: Vec<&str> = PAGES.iter().map(|page| page.path).collect();
            return http1::text(
                StatusCode::NOT_FOUND,
                format!("Publish one of ?path={}\n", known.join(", ?path=")),
            );
        };
        let version = self.versions[index].fetch_add(1, Ordering::Relaxed) + 2;
        let mut answer =
            http1::text(StatusCode::OK, format!("Published version {version} of {}.\n", PAGES[index].path));
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

    fn version(&self, index: usize) -> u32 {
        self.versions[index].load(Ordering::Relaxed)
    }

    /// Returns the version of a page as an entity tag. The home page also changes with the price that it shows.
    fn etag(&self, index: usize) -> String {
        if index == 0 {
            format!("\"v{}-{}\"", self.version(0) + 1, self.version(2) + 1)
        } else {
            format!("\"v{}\"", self.version(index) + 1)
        }
    }

    fn body(&self, path: &str) -> String {
        match path {
            "/" => {
                let content = format!(
                    "<p>Version {} of this page. Product 42 costs <b>{}</b>.</p>
<ul><li><a href=\"/products/42\">Product 42</a></li><li><a href=\"/blog/first\">The first post</a></li></ul>",
                    self.version(0) + 1,
                    self.price(),
                );
                layout("The demo shop", &content)
            }
            "/blog/first" => {
                layout("The first post", &format!("<p>Version {} of this post.</p>", self.version(1) + 1))
            }
            _ => layout("Product 42", &format!("<p>Price: <b>{}</b></p>", self.price())),
        }
    }

    fn css(&self) -> String {
        let hue = 210 + 40 * self.version(3);
        format!(
            "body {{ font: 1.1rem/1.5 sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem }}\nh1, b {{ color: hsl({hue} 70% 40%) }}\n"
        )
    }

    fn editor(&self) -> String {
        let mut content = String::from(
            "<p>Publishing changes the page here, at the origin. Visitors of the edge see it after its purge.</p>\n",
        );
        for (index, page) in PAGES.iter().enumerate() {
            let (path, what, version) = (page.path, page.what, self.version(index) + 1);
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
