//! Varnish with the shipped VCL (`config/varnish.vcl`), which defines these calls. Every node gets every call.

use super::pack::{Group, pack};
use super::row::{Mark, PrefixNames, ResponseTraces, Row};
use super::{
    Adapter, Batch, Capabilities, Classified, Configured, ItemKind, Known, Rates, Reply, RequestError,
    SignContext, Verdict, message, names,
};
use crate::config::{self, Cdn};
use crate::rewrite::CdnType;
use crate::rewrite::spelling::{Piece, canonical, pieces};
use bytes::Bytes;
use http::Request;
use http::header::HOST;
use std::sync::Arc;

mod credentials;

#[cfg(test)]
mod tests;

pub(super) static ROW: Row = Row {
    page: |target| target,
    // The shipped VCL compares canonical forms.
    prefixes: PrefixNames::Canonical,
    responses: ResponseTraces {
        marks: &[Mark::Field("x-varnish"), Mark::Contains("via", "varnish")],
        precedence: 4,
        asked_by: None,
        ids: Some("x-varnish"),
        not_kept: None,
    },
    price: None,
};

const CAPABILITIES: Capabilities = Capabilities {
    tags: true,
    prefixes: true,
    soft: true,
    soft_everything: false,
    // A ban always deletes.
    soft_prefixes: false,
    any_query: true,
    schemes: &["https"],
    urls_per_call: 1,
    tags_per_call: 1_000,
    prefixes_per_call: 1,
    // The tags are sent in one header line, and Varnish reads lines of up to 8 KiB.
    bytes_per_call: 6_900,
    mixed_kinds: false,
    stable_reference: false,
};

/// The adapter of a group of Varnish nodes that hold the same content.
#[derive(Debug)]
pub struct Varnish {
    api_urls: Vec<String>,
}

impl Varnish {
    /// Creates the adapter of the nodes at `api_urls`.
    pub fn new(api_urls: &[String]) -> Self {
        Self { api_urls: api_urls.to_vec() }
    }

    fn purge(&self, node: &str, group: &Group) -> Result<Request<Bytes>, RequestError> {
        let name = group.names.first().map(String::as_str).unwrap_or_default();
        let call =
            |method: &str, target: &str| Request::builder().method(method).uri(format!("{node}{target}"));
        let call = match (group.kind, group.hard) {
            (ItemKind::Tag, true) => call("PURGE", "/").header("xkey-purge", group.names.join(" ")),
            (ItemKind::Tag, false) => call("PURGE", "/").header("xkey-softpurge", group.names.join(" ")),
            (ItemKind::Url, hard) => {
                let url = names::url(name)?;
                let mode = if hard { "hard" } else { "soft" };
                call("PURGE", names::target(&url))
                    .header(HOST, names::authority(&url))
                    .header("x-purge-mode", mode)
            }
            (ItemKind::Prefix, _) => {
                // `host/path?` also bans the page with any query.
                let (name, query) = name.strip_suffix('?').map_or((name, ""), |page| (page, "?"));
                let (host, path) = names::prefix(name)?;
                let start = spelt(&path) + if query.is_empty() { "" } else { "\\?" };
                call("BAN", "/").header("x-ban-host", host).header("x-ban-prefix", start)
            }
            (ItemKind::Everything, _) => call("BAN", "/").header("x-ban-everything", "1"),
        };
        Ok(call.body(Bytes::new())?)
    }
}

impl Configured for config::cdns::Varnish {
    fn adapter(&self, _cdn: &Cdn) -> Arc<dyn Known> {
        Arc::new(Varnish::new(&self.api_urls))
    }

    fn capabilities(&self, _cdn: &Cdn) -> Capabilities {
        CAPABILITIES
    }

    fn published(&self) -> Rates {
        Rates::default()
    }
}

