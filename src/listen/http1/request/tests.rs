use super::*;
use proptest::prelude::*;

/// A request as text together with the bytes after its head, or the status with which it is refused.
type Read = Result<(Option<String>, Vec<u8>), u16>;

fn read_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Read {
    let limits = HeadLimits { fields: 6, bytes: 256, target: 64 };
    let (mut reader, mut buf, mut request) = (Reader::default(), BytesMut::new(), None);
    for piece in pieces {
        buf.extend_from_slice(piece);
        if request.is_none() {
            let read = reader.decode(&mut buf, limits);
            request = read.map_err(|refused| refused.answer().status.as_u16())?.map(words);
        }
    }
    // Names may be in lower case before a head is complete.
    let rest = if request.is_some() { buf.to_vec() } else { buf.to_ascii_lowercase() };
    Ok((request, rest))
}

fn words(request: Request) -> String {
    let RequestHead { method, uri, version, headers } = &request.head;
    let mut words = format!("{method} {uri} {version:?} {:?}", request.framing);
    if !request.persistent {
        words += " last";
    }
    if request.expects_continue {
        words += " expects";
    }
    headers.iter().for_each(|(name, value)| words += &format!("|{name}={}", value.as_bytes().escape_ascii()));
    words
}

/// Reads the input as a whole and byte by byte, and requires the same result. Only a refusal may come later when the
/// input arrives byte by byte.
fn read(input: &[u8]) -> Read {
    let whole = read_pieces([input]);
    let bytes = read_pieces(input.chunks(1));
    let refused_later = whole.is_err() && (bytes.is_err() || matches!(bytes, Ok((None, _))));
    assert!(refused_later || whole == bytes, "{:?}: {whole:?}, {bytes:?}", input.escape_ascii().to_string());
    whole
}

/// Checks the meaning of a GET with these lines.
#[track_caller]
fn check(lines: &str, expected: &str) {
    let input = format!("GET / HTTP/1.1\r\n{lines}\r\nrest");
    let expected = expected.replacen("GET", "GET / HTTP/1.1", 1);
    assert_eq!(read(input.as_bytes()), Ok((Some(expected), b"rest".to_vec())));
}

#[track_caller]
fn refused(input: &str, status: u16) {
    assert_eq!(read(input.as_bytes()), Err(status), "{input:?}");
}

#[track_caller]
fn refused_lines(lines: &str, status: u16) {
    refused(&format!("POST / HTTP/1.1\r\n{lines}\r\n"), status);
}

#[test]
fn fields_and_framing() {
    check("", "GET Empty");
    check("Host: a\r\nX-A:b \r\nx-a:\t c\t d\r\n", "GET Empty|host=a|x-a=b|x-a=c\\t d");
    check("content-length: 0\r\n", "GET Empty|content-length=0");
    check("content-length: 12\r\n", "GET Length(12)|content-length=12");
    check("content-length: 1\r\ncontent-length: 1\r\n", "GET Length(1)|content-length=1|content-length=1");
    check("transfer-encoding: Chunked\r\n", "GET Chunked|transfer-encoding=Chunked");
    check("x: caf\u{e9}\r\n", "GET Empty|x=caf\\xc3\\xa9");
    check("x:\r\n", "GET Empty|x=");
}

#[test]
fn persistence_and_expectation() {
    check("connection: close\r\n", "GET Empty last|connection=close");
    check("connection: x, CLOSE\r\n", "GET Empty last|connection=x, CLOSE");
    check("connection: keep-alive\r\n", "GET Empty|connection=keep-alive");
    let old = |lines: &str| read(format!("GET / HTTP/1.0\r\n{lines}\r\n").as_bytes()).unwrap().0.unwrap();
    assert_eq!(old(""), "GET / HTTP/1.0 Empty last");
    assert_eq!(old("connection: Keep-Alive\r\n"), "GET / HTTP/1.0 Empty|connection=Keep-Alive");
    let body = "expect: 100-Continue\r\ncontent-length: 1\r\n";
    check(body, "GET Length(1) expects|expect=100-Continue|content-length=1");
    check("expect: 100-continue\r\n", "GET Empty|expect=100-continue");
    assert_eq!(old(body), "GET / HTTP/1.0 Length(1) last|expect=100-Continue|content-length=1");
}

#[test]
fn targets() {
    let check = |target: &str, uri: &str| {
        let read = read(format!("OPTIONS {target} HTTP/1.1\r\n\r\n").as_bytes());
        assert_eq!(read, Ok((Some(format!("OPTIONS {uri} HTTP/1.1 Empty")), vec![])));
    };
    check("*", "*");
    check("/a//%2e?b={c}", "/a//%2e?b={c}");
    check("http://a.test/x", "http://a.test/x");
    check("a.test:443", "a.test:443");
    for target in ["", " /", "/ ", "/a b", "/\t", "/\u{1}", "/\u{7f}", "http://", "/<\0>", "/a#b", "/#", "#"]
    {
        refused(&format!("GET {target} HTTP/1.1\r\n\r\n"), 400);
    }
}

