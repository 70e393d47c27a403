//! The names that a purge accepts, and by which responses may be kept. Every lengthened response must be purgeable
//! by the names that it carries. A name that can match nothing is refused rather than reported as purged.

/// The maximum number of bytes of a tag. This is not the limit of a CDN, because tags too long for a CDN are sent
/// as a hash ([`super::tags::encode`]). It is a reasonable limit for one response, and for one line of a request.
const MAX_TAG: usize = 16_384;

/// Checks whether `text` can be a tag of a purge. The error explains why not, and what to write instead.
pub fn tag(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("must not be empty".into());
    }
    if text.len() > MAX_TAG {
        return Err(format!("has {} bytes: at most {MAX_TAG}", text.len()));
    }
    if text.contains([' ', '\t']) {
        return Err("must not have spaces, which separate tags: give each tag by itself".into());
    }
    if text.contains(',') {
        return Err("must not have a comma, which separates tags: give each tag by itself".into());
    }
    if text.contains(|c: char| c.is_ascii_control()) {
        return Err("must not have control characters".into());
    }
    if text.contains('*') {
        return Err(
            "must not have a `*`, which is no wildcard in tags: name each tag, or use `prefixes` for \
                    everything below a path"
                .into(),
        );
    }
    Ok(())
}

/// Whether a purge can name a short tag that consists of bytes like this one, none of them a separator.
pub(super) fn is_plain(byte: u8) -> bool {
    byte.is_ascii() && byte != b'*'
}

/// Whether a tag is short enough for a purge.
pub(super) fn is_short(tag: &[u8]) -> bool {
    tag.len() <= MAX_TAG
}

/// Whether a purge can name the tag of a response. JSON cannot express bytes that are not UTF-8, and a `*` is
/// refused because it is not a wildcard.
pub(super) fn is_tag(tag: &[u8]) -> bool {
    // Most tags are short and plain ASCII.
    let plain = |b: &u8| b.is_ascii_graphic() && !matches!(b, b'*' | b',');
    (tag.len() <= MAX_TAG && tag.iter().all(plain))
        || std::str::from_utf8(tag).is_ok_and(|tag| self::tag(tag).is_ok())
}

/// Checks whether `text` can be a path of a purge, which is the page there with every query.
pub fn path(text: &str) -> Result<(), String> {
    absolute(text)?;
    if text.contains('?') {
        return Err(
            "must not have a query: a path is the page with every query; for just one of them use `urls`"
                .into(),
        );
    }
    without_wildcard(text)
}

/// Checks whether `text` can be a prefix of a purge, which is everything below it.
pub fn prefix(text: &str) -> Result<(), String> {
    absolute(text)?;
    if text.contains('?') {
        return Err("must not have a query: it stands for everything below it, with every query".into());
    }
    if text.contains('*') {
        return Err("must not have a wildcard: it stands for everything below it, so `/blog/` is enough; a \
                    star in a name is written `%2A`"
            .into());
    }
    let normal = super::path::normalise(text);
    if !normal.ends_with('/') {
        return Err(format!(
            "must end with `/`: `{}/` is everything below it; for the page itself use `paths`",
            shortened(text)
        ));
    }
    Ok(())
}

/// Checks that `text` has no `*`, which a purge of a page or URL would take literally.
pub fn without_wildcard(text: &str) -> Result<(), String> {
    if text.contains('*') {
        return Err("must not have a `*`, which is no wildcard here: for everything below a path use `prefixes`, for \
                    every query `paths`; a star in the name of a page is written `%2A`"
            .into());
    }
    Ok(())
}

/// Checks that `text` neither begins nor ends with white space, which some readers would drop and some keep.
pub fn trimmed(text: &str) -> Result<(), String> {
    if text.trim() != text {
        return Err("must not begin or end with white space: a space in a name is written `%20`".into());
    }
    Ok(())
}

fn absolute(text: &str) -> Result<(), String> {
    trimmed(text)?;
    if text.chars().any(char::is_control) {
        return Err("must not have control characters".into());
    }
    if !text.starts_with('/') {
        return Err("must start with `/`".into());
    }
    if text.contains('#') {
        return Err(
            "must not have a fragment, which no request carries; a `#` in a name is written `%23`".into()
        );
    }
    if text.contains('\\') {
        return Err(
            "must not have a `\\`: browsers ask for a `/` instead; in a name it is written `%5C`".into()
        );
    }
    Ok(())
}

fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(100).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_the_api_names_is_what_responses_may_carry() {
        let longest = "x".repeat(MAX_TAG);
        for good in ["product-42", "a;b", "node:1", "ü", "a\u{a0}b", "a\u{85}b", "100%", "\"a\"", &longest] {
            assert!(tag(good).is_ok() && is_tag(good.as_bytes()), "{good}");
        }
        let longer = "x".repeat(MAX_TAG + 1);
        for bad in ["", "a b", " a", "a\t", "a,b", ",a", "a,", "a\r\nb", "a*", &longer] {
            assert!(tag(bad).is_err(), "{bad}");
            assert!(bad.is_empty() || !is_tag(bad.as_bytes()), "{bad}");
        }
        assert!(!is_tag(b"caf\xe9"));
    }

    proptest! {
        #[test]
        fn both_sides_agree(text in "\\PC{0,6}|[ -~]{1,6}") {
            prop_assume!(!text.is_empty());
            prop_assert_eq!(is_tag(text.as_bytes()), tag(&text).is_ok());
            // A header value has no control character except the tab, which separates.
            let tags = || text.split([' ', '\t', ',']).filter(|tag| !tag.is_empty());
            let is_plain = |tag: &str| is_short(tag.as_bytes()) && tag.bytes().all(is_plain);
            prop_assert!(tags().all(|tag| !is_plain(tag) || is_tag(tag.as_bytes())));
        }
    }
}
