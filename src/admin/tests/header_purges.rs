//! Purges that origins ask for: they are committed when the store commits again, and a refused item keeps no other
//! from being purged.

use super::*;
use crate::admin::commit_header_purges;
use crate::view::{AskedItems, HeaderPurges};
use std::sync::atomic::Ordering;

fn tags(names: &[&str]) -> AskedItems {
    let mut items = AskedItems::default();
    names.iter().for_each(|name| items.add_tag(name));
    items
}

/// Returns the tags of each purge, the newest first.
async fn purged(api: &Api) -> Vec<serde_json::Value> {
    let purges = api.call(get("/v1/purges", "root")).await.json();
    purges["purges"].as_array().unwrap().iter().map(|purge| purge["items"]["tags"].clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn what_the_store_refuses_is_tried_again_as_one_purge() {
    let (api, asked) = (Api::new(), HeaderPurges::default());
    tokio::spawn(commit_header_purges(api.state.clone(), asked.take_receiver().unwrap()));
    let queue = asked.queue("www");
    api.store.broken.store(true, Ordering::Relaxed);
    let first = queue.ask(&tags(&["a"]));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let second = queue.ask(&tags(&["b"]));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(asked.pending(), ["www"]);
    api.store.broken.store(false, Ordering::Relaxed);
    queue.committed(first).await;
    queue.committed(second).await;
    assert_eq!(purged(&api).await, [serde_json::json!(["a", "b"])]);
    asked.emptied().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_item_keeps_no_other_from_being_purged() {
    let (api, asked) = (Api::new(), HeaderPurges::default());
    tokio::spawn(commit_header_purges(api.state.clone(), asked.take_receiver().unwrap()));
    let path_tag = format!("p-{}", "0".repeat(32));
    let queue = asked.queue("www");
    queue.committed(queue.ask(&tags(&["a", &path_tag, "z"]))).await;
    assert_eq!(purged(&api).await, [serde_json::json!(["a", "z"])]);
    // Neither a purge of nothing nor a site that is gone is tried again.
    queue.committed(queue.ask(&tags(&[&path_tag]))).await;
    let gone = asked.queue("gone");
    gone.committed(gone.ask(&tags(&["a"]))).await;
    assert_eq!(purged(&api).await.len(), 1);
}
