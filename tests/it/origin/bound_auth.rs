//! Authentication that is bound to a connection. No request may be taken for one of the client that authenticated the
//! connection.

use crate::harness::in_process::{Shim, cdn, config, site};
use crate::harness::scripted::Origin;
use crate::harness::wire::{get, get_with, header, status};
use origin_shim::rewrite::CdnType;

/// Starts an origin that greets the user who authenticated the connection, and marks this response as cacheable for
/// everyone.
fn domain() -> Origin {
    Origin::playing(|served| {
        let mut visitor = None;
        while let Some((request, _)) = served.request() {
            visitor = header(&request, "authorization").map(str::to_owned).or(visitor);
            let answer = match &visitor {
                Some(visitor) => {
                    let body = format!("hello {visitor}");
                    format!(
                        "HTTP/1.1 200 OK\r\ncache-control: public, max-age=60, s-maxage=600\r\npersistent-auth: true\r\n\
                         content-length: {}\r\n\r\n{body}",
                        body.len()
                    )
                }
                None => {
                    "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Negotiate\r\nwww-authenticate: NTLM\r\n\
                         content-length: 0\r\n\r\n"
                        .to_owned()
                }
            };
            served.wire.send(answer);
        }
    })
}

#[test]
fn r66_a_connection_that_one_visitor_authenticated_serves_no_other() {
    for scheme in ["NTLM", "Negotiate", "negotiate", "ntlm"] {
        let origin = domain();
        let shim = Shim::before(&origin);
        let authorization = format!("authorization: {scheme} YWxpY2U=\r\n");
        let (head, body) = shim.request(&get_with("/", &authorization));
        assert_eq!((status(&head), body), (200, format!("hello {scheme} YWxpY2U=")));
        let (head, body) = shim.request(&get("/"));
        assert_eq!((status(&head), body.as_str()), (401, ""), "{scheme}");
        // A connection on which such a handshake has begun is not kept either.
        assert_eq!(status(&shim.request(&get("/")).0), 401);
        assert_eq!(origin.connections(), 3);
    }
    // Credentials that are sent with each request do not bind a connection.
    let origin = Origin::ok();
    let shim = Shim::before(&origin);
    for _ in 0..3 {
        assert_eq!(shim.request(&get_with("/", "authorization: Basic eA==\r\n")).1, "ok");
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn r66_and_no_cache_keeps_its_page() {
    let origin = domain();
    let mut www = site(&[origin.address]);
    www.cdns = vec![cdn(CdnType::Fastly)];
    let shim = Shim::start(&config(vec![www]));
    shim.health.cell("www", "fastly").set(true);
    let opted_in = "x-push-invalidation: enabled\r\nauthorization: NTLM YWxpY2U=\r\n";
    let (head, body) = shim.request(&get_with("/", opted_in));
    assert_eq!(body, "hello NTLM YWxpY2U=");
    assert!(head.contains("private") && !head.contains("172800"), "{head}");
    shim.counts(
        r#"origin_shim_requests_total{site="www",status="2xx",decision="untouched",reason="private"} 1"#,
    );
    // A request that does not opt in gets the origin's response.
    let (head, _) = shim.request(&get_with("/", "authorization: NTLM YWxpY2U=\r\n"));
    assert_eq!(header(&head, "cache-control"), Some("public, max-age=60, s-maxage=600"), "{head}");
}
