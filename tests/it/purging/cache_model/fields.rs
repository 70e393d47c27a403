//! Header fields as a cache reads them: strictly, by the letter of the RFCs, so that a malformed field forbids
//! nothing. A cache that reads more leniently is the smaller danger.

use std::time::SystemTime;

/// Header lines: lower-case names and their values, in their order.
pub type Fields = Vec<(String, String)>;

/// Makes fields of these lines.
pub fn fields(lines: &[(&str, &str)]) -> Fields {
    lines.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Whether there is a field of this name.
pub fn has(fields: &Fields, name: &str) -> bool {
    fields.iter().any(|(known, _)| known == name)
}

/// Returns the value of the first line of this name.
pub fn first<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// Joins all lines of this name into one value (RFC 9110 §5.3).
pub fn joined(fields: &Fields, name: &str) -> Option<String> {
    let lines: Vec<&str> =
        fields.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

/// The directives of a field (RFC 9111 §5.2), each with its argument.
pub struct Directives(Vec<(String, Option<String>)>);

impl Directives {
    /// Reads the directives, or returns `None` if there is no such field.
    pub fn of(fields: &Fields, name: &str) -> Option<Self> {
        let text = joined(fields, name)?;
        let split = |directive: &str| match directive.split_once('=') {
            Some((name, argument)) => {
                (name.trim().to_ascii_lowercase(), Some(argument.trim().trim_matches('"').to_owned()))
            }
            None => (directive.trim().to_ascii_lowercase(), None),
        };
        Some(Self(members(&text).into_iter().map(split).collect()))
    }

    /// Whether the directive is present, with or without an argument.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// Returns the directive's seconds, the first if there are several. Characters after the digits are
    /// ignored, as by `strtoul`, except for a unit.
    pub fn seconds(&self, name: &str) -> Option<u64> {
        let (_, argument) = self.0.iter().find(|(known, _)| known == name)?;
        let text = argument.as_deref()?;
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = text[..digits].parse().ok()?;
        Some(match text.as_bytes().get(digits) {
            Some(b'm') => number * 60,
            Some(b'h') => number * 3_600,
            Some(b'd') => number * 86_400,
            _ => number,
        })
    }
}

/// Returns the members of a list. A quoted string hides its commas, and one that does not end hides all that
/// follows.
fn members(text: &str) -> Vec<&str> {
    let (mut members, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' if !escaped => quoted = !quoted,
            b',' if !quoted => {
                members.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        escaped = byte == b'\\' && quoted && !escaped;
    }
    members.push(&text[start..]);
    members
}

/// Returns the seconds since the response was generated: the first member of `Age` (RFC 9111 §5.1), or 0 if
/// that is not a number.
pub fn age(fields: &Fields) -> u64 {
    let said = first(fields, "age").unwrap_or_default();
    let member = said.split(',').next().unwrap_or_default().trim();
    if member.bytes().all(|b| b.is_ascii_digit()) { member.parse().unwrap_or(0) } else { 0 }
}

/// Returns `Expires` minus `Date` (RFC 9111 §4.2.1). An invalid date has already expired.
pub fn expires(fields: &Fields) -> Option<u64> {
    let date = |text: &str| httpdate::parse_http_date(text).ok();
    let at = first(fields, "expires")?;
    let after = || -> Option<u64> {
        let sent: SystemTime = date(first(fields, "date")?)?;
        Some(date(at)?.duration_since(sent).ok()?.as_secs())
    };
    Some(after().unwrap_or(0))
}

#[test]
fn directives_are_read_by_the_letter() {
    let read = |text: &str| Directives::of(&fields(&[("cache-control", text)]), "cache-control").unwrap();
    assert_eq!(read("Max-Age=60, public").seconds("max-age"), Some(60));
    assert_eq!(read("!no-store, max-age=2d").seconds("max-age"), Some(172_800));
    assert_eq!(read("max-age=86400;").seconds("max-age"), Some(86_400));
    assert!(read("private=\"a\", x").has("private") && read("x=\", private\", no-store").has("no-store"));
    // None of these is a directive.
    assert!(!read("public private").has("private") && !read("\"private\"").has("private"));
    assert!(!read("max-age=60, ext=\"oops, no-store").has("no-store"));
}

#[test]
fn ages_and_dates() {
    let of = |text: &str| age(&fields(&[("age", text)]));
    assert_eq!([of("60"), of("3600, 0"), of("+60"), of("x")], [60, 3_600, 0, 0]);
    let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
    let later = ("expires", "Sun, 06 Nov 1994 09:49:37 GMT");
    assert_eq!(expires(&fields(&[date, later])), Some(3_600));
    assert_eq!(expires(&fields(&[later])), Some(0));
    assert_eq!(expires(&fields(&[date])), None);
}
