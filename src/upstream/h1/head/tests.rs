use super::*;
use proptest::prelude::*;

/// Returns the result of one input in a form that is readable in a table, and the bytes left after the head.
fn decode_pieces<'a>(
    method: &Method,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(Option<Head>, Vec<u8>), HeadError> {
    let mut reader = HeadReader::new(method, HeadLimits::default());
    let mut buf = BytesMut::new();
    let mut head = None;
    for piece in pieces {
        buf.extend_from_slice(piece);
        if head.is_none() {
            head = reader.decode(&mut buf)?;
        }
    }
    // Names may be in lower case before a head is complete.
    let rest = if head.is_some() { buf.to_vec() } else { buf.to_ascii_lowercase() };
    Ok((head, rest))
}

/// Checks that whole and bytewise delivery have the same result. Bytewise input may be refused later, at its end.
fn decode(method: &Method, input: &[u8]) -> Result<(Option<Head>, Vec<u8>), HeadError> {
    let whole = decode_pieces(method, [input]);
    let bytes = decode_pieces(method, input.chunks(1));
    let refused_later = whole.is_err() && matches!(bytes, Ok((None, _)));
    assert!(refused_later || format!("{whole:?}") == format!("{bytes:?}"), "{input:?}: {whole:?}, {bytes:?}");
    whole
}

/// Checks the framing and persistence of the response to a GET with this head.
fn check(head: &str, framing: Framing, persistent: bool) {
    check_for(&Method::GET, head, framing, persistent);
}

fn check_for(method: &Method, head: &str, framing: Framing, persistent: bool) {
    let (parsed, rest) = decode(method, format!("{head}\r\n\r\nrest").as_bytes()).unwrap();
    let parsed = parsed.unwrap();
    assert_eq!((parsed.framing, parsed.persistent), (framing, persistent), "{head:?}");
    assert_eq!(rest, b"rest", "{head:?}");
}

fn check_error(head: &str, error: HeadError) {
    let result = decode(&Method::GET, format!("{head}\r\n\r\n").as_bytes());
    assert_eq!(result.map(|_| ()), Err(error), "{head:?}");
}

#[test]
fn everything_is_kept_as_it_came() {
    let input = b"HTTP/1.1 203 Somewhat Fine\r\nServer: a\r\nX-One:  two words\t \r\nSet-Cookie: a=b\r\n\
        set-cookie: c=d\r\nX-Latin: \xe9\r\nEmpty:\r\nContent-Length: 3\r\n\r\nabc";
    let (head, rest) = decode(&Method::GET, input).unwrap();
    let head = head.unwrap();
    assert_eq!(head.status, 203);
    assert_eq!(head.version, Version::HTTP_11);
    assert_eq!(head.reason.as_deref(), Some(&b"Somewhat Fine"[..]));
    let fields: Vec<_> = head.headers.iter().map(|(name, value)| (name, value.as_bytes())).collect();
    let expected: [(&str, &[u8]); 7] = [
        ("server", b"a"),
        ("x-one", b"two words"),
        ("set-cookie", b"a=b"),
        ("set-cookie", b"c=d"),
        ("x-latin", b"\xe9"),
        ("empty", b""),
        ("content-length", b"3"),
    ];
    assert_eq!(fields, expected);
    assert_eq!(rest, b"abc");
}

#[test]
fn the_usual_reason_phrase_is_not_kept() {
    for (line, reason) in [
        ("HTTP/1.1 200 OK", None),
        ("HTTP/1.1 200 ", None),
        ("HTTP/1.1 200", None),
        ("HTTP/1.1 200 Fine", Some("Fine")),
        ("HTTP/1.1 599 Odd", Some("Odd")),
    ] {
        let (head, _) = decode(&Method::GET, format!("{line}\r\n\r\n").as_bytes()).unwrap();
        assert_eq!(head.unwrap().reason.as_deref(), reason.map(str::as_bytes), "{line}");
    }
}

