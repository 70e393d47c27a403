//! The contract that the shim's `varnish` dialect and adapter rely on, checked for both implementations:
//! Varnish with the VCL that the project ships, and the edge of the demo. No shim is involved.

use crate::harness::http::{Answer, Request};
use crate::harness::origin::Page;
use crate::harness::varnish::Varnish;
use crate::harness::{HOST, eventually};
use origin_shim::demo::edge::Edge;
use std::net::SocketAddr;

/// A CDN in front of a page whose headers and text the test chooses.
struct Cdn {
    address: SocketAddr,
    page: Page,
    _varnish: Option<Varnish>,
}

/// `Surrogate-Control` and tags, as the shim sends them for `varnish`.
const LONG: [(&str, &str); 3] =
    [("surrogate-control", "max-age=3600"), ("cache-control", "max-age=60"), ("xkey", "page site")];

impl Cdn {
    fn both() -> [Self; 2] {
        let page = Page::default();
        let varnish = Varnish::start(page.serve());
        [Self { address: varnish.address, page, _varnish: Some(varnish) }, Self::demo()]
    }

    fn demo() -> Self {
        let page = Page::default();
        let origin = page.serve();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                Edge::new(origin).serve(tokio::net::TcpListener::from_std(listener).unwrap()).await
            })
        });
        Self { address, page, _varnish: None }
    }

    fn get(&self, target: &str) -> Answer {
        Request::get(target).send(self.address)
    }

    /// Returns the status, the cache verdict and the body.
    fn see(&self, target: &str) -> String {
        let answer = self.get(target);
        format!("{} {} {}", answer.status, answer.header("x-cache"), answer.text())
    }

    /// Sends a purge that must be accepted.
    fn purge(&self, method: &str, target: &str, headers: &[(&str, &str)]) {
        let answer = Request::get(target).method(method).headers(headers).send(self.address);
        assert_eq!((answer.status, answer.text()), (200, "Purged\n"), "{headers:?}");
        // The adapter trusts an answer only if it proves that this VCL sent it.
        match method {
            "PURGE" => assert!(answer.header("x-purged").parse::<u32>().is_ok(), "{answer:?}"),
            _ => assert_eq!(answer.header("x-purged"), "ban", "{answer:?}"),
        }
    }
}

#[test]
fn asks_opted_in_and_lets_no_visitor_say_otherwise() {
    for cdn in Cdn::both() {
        cdn.page.set(200, &LONG, "1");
        let lies = [
            ("x-push-invalidation", "no"),
            ("x-byo-cdn-type", "fastly"),
            ("x-origin-shim-secret", "guessed"),
        ];
        Request::get("/").headers(&lies).send(cdn.address);
        let asked = cdn.page.asked().remove(0);
        assert_eq!(asked.header("x-push-invalidation"), "enabled");
        assert_eq!(asked.header("x-byo-cdn-type"), "varnish");
        assert_eq!(asked.header("x-origin-shim-secret"), "");
        assert_eq!(asked.headers.iter().filter(|(name, _)| name == "x-push-invalidation").count(), 1);
    }
}

#[test]
fn keeps_what_the_headers_allow() {
    type Headers = &'static [(&'static str, &'static str)];
    let table: [(Headers, &str); 13] = [
        (&[("surrogate-control", "max-age=60"), ("cache-control", "no-cache")], "HIT"),
        (&[("surrogate-control", "max-age=60"), ("vary", "accept-language")], "HIT"),
        (&[("cache-control", "max-age=60")], "HIT"),
        (&[("cache-control", "s-maxage=60, max-age=0")], "HIT"),
        (&[("surrogate-control", "content=\"ESI/1.0\""), ("cache-control", "max-age=60")], "HIT"),
        (&[("surrogate-control", "content=\"ESI/1.0\""), ("cache-control", "private, max-age=60")], "MISS"),
        (&[("surrogate-control", "no-store"), ("cache-control", "max-age=60")], "MISS"),
        (&[("surrogate-control", "max-age=0"), ("cache-control", "max-age=60")], "MISS"),
        (&[("surrogate-control", "max-age=60"), ("set-cookie", "a=b")], "MISS"),
        (&[("surrogate-control", "max-age=60"), ("vary", "*")], "MISS"),
        (&[("surrogate-control", "private, max-age=60")], "MISS"),
        (&[("cache-control", "private, max-age=60")], "MISS"),
        (&[("cache-control", "no-store")], "MISS"),
    ];
    for cdn in Cdn::both() {
        for (index, (headers, expected)) in table.iter().enumerate() {
            cdn.page.set(200, headers, "1");
            let target = format!("/{index}");
            cdn.get(&target);
            assert_eq!(cdn.get(&target).header("x-cache"), *expected, "{headers:?}");
        }
    }
}

