//! The copies of a page at the CDNs.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Returns the address of a CDN that answers each call with these header fields.
async fn cdn_with(fields: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = [0; 4_096];
            let read = stream.read(&mut asked).await.unwrap_or_default();
            let asked = String::from_utf8_lossy(&asked[..read]).to_lowercase();
            let is_visit = asked.starts_with("head /a?b=1 ") && asked.contains("host: www.example.com");
            let status = if is_visit { 200 } else { 400 };
            let answer =
                format!("HTTP/1.1 {status} x\r\n{fields}content-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    format!("http://{address}")
}

fn verified_at(api: &Api, base: String) {
    let mut config = (*api.state.config.load_full()).clone();
    let mut site = (*config.sites[0]).clone();
    let mut cdn = (*site.cdns[0]).clone();
    cdn.verify_url = Some(base);
    site.cdns = vec![Arc::new(cdn)];
    config.sites[0] = Arc::new(site);
    api.state.config.store(Arc::new(config));
}

#[tokio::test]
async fn a_copy_tells_its_age() {
    let body = r#"{"url": "https://www.example.com/a?b=1"}"#;
    for (fields, age) in [("age: 90\r\n", Some(90)), ("", None)] {
        let api = Api::new();
        verified_at(&api, cdn_with(fields).await);
        let reply = api.call(post("/v1/sites/www/freshness", "operator", body)).await;
        let copy = &reply.json()["copies"][0];
        assert_eq!((&copy["status"], &copy["cdn"]), (&200.into(), &"fastly".into()), "{}", reply.body);
        assert_eq!(copy["age_seconds"].as_i64(), age, "{}", reply.body);
        assert_eq!(copy["fetched_at"].is_string(), age.is_some());
    }
}

#[tokio::test]
async fn only_pages_of_the_sites_cdns_are_looked_at() {
    let api = Api::new();
    for url in ["https://shop.example.com/", "http://127.0.0.1/", "ftp://www.example.com/", "/a"] {
        let reply =
            api.call(post("/v1/sites/www/freshness", "operator", &format!(r#"{{"url": "{url}"}}"#))).await;
        assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY, "{url}: {}", reply.body);
    }
}