#[test]
fn the_end_of_a_body_has_one_meaning() {
    use Framing::{Chunked, Close, Empty, Length};
    check("HTTP/1.1 200 OK\r\nContent-Length: 5", Length(5), true);
    check("HTTP/1.1 200 OK\r\ncontent-length: 005", Length(5), true);
    check("HTTP/1.1 200 OK\r\nContent-Length: 0", Length(0), true);
    check("HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615", Length(u64::MAX), true);
    check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", Chunked, true);
    check("HTTP/1.1 200 OK\r\nTransfer-Encoding: \t CHUNKED ", Chunked, true);
    check("HTTP/1.1 200 OK", Close, true);
    check("HTTP/1.0 200 OK", Close, false);
    check("HTTP/1.1 204 No Content", Empty, true);
    check("HTTP/1.1 204 No Content\r\nContent-Length: 5", Empty, true);
    check("HTTP/1.1 304 Not Modified\r\nContent-Length: 5", Empty, true);
    check("HTTP/1.1 205 Reset Content\r\nContent-Length: 0", Length(0), true);
    check_for(&Method::HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 5", Empty, true);
    check_for(&Method::HEAD, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", Empty, true);
    check_for(&Method::HEAD, "HTTP/1.1 200 OK", Empty, true);
    check_for(&Method::POST, "HTTP/1.1 200 OK\r\nContent-Length: 5", Length(5), true);
}

#[test]
fn persistence_is_the_origins_word() {
    let length = Framing::Length(0);
    for (fields, http_11, http_10) in [
        ("", true, false),
        ("\r\nConnection: close", false, false),
        ("\r\nConnection: CLOSE", false, false),
        ("\r\nConnection: keep-alive", true, true),
        ("\r\nConnection: x, Keep-Alive ,y", true, true),
        ("\r\nConnection: keep-alive, close", false, false),
        ("\r\nConnection: close\r\nConnection: keep-alive", false, false),
        ("\r\nConnection: keep-alive\r\nConnection: close", false, false),
        ("\r\nConnection: closed", true, false),
        ("\r\nProxy-Connection: keep-alive", true, false),
    ] {
        check(&format!("HTTP/1.1 200 OK\r\nContent-Length: 0{fields}"), length, http_11);
        check(&format!("HTTP/1.0 200 OK\r\nContent-Length: 0{fields}"), length, http_10);
    }
}

#[test]
fn two_meanings_are_refused() {
    for value in ["", "+5", "-5", "5 5", "5,5", "5, 5", "0x5", "5.0", "5a", "\u{665}", "18446744073709551616"]
    {
        check_error(&format!("HTTP/1.1 200 OK\r\nContent-Length: {value}"), HeadError::ContentLength);
    }
    for second in ["5", "6"] {
        check_error(
            &format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: {second}"),
            HeadError::ContentLength,
        );
    }
    for value in
        ["", "gzip", "gzip, chunked", "chunked, chunked", "chunked;q=1", "identity", "chunked,", "xchunked"]
    {
        check_error(&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {value}"), HeadError::TransferEncoding);
    }
    check_error(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        HeadError::TransferEncoding,
    );
    check_error("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked", HeadError::TransferEncoding);
    for status in ["200 OK", "204 No Content", "304 Not Modified"] {
        check_error(
            &format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked"),
            HeadError::AmbiguousLength,
        );
        check_error(
            &format!("HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\nContent-Length: 5"),
            HeadError::AmbiguousLength,
        );
    }
}

#[test]
fn status_is_one_of_https() {
    for (status, code) in [("099", 99), ("000", 0), ("600", 600), ("999", 999)] {
        check_error(&format!("HTTP/1.1 {status} x"), HeadError::Status(code));
    }
    for status in ["99", "2000", "20", "-20", "2 0", "abc", ""] {
        check_error(&format!("HTTP/1.1 {status}"), HeadError::StatusLine);
    }
}

#[test]
fn the_grammar_is_kept_to() {
    for line in [
        "\r\nHTTP/1.1 200 OK",
        "\nHTTP/1.1 200 OK",
        " HTTP/1.1 200 OK",
        "http/1.1 200 OK",
        "HTTP/1.2 200 OK",
        "HTTP/1. 200 OK",
        "HTTP/1.1.1 200 OK",
        "HTTP/2.0 200 OK",
        "HTTP/2 200 OK",
        "HTTP/0.9 200 OK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1\t200 OK",
        "HTTP/1.1 200\tOK",
        "HTTP/1.1 200OK",
        "ICY 200 OK",
        "<html>",
        "HTTP/1.1 200 O\0K",
        "HTTP/1.1 200 O\rK",
        "HTTP/1.1 200 OK\r",
        "HTTP/1.1 200 O\u{7f}",
        "HTTP/1.1 200 OK\rA: b",
    ] {
        check_error(line, HeadError::StatusLine);
    }
    for field in [
        "A: b\r\n folded",
        "A: b\r\n\tfolded: too",
        "One: 1\r\n A: b",
        "One: 1\r\nA : b",
        "One: 1\r\nA\t: b",
        "One: 1\r\nA b: c",
        "One: 1\r\n: b",
        "One: 1\r\nno colon",
        "One: 1\r\nA\u{e9}: b",
        "One: 1\r\nA\0: b",
        "One: 1\r\nA: b\0c",
        "One: 1\r\nA: b\rc",
        "One: 1\r\nA: b\r",
        "One: 1\r\nA: b\u{1}",
        "One: 1\r\nA: b\u{7f}",
    ] {
        check_error(&format!("HTTP/1.1 200 OK\r\n{field}\r\nThree: 3"), HeadError::Field(2));
        check_error(&format!("HTTP/1.1 103 Early Hints\r\n{field}\r\nThree: 3"), HeadError::Field(2));
    }
    check_error("HTTP/1.1 200 OK\r\n folded: first", HeadError::Field(1));
}

/// A recipient may treat a lone LF as the end of a line (RFC 9112 §2.2). It is never forwarded in that form.
#[test]
fn bare_line_feeds_in_a_head_are_understood() {
    let (head, rest) = decode(&Method::GET, b"HTTP/1.1 200 OK\nA: b\nContent-Length: 1\n\nx").unwrap();
    assert_eq!(head.unwrap().framing, Framing::Length(1));
    assert_eq!(rest, b"x");
}

#[test]
fn what_is_not_http_is_refused_before_a_line_ends() {
    for input in ["SSH-2.0-OpenSSH_9.2", "\0", "HTTP/2", "220 smtp.example.com ESMTP"] {
        assert_eq!(
            decode(&Method::GET, input.as_bytes()).map(|_| ()),
            Err(HeadError::StatusLine),
            "{input:?}"
        );
    }
}

#[test]
fn interim_responses_are_skipped() {
    let early_hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nContent-Length: 9\r\n\r\n";
    let head = format!("HTTP/1.1 100 Continue\r\n\r\n{early_hints}HTTP/1.1 200 OK\r\nContent-Length: 5");
    check(&head, Framing::Length(5), true);
    let (head, _) = decode(&Method::GET, format!("{head}\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(head.unwrap().headers.len(), 1);

    let many = |count| "HTTP/1.1 102 Processing\r\n\r\n".repeat(count);
    check(&format!("{}HTTP/1.1 204 No Content", many(16)), Framing::Empty, true);
    check_error(&many(17), HeadError::TooManyInterim);
    check_error("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket", HeadError::Upgrade);
    check_error("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching Protocols", HeadError::Upgrade);
}

/// Returns the interim responses before a 204 that a reader keeps, or the error if one is malformed.
fn kept(keeps: bool, input: &str) -> Result<String, HeadError> {
    let mut reader = HeadReader::new(&Method::GET, HeadLimits::default()).keeping_interim(keeps);
    let mut buf = BytesMut::from(format!("{input}HTTP/1.1 204 No Content\r\n\r\n").as_bytes());
    assert!(reader.decode(&mut buf)?.is_some());
    let text = |head: &ResponseHead| {
        let fields = head.headers.iter().map(|(name, value)| format!(" {name}={}", value.to_str().unwrap()));
        format!("{}{}|", head.status.as_u16(), fields.collect::<String>())
    };
    let kept = reader.take_interim();
    assert!(reader.take_interim().is_empty(), "once");
    Ok(kept.iter().map(text).collect())
}

#[test]
fn interim_responses_are_kept_where_they_are_wanted() {
    let hints =
        "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\nlink: b\r\nX: 1\r\n\r\n";
    assert_eq!(kept(true, hints), Ok("102|103 link=a link=b x=1|".to_owned()));
    assert_eq!(kept(false, hints), Ok(String::new()));
    // We never request 100.
    assert_eq!(kept(true, &format!("HTTP/1.1 100 Continue\r\nX: 1\r\n\r\n{hints}")), kept(true, hints));
    assert_eq!(kept(true, "HTTP/1.1 103 Early Hints\r\nfolded\r\n\r\n"), Err(HeadError::Field(1)));
}

#[test]
fn a_head_is_bounded() {
    let fields = |count| format!("HTTP/1.1 200 OK{}", "\r\nA: b".repeat(count));
    check(&fields(256), Framing::Close, true);
    check_error(&fields(257), HeadError::TooManyHeaders);

    let padded = |size: usize| format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(size - 24));
    check(&padded(64 * 1024 - 5), Framing::Close, true);
    assert_eq!(
        decode_pieces(&Method::GET, [padded(64 * 1024 + 1).as_bytes(), b"\r\n\r\n"]).map(|_| ()),
        Err(HeadError::TooLarge)
    );
    let endless = padded(64 * 1024 + 4);
    assert_eq!(decode_pieces(&Method::GET, [endless.as_bytes()]).map(|_| ()), Err(HeadError::TooLarge));

    let interim = format!("HTTP/1.1 103 Early Hints\r\nA: {}\r\n\r\n", "b".repeat(40_000));
    check(&format!("{interim}HTTP/1.1 200 OK"), Framing::Close, true);
    check_error(&format!("{interim}{interim}HTTP/1.1 200 OK"), HeadError::TooLarge);
}

/// The status, the header lines and the length of a head.
type Decoded = (u16, Vec<(String, Vec<u8>)>, usize);

/// Returns the result of httparse, which hyper uses, for the same bytes.
fn httparse_decode(input: &[u8]) -> Option<Decoded> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut fields);
    let Ok(httparse::Status::Complete(length)) = response.parse(input) else { return None };
    let fields = response.headers.iter().map(|field| (field.name.to_lowercase(), field.value.to_vec()));
    Some((response.code.unwrap(), fields.collect(), length))
}

fn lines() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        4 => "[A-Za-z-]{1,6}:[ \t]{0,2}[ -~]{0,8}[ \t]?",
        1 => "HTTP/1\\.[01] [1-5][0-9]{2}( [ -~]{0,4})?",
        1 => "[!-~ \t\r\u{0}\u{7f}\u{e9}]{0,4}:?[!-~ \t\r\u{0}\u{7f}\u{e9}]{0,4}",
    ];
    let status_line = prop_oneof![
        6 => "HTTP/1\\.[01] [1-5][0-9]{2}( [ -~\t\u{e9}]{0,4})?",
        1 => "[HTP/]{0,5}[0-9. ]{0,8}[ -~\t]{0,4}",
    ];
    let line_end = prop_oneof![9 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r")];
    (status_line, prop::collection::vec((line, line_end.clone()), 0..6), line_end).prop_map(
        |(first, lines, line_end)| {
            let lines: String = lines.into_iter().map(|(line, end)| line + end).collect();
            format!("{first}{line_end}{lines}{line_end}")
        },
    )
}

proptest! {
    /// The grammar is that of httparse, except for empty lines before the response.
    #[test]
    fn the_grammar_is_httparses(input in lines()) {
        let mut text = input.clone().into_bytes();
        let parsed = read::first_line(input.as_bytes()).and_then(|(line, start)| {
            let (_, status, _) = status_line(&input.as_bytes()[line]).ok()?;
            let (headers, length) = read::fields(&mut text, start, MAX_HEADERS).ok()??;
            let headers = headers.with_text(Bytes::from(text));
            let fields = headers.lines().map(|line| (line.name().to_owned(), line.value().as_bytes().to_vec()));
            Some((status.as_u16(), fields.collect(), length))
        });
        let expected = httparse_decode(input.as_bytes()).filter(|_| input.starts_with('H'));
        prop_assert_eq!(parsed, expected);
    }

    /// No input causes a panic, and the boundaries never matter.
    #[test]
    fn heads_are_judged_alike_at_any_boundary(
        lines in prop::collection::vec(prop_oneof![
            Just("HTTP/1.1 200 OK".to_owned()),
            Just("HTTP/1.1 100 Continue".to_owned()),
            Just("Content-Length: 3".to_owned()),
            Just("Transfer-Encoding: chunked".to_owned()),
            Just(String::new()),
            "[ -~\t\r\n]{0,12}",
        ], 0..8),
    ) {
        let _ = decode(&Method::GET, lines.join("\r\n").as_bytes());
    }
}