#[test]
fn gives_visitors_the_browsers_lifetime_and_nothing_of_the_edges() {
    for cdn in Cdn::both() {
        let told = ("x-origin-shim-path", "/");
        cdn.page.set(200, &[LONG[0], LONG[1], LONG[2], ("age", "50"), told], "1");
        for expected in ["200 MISS 1", "200 HIT 1"] {
            assert_eq!(cdn.see("/"), expected);
            let answer = cdn.get("/");
            assert_eq!(answer.header("cache-control"), "max-age=60");
            for hidden in ["surrogate-control", "xkey", "age", "x-url", "x-host", told.0] {
                assert_eq!(answer.header(hidden), "", "{hidden}");
            }
        }
    }
}

#[test]
fn every_purge_takes_what_it_names_and_nothing_else() {
    let targets = ["/a", "/a?x=1", "/b.c/d", "/bXc/d"];
    type Purge = (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static [usize]);
    let table: [Purge; 8] = [
        ("PURGE", "/", &[("xkey-purge", "unused page")], &[0, 1, 2, 3]),
        ("PURGE", "/", &[("xkey-softpurge", "page")], &[0, 1, 2, 3]),
        ("PURGE", "/", &[("xkey-purge", "unused"), ("xkey-purge", "site")], &[0, 1, 2, 3]),
        ("PURGE", "/", &[("xkey-purge", "pag")], &[]),
        ("PURGE", "/a", &[("x-purge-mode", "hard")], &[0]),
        ("PURGE", "/a?x=1", &[("x-purge-mode", "soft")], &[1]),
        ("BAN", "/", &[("x-ban-host", HOST), ("x-ban-prefix", r"/b\.c/")], &[2]),
        ("BAN", "/", &[("x-ban-everything", "1")], &[0, 1, 2, 3]),
    ];
    for cdn in Cdn::both() {
        for (version, (method, target, headers, gone)) in table.iter().enumerate() {
            // The same version is cached for every page before each purge, and the next version is published
            // after it.
            cdn.purge("BAN", "/", &[("x-ban-everything", "1")]);
            cdn.page.set(200, &LONG, &format!("old {version}"));
            targets.iter().for_each(|target| drop(cdn.get(target)));
            cdn.page.set(200, &LONG, &format!("new {version}"));
            cdn.purge(method, target, headers);
            for (index, target) in targets.iter().enumerate() {
                let expected = if gone.contains(&index) { "MISS new" } else { "HIT old" };
                assert_eq!(
                    cdn.see(target),
                    format!("200 {expected} {version}"),
                    "{target} after {headers:?}"
                );
            }
        }
        let elsewhere = [("x-ban-host", "other.example.test"), ("x-ban-prefix", "/")];
        targets.iter().for_each(|target| drop(cdn.get(target)));
        cdn.purge("BAN", "/", &elsewhere);
        assert!(cdn.see("/a").starts_with("200 HIT"), "another host's ban");
    }
}

/// Copies whose page the shim did not name are compared by the request target under which they were cached.
#[test]
fn a_ban_takes_every_spelling_of_a_prefix() {
    let ban = [("x-ban-host", HOST), ("x-ban-prefix", r"/caf(?:%[cC]3|\xC3)(?:%[aA]9|\xA9)(?:\(|%28)/")];
    let targets =
        ["/caf%C3%A9(/b", "/café(/b", "/caf%c3%a9%28/b", "/caf%c3%A8(/b", "/x/caf%C3%A9(/b", "/cafe(/b"];
    for cdn in Cdn::both() {
        cdn.page.set(200, &LONG, "old");
        targets.iter().for_each(|target| drop(cdn.get(target)));
        cdn.page.set(200, &LONG, "new");
        cdn.purge("BAN", "/", &ban);
        for (index, target) in targets.iter().enumerate() {
            let expected = if index < 3 { "200 MISS new" } else { "200 HIT old" };
            assert_eq!(cdn.see(target), expected, "{target}");
        }
    }
}

