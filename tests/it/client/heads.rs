//! The head of a response from an origin's connection to a client's, byte by byte: reading, removal of what ends at
//! this hop, edits, and writing. A slow and obvious model says what has to come out.

use bytes::BytesMut;
use http::{HeaderName, HeaderValue, Method, Version};
use origin_shim::http::head::limits::HeadLimits;
use origin_shim::http::head::{Headers, ResponseHead};
use origin_shim::http::hop;
use origin_shim::listen::http1::response::{Asked, encode};
use origin_shim::upstream::h1::head::HeadReader;
use proptest::prelude::*;
use proptest::sample::select;

/// The fields that belong to one connection (RFC 9110 §7.6.1).
const HOP: [&str; 11] = [
    "te",
    "trailer",
    "upgrade",
    "connection",
    "keep-alive",
    "http2-settings",
    "proxy-connection",
    "transfer-encoding",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-authentication-info",
];
/// Fields that `Connection` cannot take away from caches.
const KEPT: [&str; 4] = ["age", "vary", "cache-control", "content-type"];

/// A field as the origin writes it.
#[derive(Clone, Debug)]
struct Field {
    name: String,
    before: &'static str,
    value: String,
    after: &'static str,
}

fn field() -> impl Strategy<Value = Field> {
    let name = prop_oneof![
        3 => select(&["Server", "ETag", "x-a", "X-B", "Content-Type", "cache-control", "Age", "Vary", "x_c"][..])
            .prop_map(str::to_owned),
        1 => select(&HOP[..3]).prop_map(str::to_uppercase),
        2 => "[A-Za-z][A-Za-z0-9-]{0,30}",
    ];
    let name = name.prop_filter("framing is not of these", |name| {
        !["content-length", "transfer-encoding", "connection"].contains(&&*name.to_ascii_lowercase())
    });
    let value = "([!-~]([ -~]{0,50}[!-~])?)?";
    let ends = select(&["\r\n", "\r\n", "\r\n", "\n", " \r\n", "\t \n"][..]);
    (name, select(&[": ", ": ", ":", ":\t", ":  "][..]), value, ends)
        .prop_map(|(name, before, value, after)| Field { name, before, value, after })
}

/// An edit of the head, as rewriting makes them.
#[derive(Clone, Debug)]
enum Change {
    Insert(&'static str, String),
    Append(&'static str, String),
    Remove(&'static str),
}

fn change() -> impl Strategy<Value = Change> {
    let name = || select(&["cache-control", "x-a", "etag", "cache-tag", "age"][..]);
    prop_oneof![
        (name(), "[a-z=0-9]{1,12}").prop_map(|(name, value)| Change::Insert(name, value)),
        (name(), "[a-z=0-9]{1,12}").prop_map(|(name, value)| Change::Append(name, value)),
        name().prop_map(Change::Remove),
    ]
}

impl Change {
    fn make(&self, headers: &mut Headers) {
        let value = |value: &str| HeaderValue::from_str(value).unwrap();
        match self {
            Self::Insert(name, text) => headers.insert(&HeaderName::from_static(name), &value(text)),
            Self::Append(name, text) => headers.append(&HeaderName::from_static(name), &value(text)),
            Self::Remove(name) => headers.remove(name),
        }
    }

    fn make_slowly(&self, lines: &mut Vec<(String, String)>) {
        match self {
            Self::Append(name, value) => lines.push(((*name).to_owned(), value.clone())),
            Self::Remove(name) => lines.retain(|line| line.0 != *name),
            Self::Insert(name, value) => {
                let line = ((*name).to_owned(), value.clone());
                match lines.iter().position(|line| line.0 == *name) {
                    None => lines.push(line),
                    Some(first) => {
                        lines[first] = line;
                        let mut number = 0;
                        lines.retain(|line| {
                            number += 1;
                            line.0 != *name || number - 1 == first
                        });
                    }
                }
            }
        }
    }
}

/// Returns what the client has to get.
fn model(fields: &[Field], nominated: &[&str], changes: &[Change], length: Option<u8>) -> String {
    let mut lines: Vec<(String, String)> =
        fields.iter().map(|field| (field.name.to_ascii_lowercase(), field.value.clone())).collect();
    lines.retain(|(name, _)| {
        let is_nominated = nominated.iter().any(|other| other.eq_ignore_ascii_case(name));
        !HOP.contains(&&**name) && (!is_nominated || KEPT.contains(&&**name))
    });
    if let Some(length) = length {
        lines.push(("content-length".to_owned(), length.to_string()));
    }
    changes.iter().for_each(|change| change.make_slowly(&mut lines));
    let lines: String = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let chunked = if length.is_none() { "transfer-encoding: chunked\r\n" } else { "" };
    format!("HTTP/1.1 200 OK\r\n{lines}{chunked}\r\n")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn a_head_comes_out_as_a_slow_model_has_it(
        fields in prop::collection::vec(field(), 0..12),
        nominated in prop::collection::vec(select(&["x-a", "X-B", "age", "Vary", "server"][..]), 0..3),
        changes in prop::collection::vec(change(), 0..4),
        length: Option<u8>,
        cut in any::<prop::sample::Index>(),
    ) {
        let mut text = "HTTP/1.1 200 OK\r\n".to_owned();
        if !nominated.is_empty() {
            text += &format!("Connection: {}\r\n", nominated.join(", "));
        }
        for Field { name, before, value, after } in &fields {
            text += &format!("{name}{before}{value}{after}");
        }
        if let Some(length) = length {
            text += &format!("Content-Length: {length}\r\n");
        }
        text += "\r\n";

        let mut reader = HeadReader::new(&Method::GET, HeadLimits::default());
        let mut buf = BytesMut::new();
        let (part, rest) = text.as_bytes().split_at(cut.index(text.len()));
        buf.extend_from_slice(part);
        prop_assert!(reader.decode(&mut buf).unwrap().is_none());
        buf.extend_from_slice(rest);
        let head = reader.decode(&mut buf).unwrap().unwrap();
        let mut head = ResponseHead { status: head.status, reason: head.reason, headers: head.headers };
        hop::strip_response(&mut head.headers, |_| false);
        changes.iter().for_each(|change| change.make(&mut head.headers));
        let mut out = BytesMut::new();
        let asked = Asked { version: Version::HTTP_11, to_head: false, persistent: true };
        encode(&mut out, &head, asked, None);
        prop_assert_eq!(String::from_utf8_lossy(&out), model(&fields, &nominated, &changes, length));
    }
}