impl Adapter for Varnish {
    fn cdn_type(&self) -> CdnType {
        CdnType::Varnish
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    fn requests(&self, batch: &Batch, _sign: &SignContext) -> Result<Vec<Request<Bytes>>, RequestError> {
        let mut named = Vec::with_capacity(batch.items.len());
        for item in &batch.items {
            let name = match item.kind {
                ItemKind::Tag => names::tag(&item.value)?,
                ItemKind::Url | ItemKind::Prefix | ItemKind::Everything => &item.value,
            };
            named.push((item.kind, item.hard, name.to_owned()));
        }
        let groups = pack(named, |group, name| group.has_room(name, &CAPABILITIES));
        let calls =
            groups.iter().flat_map(|group| self.api_urls.iter().map(move |node| self.purge(node, group)));
        calls.collect()
    }

    fn classify(&self, reply: &Reply) -> Classified {
        classify(reply)
    }

    /// Returns, for every node, a purge of a tag that no response carries and a ban of a host that does not
    /// exist.
    fn check_requests(&self, sign: &SignContext) -> Result<Vec<Request<Bytes>>, RequestError> {
        let both = |node: &String| unused(true, sign).map(|group| self.purge(node, &group));
        self.api_urls.iter().flat_map(both).collect()
    }

    fn classify_check(&self, replies: &[Reply]) -> Classified {
        if replies.len() != 2 * self.api_urls.len() {
            return message::unanswered();
        }
        let nodes = replies.chunks(2).map(classify_node);
        let answers = nodes.enumerate().map(|(node, answer)| match answer.verdict {
            Verdict::Done => answer,
            _ => {
                let message = message::scrub(&format!("node {}: {}", node + 1, answer.message), &[]);
                Classified { message, ..answer }
            }
        });
        let worst = answers.reduce(|first, next| if first.verdict == Verdict::Done { next } else { first });
        worst.unwrap_or_else(message::unanswered)
    }
}

/// Returns one group for each purging part of the shipped VCL, with items that match no page: tags and URLs are
/// purged, prefixes and everything are banned. The ban is the same each time, because Varnish keeps only the
/// last one of equal bans (`ban_dups`).
fn unused(hard: bool, sign: &SignContext) -> [Group; 2] {
    let group = |kind, name| Group { kind, hard, names: vec![name], bytes: 0 };
    [
        group(ItemKind::Tag, format!("origin-shim-check-{}", sign.nonce)),
        group(ItemKind::Prefix, "origin-shim-check-ban.invalid/".to_owned()),
    ]
}

/// Returns the combined verdict on a node's answers to [`unused`].
fn classify_node(replies: &[Reply]) -> Classified {
    let mut answers: Vec<Classified> = replies.iter().map(classify).collect();
    match answers.iter().position(|answer| answer.verdict != Verdict::Done) {
        Some(1) if answers[1].verdict == Verdict::Unproven => {
            Classified { message: OLD_VCL.to_owned(), ..answers.swap_remove(1) }
        }
        Some(bad) => answers.swap_remove(bad),
        None => answers.pop().unwrap_or_else(message::unanswered),
    }
}

/// The error of a node whose tag purges are proved while its bans are not.
const OLD_VCL: &str = "a BAN is answered without X-Purged, as by a copy of config/varnish.vcl from before bans were proved: \
    load the one of this release";

/// Classifies an answer. The shipped VCL proves each purge and ban with `X-Purged`. A 200 alone may come from
/// the origin, past a VCL that implements neither method.
fn classify(reply: &Reply) -> Classified {
    let verdict = match reply.status.as_u16() {
        200 if reply.header("x-purged").is_some_and(|proof| !proof.is_empty()) => Verdict::Done,
        200..300 => {
            let missing = "X-Purged, so the VCL of origin-shim does not answer here";
            let request_id = reply.header("x-varnish").map(str::to_owned);
            return Classified { request_id, ..message::unproven(reply, missing, &[]) };
        }
        // An address that may not purge gets 403 from the shipped VCL, and 405 from others.
        405 => Verdict::BadCredentials,
        _ => reply.verdict_of_status(),
    };
    message::classified(verdict, reply.header("x-varnish"), "", reply, &[])
}

/// Returns a regular expression that matches each spelling of the canonical path. A copy without the shim's
/// page header (from mode `off`, or an older version) is compared by the path under which it was requested. The
/// canonical spelling of a character is the first alternative. Bytes outside plain ASCII are written `\xHH`, as
/// PCRE reads them.
fn spelt(path: &str) -> String {
    let mut expression = String::with_capacity(2 * path.len());
    for piece in pieces(&canonical(path)) {
        match piece {
            Piece::Byte(byte)
                if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'~') =>
            {
                expression.push(char::from(byte));
            }
            // In PCRE a backslash before punctuation is always literal.
            Piece::Byte(b'.') => expression.push_str(r"\."),
            Piece::Byte(byte) => {
                expression.push_str(&format!(r"(?:\{}|{})", char::from(byte), escape(byte)));
            }
            // An escaped slash or space never appears unescaped, and raw control characters never occur.
            Piece::Escape(byte @ (b'/' | 0..=b' ' | 0x7f)) => expression.push_str(&escape(byte)),
            Piece::Escape(byte) => expression.push_str(&format!(r"(?:{}|\x{byte:02X})", escape(byte))),
        }
    }
    expression
}

/// Returns `%` and the hex digits of a byte, in either case.
fn escape(byte: u8) -> String {
    let digit = |digit: u8| match char::from_digit(digit.into(), 16) {
        Some(letter @ 'a'..='f') => format!("[{letter}{}]", letter.to_ascii_uppercase()),
        Some(digit) => digit.to_string(),
        None => String::new(),
    };
    format!("%{}{}", digit(byte >> 4), digit(byte & 15))
}