#[test]
fn what_no_parser_should_accept() {
    for line in [
        "GET / HTTP/1.2",
        "GET / HTTP/2.0",
        "GET / http/1.1",
        "GET / HTTP/1.1 ",
        "GET  / HTTP/1.1",
        "GET /",
        "GET",
        "G(T / HTTP/1.1",
        " / HTTP/1.1",
        "GET\t/\tHTTP/1.1",
        "\u{16}\u{3}\u{1}",
    ] {
        refused(&format!("{line}\r\nhost: a\r\n\r\n"), 400);
    }
    for line in [" x: 1", "x : 1", "x", ": 1", "x[]: 1", "x: a\0b", "x: a\rb", "x: 1\r\n folded", "x: \u{7f}"]
    {
        refused_lines(&format!("{line}\r\n"), 400);
    }
}

#[test]
fn two_meanings_are_refused() {
    for lines in [
        "content-length: 4\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 0\r\n",
        "content-length: 1\r\ncontent-length: 2\r\n",
        "content-length: 1, 1\r\n",
        "content-length: +1\r\n",
        "content-length:\r\n",
        "content-length: 99999999999999999999\r\n",
        "transfer-encoding: gzip\r\n",
        "transfer-encoding: chunked, gzip\r\n",
        "transfer-encoding: chunked;x\r\n",
        "transfer-encoding:\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: gzip\r\n",
    ] {
        refused_lines(lines, 400);
    }
    for lines in [
        "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding: chunked, chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n",
    ] {
        refused_lines(lines, 501);
    }
    refused("POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n", 400);
}

#[test]
fn lone_line_feeds_and_empty_lines_before() {
    let request = || Some("GET /a HTTP/1.1 Empty|host=a".to_owned());
    for input in [
        "GET /a HTTP/1.1\nhost: a\n\n",
        "\r\n\r\nGET /a HTTP/1.1\r\nhost: a\r\n\n",
        "\nGET /a HTTP/1.1\r\nhost: a\n\r\n",
    ] {
        assert_eq!(read(input.as_bytes()), Ok((request(), vec![])), "{input:?}");
    }
    assert_eq!(read(b"\r\n\r"), Ok((None, b"\r".to_vec())));
}

#[test]
fn limits() {
    refused_lines(&"x: 1\r\n".repeat(7), 431);
    assert!(read(("GET / HTTP/1.1\r\n".to_owned() + &"x: 1\r\n".repeat(6) + "\r\n").as_bytes()).is_ok());
    refused_lines(&format!("x: {}\r\n", "x".repeat(300)), 431);
    // These heads have no end.
    refused(&format!("GET / HTTP/1.1\r\nx: {}", "x".repeat(300)), 431);
    refused(&format!("GET /{}", "x".repeat(300)), 414);
    // The length of the target is checked with the request, unless the target is invalid.
    assert!(read(format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100)).as_bytes()).is_ok());
    refused(&format!("GET /<{}\u{1}> HTTP/1.1\r\n\r\n", "x".repeat(100)), 400);
}

/// Returns the request line and fields as `httparse` reads them, if they are a complete request.
fn by_httparse(input: &[u8]) -> Option<String> {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(_) = request.parse(input).ok()? else { return None };
    let version = if request.version? == 1 { "HTTP/1.1" } else { "HTTP/1.0" };
    let mut words = format!("{} {} {version}", request.method?, request.path?);
    for header in request.headers {
        words += &format!("|{}={}", header.name.to_lowercase(), header.value.escape_ascii());
    }
    Some(words)
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("Host: a".to_owned()),
        Just("Content-Length: 3".to_owned()),
        Just("Transfer-Encoding: chunked".to_owned()),
        Just("Connection: close".to_owned()),
        Just(String::new()),
        "[ -~\t]{0,12}",
        "[a-zA-Z-]{1,5}:[ -~\t\u{80}-\u{ff}]{0,8}",
    ]
}

fn end() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r")]
}

proptest! {
    /// A parser that others rely on accepts everything that we accept, and reads it in the same way.
    #[test]
    fn what_is_accepted_means_the_same_to_httparse(
        first in prop_oneof![
            4 => Just("GET /a?b HTTP/1.1".to_owned()),
            1 => "[A-Z]{0,4} [ -~]{0,8} HTTP/1.[012]",
        ],
        lines in prop::collection::vec((line(), end()), 0..6),
    ) {
        let lines: String = lines.iter().map(|(line, end)| format!("{line}{end}")).collect();
        let input = format!("{first}\r\n{lines}\r\n");
        if let Ok((Some(ours), _)) = read(input.as_bytes()) {
            let mut parts = ours.splitn(4, ' ');
            let (method, target, version) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
            let fields = ours.find('|').map_or("", |at| &ours[at..]);
            let theirs = by_httparse(input.as_bytes());
            let root = if target.contains("://") && !first.contains(target) { "" } else { target };
            prop_assert_eq!(theirs.map(|t| t.replacen(' ', "|", 1)), Some(format!("{method}|{root} {version}{fields}")));
        }
    }

    /// Arbitrary input causes no panic, and boundaries between pieces never matter.
    #[test]
    fn heads_are_judged_alike_at_any_boundary(lines in prop::collection::vec((line(), end()), 0..8)) {
        let lines: String = lines.iter().map(|(line, end)| format!("{line}{end}")).collect();
        let _ = read(lines.as_bytes());
        let _ = read(format!("GET / HTTP/1.1\r\n{lines}").as_bytes());
    }
}
