//! The stamp on responses for CDNs whose purges are verified. `rewrite/stamp.rs` defines its form and meaning.

use crate::http::head::Headers;
use crate::rewrite::stamp::{self, STAMP};
use http::HeaderValue;
use std::cell::RefCell;
use std::sync::LazyLock;

/// A random number that is drawn at every start, because the clocks of several instances may differ.
static INSTANCE: LazyLock<u32> = LazyLock::new(|| fastrand::u32(..));

thread_local! {
    /// The last stamp of this worker, which all responses of the same millisecond share.
    static LAST: RefCell<Option<(i64, HeaderValue)>> = const { RefCell::new(None) };
}

/// Stamps a response that the CDN may keep (`is_kept`), even if only for a second. `began_ms` is when its request
/// arrived. If the CDN may not keep it, removes any stamp: one that the origin or another instance has written would
/// not be the time of our request.
pub(super) fn put(headers: &mut Headers, is_kept: bool, began_ms: i64) {
    match value(began_ms).filter(|_| is_kept) {
        Some(value) => headers.insert(&STAMP, &value),
        None => headers.remove(STAMP),
    }
}

fn value(began_ms: i64) -> Option<HeaderValue> {
    LAST.with_borrow_mut(|last| match last {
        Some((then_ms, value)) if *then_ms == began_ms => Some(value.clone()),
        _ => {
            let value = stamp::write(began_ms, *INSTANCE)?;
            *last = Some((began_ms, value.clone()));
            Some(value)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_be_kept_is_stamped() {
        let stamped = |is_kept, began_ms| {
            let mut headers = Headers::new();
            headers.insert(&STAMP, &HeaderValue::from_static("1-00000001"));
            put(&mut headers, is_kept, began_ms);
            headers.get(STAMP).map(|value| stamp::read(&value.to_owned()).unwrap())
        };
        assert_eq!(stamped(true, 1_000), Some(1_000));
        assert_eq!(stamped(true, 1_000), Some(1_000));
        assert_eq!(stamped(true, 2_000), Some(2_000));
        assert_eq!(stamped(false, 2_000), None);
    }
}
