//! Rights to change the log filter, and invalid filters. That a filter takes effect is tested with the whole
//! program, because the log belongs to the process.

use super::*;

#[tokio::test]
async fn what_is_logged_is_for_operators_of_all_sites() {
    let api = Api::new();
    let put = |token: &str, body: &str| {
        let mut request = post("/v1/log-filter", token, body);
        *request.method_mut() = Method::PUT;
        request
    };
    let check = async |request: Request<Body>, status: u16, part: &str| {
        let reply = api.call(request).await;
        assert_eq!(reply.status.as_u16(), status, "{}", reply.body);
        assert!(reply.body.contains(part), "{}", reply.body);
    };
    check(put("cms", r#"{"filter": "debug"}"#), 403, "operate").await;
    check(put("operator", r#"{"filter": "debug"}"#), 403, "the log concerns all").await;
    check(get("/v1/log-filter", "auditor"), 403, "operate").await;
    check(get("/v1/log-filter", "operator"), 403, "the log concerns all").await;
    check(put("root", r#"{"filter": "a=b=c"}"#), 422, "\"item\":\"filter\"").await;
    check(put("root", &format!(r#"{{"filter": "{}"}}"#, "a".repeat(1001))), 422, "at most 1000 bytes").await;
    check(put("root", r#"{"level": "debug"}"#), 422, "unknown field").await;
    check(put("root", "debug"), 400, "not JSON").await;
    check(put("root", r#"{"filter": "debug"}"#), 503, "There is no log.").await;
    check(get("/v1/log-filter", "root"), 503, "There is no log.").await;
}
