//! One webhook: the conditions under which it counts, and the items that its body names.

use crate::config::template::{Names, TooMany};
use crate::config::{Condition, HookRule, Place};
use crate::purge::publish::Event;
use crate::purge::{MAX_ITEMS, PurgeRequest};
use http::HeaderMap;
use serde_json::Value;
use std::collections::HashSet;

/// What a webhook asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing: a condition does not hold, or no template finds its values.
    Nothing,
    /// A purge.
    Purge(PurgeRequest),
    /// A publish event.
    Event(Event),
}

impl HookRule {
    /// Whether all conditions hold for a webhook.
    pub fn is_meant(&self, headers: &HeaderMap, body: &Value) -> bool {
        self.when.iter().all(|condition| condition.holds(headers, body))
    }

    /// Returns what a webhook asks for.
    pub fn read(&self, headers: &HeaderMap, body: &Value) -> Result<Wanted, TooMany> {
        if !self.is_meant(headers, body) {
            return Ok(Wanted::Nothing);
        }
        let mut request = PurgeRequest { everything: self.everything, ..PurgeRequest::default() };
        let lists = [
            (&self.tags, Names::Tags, &mut request.tags),
            (&self.paths, Names::Paths, &mut request.paths),
            (&self.prefixes, Names::Paths, &mut request.prefixes),
        ];
        for (templates, names, list) in lists {
            for template in templates {
                template.fill(body, names, MAX_ITEMS, list)?;
            }
            // An array may name the same thing several times.
            let mut seen = HashSet::new();
            list.retain(|item| seen.insert(item.clone()));
        }
        if request.item_count() == 0 {
            return Ok(Wanted::Nothing);
        }
        if request.item_count() > MAX_ITEMS {
            return Err(TooMany);
        }
        Ok(match &self.event {
            Some(event) => {
                Wanted::Event(Event { event: event.clone(), paths: request.paths, ..Event::default() })
            }
            None => Wanted::Purge(request),
        })
    }
}

impl Condition {
    /// Whether the condition holds for a webhook.
    pub fn holds(&self, headers: &HeaderMap, body: &Value) -> bool {
        let is_one = |value: &str| self.is.iter().any(|one| one == value);
        match &self.of {
            Place::Body(pointer) => pointer.values(body).iter().any(|value| is_one(value)),
            Place::Header(name) => {
                headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).any(is_one)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::template::{Pointer, Template};
    use http::{HeaderName, HeaderValue};
    use serde_json::json;

    fn templates(texts: &[&str]) -> Vec<Template> {
        texts.iter().map(|text| Template::parse(text).unwrap()).collect()
    }

    fn condition(pointer: &str, is: &[&str]) -> Condition {
        let is = is.iter().map(|value| (*value).to_owned()).collect();
        Condition { of: Place::Body(Pointer::parse(pointer).unwrap()), is }
    }

    #[test]
    fn a_webhook_names_what_changed() {
        let hook = HookRule {
            when: vec![condition("/type", &["entry.published", "entry.unpublished"])],
            tags: templates(&["entry-{/entry/id}", "{/entry/tags}"]),
            paths: templates(&["/blog/{/entry/slug}", "/authors/{/entry/author/name}"]),
            ..HookRule::default()
        };
        let body = json!({
            "type": "entry.published",
            "entry": { "id": "4711", "slug": "für alle", "tags": ["a", "b", "a"] }
        });
        let expected = PurgeRequest {
            tags: vec!["entry-4711".into(), "a".into(), "b".into()],
            paths: vec!["/blog/f%C3%BCr%20alle".into()],
            ..PurgeRequest::default()
        };
        assert_eq!(hook.read(&HeaderMap::new(), &body), Ok(Wanted::Purge(expected)));
        let other = json!({ "type": "entry.saved", "entry": { "id": "4711" } });
        assert_eq!(hook.read(&HeaderMap::new(), &other), Ok(Wanted::Nothing));
        // Nothing is named.
        assert_eq!(hook.read(&HeaderMap::new(), &json!({ "type": "entry.published" })), Ok(Wanted::Nothing));
    }

    #[test]
    fn a_condition_may_be_about_a_header() {
        let topic = HeaderName::from_static("x-contentful-topic");
        let is = vec!["ContentManagement.Entry.publish".to_owned()];
        let hook = HookRule {
            when: vec![
                Condition { of: Place::Header(topic.clone()), is },
                condition("/sys/type", &["Entry"]),
            ],
            everything: true,
            ..HookRule::default()
        };
        let body = json!({ "sys": { "type": "Entry" } });
        let mut headers = HeaderMap::new();
        assert!(!hook.is_meant(&headers, &body));
        headers.insert(&topic, HeaderValue::from_static("ContentManagement.Entry.save"));
        assert!(!hook.is_meant(&headers, &body));
        headers.append(topic, HeaderValue::from_static("ContentManagement.Entry.publish"));
        assert!(hook.is_meant(&headers, &body) && !hook.is_meant(&headers, &json!({})));
    }

    #[test]
    fn an_event_has_the_paths() {
        let hook = HookRule {
            event: Some("publish".into()),
            paths: templates(&["/{/full_slug}"]),
            ..HookRule::default()
        };
        let Ok(Wanted::Event(event)) = hook.read(&HeaderMap::new(), &json!({ "full_slug": "blog/first" }))
        else {
            panic!("an event");
        };
        assert_eq!((&*event.event, event.paths), ("publish", vec!["/blog/first".to_owned()]));
    }

    #[test]
    fn the_items_are_bounded_together() {
        let hook = HookRule {
            tags: templates(&["a{/all}", "b{/all}"]),
            paths: templates(&["/{/all}"]),
            ..HookRule::default()
        };
        let body = |count: usize| json!({ "all": (0..count).collect::<Vec<_>>() });
        assert_eq!(hook.read(&HeaderMap::new(), &body(MAX_ITEMS / 2 + 1)), Err(TooMany));
        assert_eq!(hook.read(&HeaderMap::new(), &body(MAX_ITEMS / 3 + 1)), Err(TooMany));
        assert!(matches!(hook.read(&HeaderMap::new(), &body(MAX_ITEMS / 3)), Ok(Wanted::Purge(_))));
    }
}
