//! Items as CDNs name them: URLs, prefixes and tags, validated.
//!
//! A URL is written as a browser requests it, because that is the name under which a CDN stores the responses
//! to visitors. By the WHATWG URL standard the host is in lower case and ASCII, the default port and the
//! fragment are removed, dot segments are resolved, characters that require it are percent-encoded, and
//! existing encodings are kept. This also makes every URL ASCII, which Akamai requires.

use super::RequestError;
use url::{Position, Url};

const URL: &str = "an absolute http or https URL";
const PATH: &str = "a path that begins with a slash";
const PREFIX: &str = "a host and a path, such as `www.example.com/blog/`";
const TAG: &str = "a tag of printable ASCII without spaces";

/// Parses an absolute URL.
pub fn url(value: &str) -> Result<Url, RequestError> {
    parse(value, value, URL)
}

/// Returns the authority of a URL: its host, and its port if that is not the scheme's default.
pub fn authority(url: &Url) -> &str {
    &url[Position::BeforeHost..Position::AfterPort]
}

/// Returns the `Host` with which a request to `uri` is sent, for signatures that cover it.
pub fn host(uri: &http::Uri) -> String {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let default_port = if uri.scheme_str() == Some("https") { ":443" } else { ":80" };
    authority.strip_suffix(default_port).unwrap_or(authority).to_ascii_lowercase()
}

/// Returns the path and query of a URL.
pub fn target(url: &Url) -> &str {
    &url[Position::BeforePath..Position::AfterQuery]
}

/// Returns the path and query of a path or an absolute URL, which may contain a wildcard.
pub fn path(value: &str) -> Result<String, RequestError> {
    let url = if value.starts_with('/') {
        parse(&format!("https://host.invalid{value}"), value, PATH)?
    } else {
        parse(value, value, PATH)?
    };
    Ok(target(&url).to_owned())
}

/// Returns the host and the path of a prefix.
pub fn prefix(value: &str) -> Result<(String, String), RequestError> {
    // The path may contain an address, as those of image services do. A value that begins with a scheme has no
    // host.
    let is_host = |host: &str| !host.is_empty() && !host.ends_with(':');
    if !value.split_once('/').is_some_and(|(host, _)| is_host(host)) || value.contains(['?', '#']) {
        return Err(wrong(value, PREFIX));
    }
    let url = parse(&format!("https://{value}"), value, PREFIX)?;
    Ok((authority(&url).to_owned(), url.path().to_owned()))
}

/// Validates an encoded tag.
pub fn tag(value: &str) -> Result<&str, RequestError> {
    if value.is_empty() || value.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Err(wrong(value, TAG));
    }
    Ok(value)
}

fn parse(url: &str, value: &str, expected: &'static str) -> Result<Url, RequestError> {
    // The standard drops tabs and line ends, after which the intended value is a guess.
    if value.contains(|c: char| c.is_control()) {
        return Err(wrong(value, expected));
    }
    let url = Url::parse(url).map_err(|_| wrong(value, expected))?;
    let plain =
        matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
    if plain { Ok(url) } else { Err(wrong(value, expected)) }
}

/// Returns the error for a value, with at most 200 of its characters.
fn wrong(value: &str, expected: &'static str) -> RequestError {
    RequestError::Value { value: value.chars().take(200).collect(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown<T>(result: Result<T, RequestError>) -> Result<T, String> {
        result.map_err(|error| error.to_string())
    }

    #[test]
    fn urls_as_a_browser_requests_them() {
        let check = |value: &str, host: &str, expected: &str| {
            let url = url(value).unwrap_or_else(|error| panic!("{value}: {error}"));
            assert_eq!((authority(&url), target(&url)), (host, expected), "{value}");
        };
        check("https://www.example.com/a?x=1", "www.example.com", "/a?x=1");
        check("https://www.example.com", "www.example.com", "/");
        check("http://WWW.Example.com:80/A", "www.example.com", "/A");
        check("http://www.example.com:8080/", "www.example.com:8080", "/");
        check("http://[2001:DB8::1]:8080/", "[2001:db8::1]:8080", "/");
        check("https://bücher.example/süß?ä", "xn--bcher-kva.example", "/s%C3%BC%C3%9F?%C3%A4");
        check("https://www.example.com/a b%20c%2fd%2Fe#top", "www.example.com", "/a%20b%20c%2fd%2Fe");
        check("https://www.example.com/a/../b/./c", "www.example.com", "/b/c");
        check("https://www.example.com/it's?q=it's&r=\"|\"", "www.example.com", "/it's?q=it%27s&r=%22|%22");
        check("https://www.example.com//a//b", "www.example.com", "//a//b");
    }

    #[test]
    fn what_is_no_url() {
        for value in [
            "",
            "/a",
            "www.example.com/a",
            "ftp://www.example.com/",
            "https://user:pw@www.example.com/",
            "a\tb",
        ] {
            let expected = format!("{value:?} is not {URL}");
            assert_eq!(shown(url(value)), Err(expected));
        }
        assert!(url("https://www.example.com/\r\nx-evil: 1").is_err());
        assert!(url(&"x".repeat(9000)).unwrap_err().to_string().len() < 300);
    }

    #[test]
    fn hosts_as_they_are_sent() {
        let check =
            |uri: &'static str, expected: &str| assert_eq!(host(&http::Uri::from_static(uri)), expected);
        check("https://API.example.com/a", "api.example.com");
        check("https://api.example.com:443/a", "api.example.com");
        check("http://127.0.0.1:80/", "127.0.0.1");
        check("http://127.0.0.1:443/", "127.0.0.1:443");
        check("https://[::1]:8443/", "[::1]:8443");
    }

    #[test]
    fn paths_for_cloudfront() {
        let check =
            |value: &str, expected: &str| assert_eq!(shown(path(value)), Ok(expected.to_owned()), "{value}");
        check("/blog/first", "/blog/first");
        check("/blog/first?*", "/blog/first?*");
        check("/blog/*", "/blog/*");
        check("//a", "//a");
        check("/ü ?ü", "/%C3%BC%20?%C3%BC");
        check("https://www.example.com/blog/first?x=1", "/blog/first?x=1");
        assert!(path("blog").is_err());
        assert!(path("/a\n").is_err());
    }

    #[test]
    fn prefixes() {
        let check = |value: &str, host: &str, path: &str| {
            assert_eq!(shown(prefix(value)), Ok((host.to_owned(), path.to_owned())), "{value}");
        };
        check("www.example.com/blog/", "www.example.com", "/blog/");
        check("WWW.example.com:8443/ü/", "www.example.com:8443", "/%C3%BC/");
        check("www.example.com/", "www.example.com", "/");
        check("www.example.com/image/https://a.test/", "www.example.com", "/image/https://a.test/");
        for value in [
            "",
            "www.example.com",
            "/blog/",
            "https://www.example.com/",
            "a.b/c?d",
            "a.b/#c",
            "a.b/\u{7f}",
            "http:/a/",
        ] {
            assert!(prefix(value).is_err(), "{value}");
        }
    }

    #[test]
    fn tags() {
        for value in ["site", "a,b:c/d", "~", "!"] {
            assert_eq!(shown(tag(value)), Ok(value));
        }
        for value in ["", "a b", "ü", "a\r\nb", "\u{7f}"] {
            assert!(tag(value).is_err(), "{value:?}");
        }
    }
}
