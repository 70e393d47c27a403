//! The texts of a CDN's answers, prepared for people: one line, bounded, without secrets.

use super::{Classified, Reply, Verdict};

/// The longest message that is kept, in bytes.
pub const MESSAGE_BYTES: usize = 2048;

/// The longest call id that is kept, in bytes.
const REQUEST_ID_BYTES: usize = 128;

/// Returns `message` on one line of at most [`MESSAGE_BYTES`], with every secret blanked, because a CDN may
/// echo what it was sent.
pub fn scrub(message: &str, secrets: &[&str]) -> String {
    shorten(&blank(message, secrets), MESSAGE_BYTES)
}

/// Returns a classified answer with `words` as its message, or the answer's body if `words` is empty, or its
/// status if the body is empty, too.
pub(super) fn classified(
    verdict: Verdict,
    request_id: Option<&str>,
    words: &str,
    reply: &Reply,
    secrets: &[&str],
) -> Classified {
    let mut message = scrub(words, secrets);
    if message.is_empty() {
        message = scrub(&reply.text(), secrets);
    }
    if message.is_empty() {
        message = reply.status.to_string();
    }
    let request_id = request_id.filter(|id| !id.is_empty());
    Classified {
        verdict,
        request_id: request_id.map(|id| shorten(&blank(id, secrets), REQUEST_ID_BYTES)),
        message,
    }
}

/// Returns a success without the proof that its API always includes, which `missing` names. The answer itself
/// follows in the message, because it shows who sent it.
pub(super) fn unproven(reply: &Reply, missing: &str, secrets: &[&str]) -> Classified {
    let words = format!("{} without {missing}: {}", reply.status.as_u16(), reply.text());
    let message = scrub(words.trim_end_matches(": "), secrets);
    Classified { verdict: Verdict::Unproven, request_id: None, message }
}

/// Returns the result of a check one of whose calls has no answer.
pub(super) fn unanswered() -> Classified {
    Classified { verdict: Verdict::Later(None), request_id: None, message: "no answer".to_owned() }
}

/// Blanks the longest secret first, so that nothing remains of a secret that contains another.
fn blank(text: &str, secrets: &[&str]) -> String {
    let mut secrets: Vec<&str> = secrets.iter().copied().filter(|secret| !secret.is_empty()).collect();
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "[secret]"))
}

/// Turns whitespace and control characters into single spaces, and ends a text that is too long in an ellipsis.
fn shorten(text: &str, limit: usize) -> String {
    const ELLIPSIS: &str = "…";
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let mut line = String::new();
    for word in words {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.len() > limit {
            line.truncate(line.floor_char_boundary(limit - ELLIPSIS.len()));
            line.push_str(ELLIPSIS);
            break;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: &str, secrets: &[&str], expected: &str) {
        assert_eq!(scrub(message, secrets), expected);
    }

    #[test]
    fn one_line_without_secrets() {
        check("all  good\r\n\there\u{0}now", &[], "all good here now");
        check("token abc123 is abc123", &["abc123"], "token [secret] is [secret]");
        check("abc123x abc123", &["abc123", "abc123x"], "[secret] [secret]");
        check("nothing", &[""], "nothing");
        check(" \n", &["x"], "");
    }

    #[test]
    fn long_messages_end_at_a_character() {
        let long = scrub(&"ü".repeat(MESSAGE_BYTES), &[]);
        assert!(long.len() <= MESSAGE_BYTES && long.ends_with("ü…"), "{} bytes", long.len());
        let exact = "x".repeat(MESSAGE_BYTES);
        assert_eq!(scrub(&exact, &[]), exact);
    }
}
