//! Plug-ins that purge Varnish, pointed at the shim: what each means is purged, and nothing else.

use super::*;
use std::io::{Read, Write};
use std::net::TcpStream;

const VARNISH: &str = "listen = [\"{}\"]\nprotocol = \"varnish\"\nsite = \"www\"";

/// Sends a request as it is, and returns the status of its answer.
fn raw(to: SocketAddr, request: &str) -> u16 {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
}

#[test]
fn each_family_purges_what_it_means() {
    let world = World::start(&[VARNISH]);
    let to = world.listeners[0];
    let page = format!("PURGE /news/1 HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: Wagtail-frontendcache/8.0.1");
    let mediawiki =
        format!("PURGE http://{HOST}/news/1 HTTP/1.1\r\nHost: {HOST}\r\nProxy-Connection: Keep-Alive");
    let plone =
        format!("PURGE /VirtualHostBase/http/{HOST}:80/Plone/VirtualHostRoot/news/1 HTTP/1.1\r\nHost: cache");
    let wordpress = format!("PURGE /news/1 HTTP/1.1\r\nHost: {HOST}\r\nX-Purge-Method: default");
    for (family, head) in [
        (
            "Magento",
            "PURGE / HTTP/1.1\r\nHost: cache:80\r\nX-Magento-Tags-Pattern: ((^|,)absent(,|$))|((^|,)news(,|$))",
        ),
        ("FOSHttpCache", "BAN / HTTP/1.1\r\nHost: cache\r\nX-Cache-Tags: (^|,)(absent|news)(,|$)"),
        ("Ibexa", "PURGEKEYS / HTTP/1.1\r\nHost: cache\r\nxkey-softpurge: absent news"),
        ("Symfony", "PURGETAGS / HTTP/1.1\r\nHost: cache\r\nX-Cache-Tags: absent,news"),
        ("Shopware", "PURGE / HTTP/1.1\r\nHost: cache\r\nxkey: absent news"),
        ("API Platform", "BAN / HTTP/1.1\r\nHost: cache\r\nApiPlatform-Ban-Regex: (absent|news)($|\\,)"),
        ("Drupal", "BAN / HTTP/1.1\r\nHost: cache\r\nCache-Tags: absent|news"),
        (
            "FOSHttpCache, page",
            "BAN / HTTP/1.1\r\nHost: cache\r\nX-Host: .*\r\nX-Url: ^/news/1$\r\nX-Content-Type: .*",
        ),
        ("Wagtail", &page),
        ("MediaWiki", &mediawiki),
        ("Plone", &plone),
        ("WordPress", &wordpress),
    ] {
        world.cache(&["/news/1", "/other"]);
        assert_eq!(raw(to, &format!("{head}\r\nConnection: close\r\n\r\n")), 200, "{family}");
        world.settle();
        // A soft purge lets one more visitor see the old page.
        if family != "Ibexa" {
            assert_eq!(world.see("/news/1"), "MISS", "{family}");
        }
        assert_eq!(world.see("/other"), "HIT", "{family}");
    }
    for (family, head) in [
        ("Magento", "PURGE / HTTP/1.1\r\nHost: cache:80\r\nX-Magento-Tags-Pattern: .*"),
        ("WordPress", "PURGE /.* HTTP/1.1\r\nHost: cache\r\nX-Purge-Method: regex"),
        ("Shopware", "BAN / HTTP/1.1\r\nHost: cache"),
        ("Symfony", "PURGE / HTTP/1.1\r\nHost: cache\r\nClear-Cache: true"),
    ] {
        world.cache(&["/news/1", "/other"]);
        assert_eq!(raw(to, &format!("{head}\r\nConnection: close\r\n\r\n")), 200, "{family}");
        world.settle();
        assert_eq!((&*world.see("/news/1"), &*world.see("/other")), ("MISS", "MISS"), "{family}");
    }
}

#[test]
fn what_is_not_understood_purges_nothing_or_everything() {
    let wide = format!("{VARNISH}\non_unknown_pattern = \"everything\"");
    let world = World::start(&[VARNISH, &wide]);
    let pattern = [("x-url", "^/news")];
    world.cache(&["/news/1", "/other"]);
    let answer = call(world.listeners[0], "BAN", "/", &pattern, "");
    assert_eq!(answer.status, 422);
    assert!(answer.text().contains("`^/news`"), "{}", answer.text());
    assert_eq!(call(world.listeners[0], "GET", "/", &[], "").status, 405);
    assert_eq!(world.purges(), 0);
    assert_eq!(call(world.listeners[1], "BAN", "/", &pattern, "").status, 200);
    world.settle();
    assert_eq!((&*world.see("/news/1"), &*world.see("/other")), ("MISS", "MISS"));
}

#[test]
fn a_token_is_wanted_where_the_configuration_says_so() {
    let token = "listen = [\"{}\"]\nprotocol = \"varnish\"\ntoken_header = \"X-Invalidate-Token\"";
    let others = format!("{VARNISH}\nallow = [\"192.0.2.0/24\"]");
    let world = World::start(&[token, &others]);
    let purge = |to: usize, headers: &[(&str, &str)]| {
        let all: Vec<_> = [("xkey", "news")].iter().chain(headers).copied().collect();
        let request = Request { headers: &all, ..Request::get("/") };
        request.method("PURGE").send(world.listeners[to]).status
    };
    assert_eq!(purge(0, &[]), 401);
    assert_eq!(purge(0, &[("x-invalidate-token", "wrong")]), 401);
    // The token of another site.
    assert_eq!(purge(0, &[("x-invalidate-token", SHOP)]), 403);
    assert_eq!(purge(0, &[("x-invalidate-token", TOKEN)]), 200);
    assert_eq!(purge(1, &[("x-invalidate-token", TOKEN)]), 405);
}
