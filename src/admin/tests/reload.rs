//! The answers to a reload. Its effects are tested with the whole program.

use super::*;
use crate::admin::problem::BadItem;
use crate::admin::reload::{Change, ChangeKind, NotReloaded, Reloaded};

#[tokio::test]
async fn a_reload_tells_what_changed_or_what_is_wrong() {
    let api = Api::new();
    let mut text = String::new();
    let item = |item: &str, message: &str| BadItem { item: item.to_owned(), message: message.to_owned() };
    let wrong = item("shim.toml:3:1", "sites[0].mode: must be one of on, observe, off");
    for result in [
        Ok(Reloaded::default()),
        Ok(Reloaded {
            changes: vec![Change { key: "sites.www.mode".to_owned(), change: ChangeKind::Changed }],
            restart_needed: vec!["server.listen".to_owned()],
            warnings: vec!["shim.toml:1:1: admin.tokens: without a token".to_owned()],
        }),
        Err(NotReloaded { detail: "The configuration file is invalid.".to_owned(), problems: vec![wrong] }),
    ] {
        *api.control.reload.lock().unwrap() = Some(result);
        let reply = api.call(post("/v1/reload", "root", "")).await;
        text += &format!("{} {}\n", reply.status.as_u16(), reply.body);
    }
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn a_reload_can_be_tried() {
    let api = Api::new();
    let reply = api.call(post("/v1/reload", "root", r#"{"dry_run": true}"#)).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
    assert_eq!(api.control.compared.load(std::sync::atomic::Ordering::Relaxed), 1);
    assert_eq!(api.call(post("/v1/reload", "root", "")).await.status, StatusCode::OK);
    assert_eq!(api.control.compared.load(std::sync::atomic::Ordering::Relaxed), 1);
}
