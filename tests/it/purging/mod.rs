//! Purges, the CDNs that carry them out, and what a cache may keep.
//!
//! | file | what is tested |
//! |---|---|
//! | `fresh_pages.rs`, `events.rs`, `spellings.rs` | pages are fresh after purges and publish events |
//! | `races.rs`, `send_queue.rs` | purges while a response is on its way |
//! | `header_purges.rs` | purges that the origin asks for in a response |
//! | `modes.rs` | copies that have no tags |
//! | `verifying.rs`, `proof.rs`, `edge.rs` | whether the CDN really purges |
//! | `adapters.rs`, `cloudfront.rs`, `cdn_contract.rs` | the API of each CDN |
//! | `credentials.rs`, `identity.rs` | credentials, and the service that a purge belongs to |
//! | `cache_model/` | random histories against a model of the CDNs' caches |
//! | `guard_cost.rs` | the cost of the guard per response |

mod adapters;
mod cache_model;
mod cdn_contract;
mod cloudfront;
mod credentials;
mod edge;
mod events;
mod fresh_pages;
mod guard_cost;
mod header_purges;
mod identity;
mod long_lists;
mod modes;
mod proof;
mod races;
mod send_queue;
mod spellings;
mod verifying;
