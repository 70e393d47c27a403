//! The listeners for what other systems' clients already send: visitor -> Varnish -> shim -> application, and a client
//! that purges by its own protocol.

mod clients;
mod differential;
mod limits;
mod plugins;
mod protocols;
mod webhooks;

use crate::harness::http::{Answer, Request};
use crate::harness::origin::{self, Exchange};
use crate::harness::shim::{Shim, TOKEN};
use crate::harness::site::Site;
use crate::harness::varnish::Varnish;
use crate::harness::{HOST, eventually, free_address};
use bytes::Bytes;
use origin_shim::cdn::edgegrid::{MAX_BODY, Signer};
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

/// A token that may purge the site `shop` alone.
const SHOP: &str = "token-of-the-shop-alone";
/// The secret of the webhooks.
const SECRET: &str = "a-secret-of-the-webhooks";

/// An application whose pages have the tags `page` and the first segment of their path.
fn application() -> SocketAddr {
    origin::serve(move |mut exchange: Exchange| {
        let path = exchange.asked.line.split(' ').nth(1).unwrap().to_owned();
        let first = path.split('/').nth(1).unwrap_or_default();
        let headers = [
            ("cache-control".to_owned(), "max-age=600".to_owned()),
            ("content-type".to_owned(), "text/html".to_owned()),
            ("surrogate-key".to_owned(), format!("page {first}")),
            ("xkey".to_owned(), format!("page {first}")),
            ("cache-tags".to_owned(), format!("page {first}")),
            ("x-cache-tags".to_owned(), format!("page,{first}")),
            ("x-magento-tags".to_owned(), format!("page,{first}")),
        ];
        exchange.answer(200, &headers, "page");
    })
}

struct World {
    origin: SocketAddr,
    shim: Shim,
    varnish: Varnish,
    listeners: Vec<SocketAddr>,
}

impl World {
    /// Starts the sites `www` and `shop`, with these `[[inbound]]` tables, each of which gets its address for `{}`.
    fn start(inbound: &[&str]) -> Self {
        let origin = application();
        let (shim, (varnish, listeners)) = Shim::start_behind(|address| {
            let varnish = Varnish::start(address);
            let (mut tables, mut listeners) = (String::new(), Vec::new());
            for table in inbound {
                let mut table = (*table).to_owned();
                while table.contains("{}") {
                    let address = free_address();
                    table = table.replacen("{}", &address.to_string(), 1);
                    listeners.push(address);
                }
                tables += &format!("[[inbound]]\n{table}\n");
            }
            let www = Site::www(origin).varnish(&varnish);
            let shop = Site::named("shop").host("shop.example").origin(origin).varnish(&varnish);
            let token = format!(
                "[[admin.tokens]]\nname = \"shop\"\ntoken = \"literal:{SHOP}\"\n\
                 scopes = [\"purge\", \"purge-everything\"]\nsites = [\"shop\"]\n"
            );
            ((varnish, listeners), format!("{www}{shop}{token}{tables}"))
        });
        shim.wait_until_healthy();
        Self { origin, shim, varnish, listeners }
    }

    /// Returns the source of the page: `HIT` or `MISS`.
    fn see(&self, target: &str) -> String {
        Request::get(target).send(self.varnish.address).header("x-cache").to_owned()
    }

    /// Brings these pages into the cache.
    fn cache(&self, targets: &[&str]) {
        for target in targets {
            self.see(target);
            assert_eq!(self.see(target), "HIT", "{target}");
        }
    }

    /// Returns how many purges there are.
    fn purges(&self) -> usize {
        let purges = self.shim.call(Request::get("/v1/purges?limit=100")).json();
        purges["purges"].as_array().unwrap().len()
    }

    /// Waits until every purge is done.
    fn settle(&self) {
        eventually("all purges are done", || {
            let purges = self.shim.call(Request::get("/v1/purges?limit=100")).json();
            purges["purges"].as_array().unwrap().iter().all(|purge| purge["state"] == "done").then_some(())
        });
    }
}

/// Sends a call of a client to a listener.
fn call(to: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let host = to.to_string();
    let request = Request { host: &host, body: body.as_bytes(), ..Request::get(target) };
    request.method(method).headers(headers).send(to)
}

/// Sends a call that is signed with EdgeGrid, as Akamai's clients do.
fn akamai(to: SocketAddr, (name, secret): (&str, &str), nonce: &str, target: &str, body: &str) -> Answer {
    let uri = format!("http://{to}{target}");
    let request = http::Request::post(uri).body(Bytes::copy_from_slice(body.as_bytes())).unwrap();
    let signer = Signer {
        client_token: name,
        client_secret: secret,
        access_token: "any",
        max_body: MAX_BODY,
        headers_to_sign: &[],
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let now = jiff::Timestamp::from_second(now.cast_signed()).unwrap();
    let timestamp = now.strftime("%Y%m%dT%H:%M:%S+0000").to_string();
    let signature = signer.signature(&request, &timestamp, nonce);
    let authorization = format!(
        "EG1-HMAC-SHA256 client_token={name};access_token=any;timestamp={timestamp};nonce={nonce};signature={signature}"
    );
    call(to, "POST", target, &[("authorization", &authorization)], body)
}

const FASTLY: &str = "listen = [\"{}\"]\nprotocol = \"fastly\"";
const CLOUDFLARE: &str = "listen = [\"{}\"]\nprotocol = \"cloudflare\"";
const AKAMAI: &str = "listen = [\"{}\"]\nprotocol = \"akamai\"";