#[test]
fn refuses_what_it_does_not_understand() {
    type Refused = (&'static str, &'static [(&'static str, &'static str)], u16);
    let table: [Refused; 13] = [
        ("PURGE", &[], 400),
        ("PURGE", &[("xkey-purge", "")], 400),
        ("PURGE", &[("xkey-purge", "a"), ("xkey-softpurge", "b")], 400),
        ("PURGE", &[("x-purge-mode", "gently")], 400),
        ("PURGE", &[("xkey-purge", "page"), ("x-forwarded-for", "192.0.2.1")], 403),
        ("BAN", &[], 400),
        ("BAN", &[("x-ban-everything", "0")], 400),
        ("BAN", &[("x-ban-host", HOST)], 400),
        ("BAN", &[("x-ban-prefix", "/")], 400),
        ("BAN", &[("x-ban-host", HOST), ("x-ban-prefix", "a")], 400),
        ("BAN", &[("x-ban-host", HOST), ("x-ban-prefix", "/(")], 400),
        ("BAN", &[("x-ban-host", HOST), ("x-ban-prefix", "/ && obj.status != 0")], 400),
        ("BAN", &[("x-ban-everything", "1"), ("x-forwarded-for", "192.0.2.1")], 403),
    ];
    for cdn in Cdn::both() {
        cdn.page.set(200, &LONG, "1");
        cdn.get("/");
        cdn.page.asked();
        for (method, headers, status) in table {
            let answer = Request::get("/").method(method).headers(headers).send(cdn.address);
            assert_eq!(answer.status, status, "{method} {headers:?}: {}", answer.text());
        }
        assert!(cdn.page.asked().is_empty(), "no purge reaches the shim");
        assert_eq!(cdn.see("/"), "200 HIT 1");
    }
}

#[test]
fn a_soft_purge_may_serve_the_old_page_once_more_and_a_hard_one_never() {
    let stale = [("surrogate-control", "max-age=60, stale-while-revalidate=60"), LONG[1], LONG[2]];
    for cdn in Cdn::both() {
        cdn.page.set(200, &stale, "1");
        cdn.get("/");
        cdn.page.set(200, &stale, "2");
        cdn.purge("PURGE", "/", &[("xkey-softpurge", "page")]);
        let answer = cdn.get("/");
        assert_eq!(
            (answer.text(), answer.header("cache-control")),
            ("1", "no-cache"),
            "stale, and not for browsers"
        );
        eventually("the background fetch ends", || (cdn.see("/") == "200 HIT 2").then_some(()));

        cdn.page.set(200, &stale, "3");
        cdn.purge("PURGE", "/", &[("xkey-softpurge", "page")]);
        cdn.purge("PURGE", "/", &[("xkey-purge", "page")]);
        assert_eq!(cdn.see("/"), "200 MISS 3");
    }
}

#[test]
fn stale_if_error_serves_the_old_page_only_while_the_origin_fails() {
    let stale = [("surrogate-control", "max-age=60, stale-if-error=60"), LONG[1], LONG[2]];
    let error = [("surrogate-control", "no-store")];
    for cdn in Cdn::both() {
        cdn.page.set(200, &stale, "1");
        cdn.get("/");
        cdn.page.set(200, &stale, "2");
        cdn.purge("PURGE", "/", &[("xkey-softpurge", "page")]);
        assert_eq!(cdn.see("/"), "200 MISS 2");

        cdn.page.set(503, &error, "down");
        cdn.purge("PURGE", "/", &[("xkey-softpurge", "page")]);
        for _ in 0..2 {
            assert_eq!(cdn.see("/"), "200 HIT 2");
        }
        cdn.purge("PURGE", "/", &[("xkey-purge", "page")]);
        assert_eq!(cdn.see("/"), "503 MISS down");
    }
}
