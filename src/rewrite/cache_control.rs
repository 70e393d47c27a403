//! A lenient reader of `Cache-Control` and similar fields. Anything unintelligible is read as the shorter
//! lifetime, and a prohibition takes effect wherever it is in a broken field. Two caches may read a broken field
//! differently. If one of them would not share a page, the page is not lengthened for the other.

use super::field::Syntax;
use crate::http::head::Value;
use std::time::Duration;

/// The longest lifetime, in seconds, that a cache needs to distinguish (RFC 9111 §1.2.2).
const LONGEST: u32 = 1 << 31;

/// The combined directives of a `Cache-Control` field, or of a field in its syntax.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheControl {
    /// `max-age` in seconds, at most 2^31. The smallest of several applies, and a value that is not a number is 0
    /// (RFC 9111 §4.2.1).
    pub max_age: Option<u32>,
    /// `s-maxage`, with the same rules.
    pub s_maxage: Option<u32>,
    /// `private`, with or without field names.
    pub private: bool,
    /// `no-store`.
    pub no_store: bool,
    /// `no-cache`, with or without field names.
    pub no_cache: bool,
    /// `public`.
    pub public: bool,
}

impl CacheControl {
    /// Reads all lines of a `Cache-Control` field as one list (RFC 9110 §5.3).
    pub fn parse<'a>(lines: impl IntoIterator<Item = Value<'a>>) -> Self {
        Self::read(lines, Syntax::CacheControl)
    }

    /// Reads all lines of a field in `syntax`.
    pub(super) fn read<'a>(lines: impl IntoIterator<Item = Value<'a>>, syntax: Syntax) -> Self {
        let mut all = Self::default();
        for line in lines {
            for directive in directives(line.as_bytes(), syntax) {
                match directive.name {
                    Name::MaxAge => shortest(&mut all.max_age, directive.seconds(syntax)),
                    Name::SMaxAge => shortest(&mut all.s_maxage, directive.seconds(syntax)),
                    Name::Private => all.private = true,
                    Name::NoStore => all.no_store = true,
                    Name::NoCache => all.no_cache = true,
                    Name::Public => all.public = true,
                    _ => {}
                }
                if directive.is_malformed() {
                    all.forbid_what_is_said_in(directive.raw, syntax);
                }
            }
        }
        all
    }

    /// Whether the lines forbid shared caches to keep the response, and do so in a way that all caches read alike. Not
    /// counted are broken fields, a zero next to a longer lifetime of the same directive, and directives that name
    /// fields: "many caches treat the qualified form as if the unqualified form was received" (RFC 9111 §5.2.2.4), and
    /// others do not.
    pub(super) fn forbids_beyond_doubt<'a>(
        lines: impl IntoIterator<Item = Value<'a>>,
        syntax: Syntax,
    ) -> bool {
        let (mut max_age, mut s_maxage) = (None, None);
        for line in lines {
            // Semicolons separate only in this reader and in Surrogate-Control's grammar.
            if syntax == Syntax::CacheControl && line.as_bytes().contains(&b';') {
                continue;
            }
            for directive in directives(line.as_bytes(), syntax) {
                // If lines are joined, an unterminated quoted string swallows the following ones.
                if directive.is_malformed() {
                    return false;
                }
                let slot = match directive.name {
                    Name::Private | Name::NoStore | Name::NoCache if directive.rest.is_empty() => {
                        return true;
                    }
                    Name::MaxAge => &mut max_age,
                    Name::SMaxAge => &mut s_maxage,
                    _ => continue,
                };
                let is_number = match directive.rest {
                    [b'=', first, ..] if syntax == Syntax::EdgeControl => first.is_ascii_digit(),
                    [b'=', digits @ ..] => !digits.is_empty() && digits.iter().all(u8::is_ascii_digit),
                    _ => false,
                };
                if is_number {
                    *slot = (*slot).max(Some(directive.seconds(syntax)));
                }
            }
        }
        s_maxage.or(max_age) == Some(0)
    }

    /// Applies the words of malformed text that forbid or shorten, and none that grant.
    fn forbid_what_is_said_in(&mut self, text: &[u8], syntax: Syntax) {
        let mut words = text.split(|b| !is_token_byte(*b)).filter(|word| !word.is_empty()).peekable();
        while let Some(word) = words.next() {
            let is_zero = words.peek().is_some_and(|value| value.iter().all(|digit| *digit == b'0'));
            match name_of(word, syntax) {
                Name::Private => self.private = true,
                Name::NoStore => self.no_store = true,
                Name::NoCache => self.no_cache = true,
                Name::MaxAge if is_zero => shortest(&mut self.max_age, 0),
                Name::SMaxAge if is_zero => shortest(&mut self.s_maxage, 0),
                _ => {}
            }
        }
    }

    /// The lifetime for a shared cache, in seconds, if one is given (RFC 9111 §5.2.2.10).
    pub fn shared_lifetime(&self) -> Option<u32> {
        self.s_maxage.or(self.max_age)
    }
}

/// Keeps the smaller lifetime, because the most restrictive of duplicates applies.
fn shortest(slot: &mut Option<u32>, seconds: u32) {
    *slot = Some(slot.map_or(seconds, |other| other.min(seconds)));
}

/// The name of a directive that has a meaning to caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// `max-age`; in `Edge-Control` also `cache-maxage`.
    MaxAge,
    SMaxAge,
    Private,
    /// `no-store`; in `Edge-Control` also `bypass-cache`.
    NoStore,
    NoCache,
    Public,
    Immutable,
    ProxyRevalidate,
    StaleWhileRevalidate,
    StaleIfError,
    /// `!no-store` of `Edge-Control`, which stores although `Cache-Control` has `no-store`.
    NotNoStore,
    /// `downstream-ttl` of `Edge-Control`, the lifetime for the browser.
    DownstreamTtl,
    /// Any other directive, kept as it is.
    Other,
}

/// One directive of a field line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Directive<'a> {
    /// The name of the directive.
    pub(super) name: Name,
    /// The whole directive, trimmed.
    pub(super) raw: &'a [u8],
    /// The part after the name.
    rest: &'a [u8],
}

impl<'a> Directive<'a> {
    /// Whether the directive does not have the form `name`, `name=token` or `name="text"` (RFC 9111 §5.2). An
    /// unterminated quoted string would swallow the directives after it.
    pub(super) fn is_malformed(&self) -> bool {
        // Names with a meaning are tokens, and nearly all arguments are numbers.
        let has_name = self.name != Name::Other || is_token(&self.raw[..self.raw.len() - self.rest.len()]);
        let has_argument = match self.rest {
            [] => true,
            [b'=', first, more @ ..] => {
                first.is_ascii_digit() && more.iter().all(u8::is_ascii_digit) || is_argument(self.rest)
            }
            rest => is_argument(rest),
        };
        !(has_name && has_argument)
    }

    /// The argument as a lifetime in seconds, or 0 if it is not a number.
    pub(super) fn seconds(&self, syntax: Syntax) -> u32 {
        let Some(argument) = self.rest.trim_ascii_start().strip_prefix(b"=") else { return 0 };
        let argument = argument.trim_ascii();
        let argument =
            argument.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(argument);
        if syntax == Syntax::EdgeControl { duration(argument) } else { delta_seconds(argument) }
    }
}

/// Iterates over the directives of one field line. A semicolon separates like a comma because origins write
/// `private; no-cache`, and missing a `private` is worse than splitting a directive.
pub(super) fn directives(line: &[u8], syntax: Syntax) -> Directives<'_> {
    Directives { left: line, syntax }
}

/// The iterator that [`directives`] returns.
pub(super) struct Directives<'a> {
    left: &'a [u8],
    syntax: Syntax,
}

impl<'a> Iterator for Directives<'a> {
    type Item = Directive<'a>;

    fn next(&mut self) -> Option<Directive<'a>> {
        while let [b' ' | b'\t' | b',' | b';', rest @ ..] = self.left {
            self.left = rest;
        }
        if self.left.is_empty() {
            return None;
        }
        let line = self.left;
        let end = directive_end(line);
        self.left = &line[end..];
        let raw = line[..end].trim_ascii_end();
        let name_end = raw.iter().position(|b| matches!(b, b'=' | b' ' | b'\t')).unwrap_or(raw.len());
        let (name, rest) = raw.split_at(name_end);
        Some(Directive { name: name_of(name, self.syntax), raw, rest })
    }
}

/// Whether this is `=` and a token or a complete quoted string. White space around `=` is tolerated because
/// origins write it.
fn is_argument(rest: &[u8]) -> bool {
    let Some(argument) = rest.trim_ascii_start().strip_prefix(b"=").map(<[u8]>::trim_ascii_start) else {
        return false;
    };
    let Some(text) = argument.strip_prefix(b"\"") else { return is_token(argument) };
    let mut escaped = false;
    let end = text.iter().position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    });
    end.is_some_and(|end| end + 1 == text.len())
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| is_token_byte(*byte))
}

/// Whether this is a `tchar` (RFC 9110 §5.6.2) or a byte beyond ASCII, which no cache takes for a delimiter.
fn is_token_byte(byte: u8) -> bool {
    TOKEN_BYTES[usize::from(byte)]
}

static TOKEN_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        let b = byte as u8;
        table[byte] = b.is_ascii_alphanumeric()
            || b >= 0x80
            || matches!(b, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.')
            || matches!(b, b'^' | b'_' | b'`' | b'|' | b'~');
        byte += 1;
    }
    table
};

/// The end of the first directive: a separator outside a quoted string, or the end of the line.
fn directive_end(line: &[u8]) -> usize {
    let quote = match line.iter().position(|b| matches!(b, b',' | b';' | b'"')) {
        None => return line.len(),
        Some(end) if line[end] != b'"' => return end,
        Some(quote) => quote,
    };
    let (mut quoted, mut escaped) = (false, false);
    for (i, &byte) in line.iter().enumerate().skip(quote) {
        match byte {
            _ if escaped => escaped = false,
            b'"' => quoted = !quoted,
            b'\\' if quoted => escaped = true,
            b',' | b';' if !quoted => return i,
            _ => {}
        }
    }
    line.len()
}

fn name_of(name: &[u8], syntax: Syntax) -> Name {
    let edge_control = syntax == Syntax::EdgeControl;
    match name {
        b"max-age" => Name::MaxAge,
        b"s-maxage" => Name::SMaxAge,
        b"public" => Name::Public,
        b"private" => Name::Private,
        b"no-store" => Name::NoStore,
        b"no-cache" => Name::NoCache,
        b"immutable" => Name::Immutable,
        b"proxy-revalidate" => Name::ProxyRevalidate,
        b"stale-while-revalidate" => Name::StaleWhileRevalidate,
        b"stale-if-error" => Name::StaleIfError,
        b"cache-maxage" if edge_control => Name::MaxAge,
        b"bypass-cache" if edge_control => Name::NoStore,
        b"!no-store" if edge_control => Name::NotNoStore,
        b"downstream-ttl" if edge_control => Name::DownstreamTtl,
        _ if name.iter().any(u8::is_ascii_uppercase) => name_of(&name.to_ascii_lowercase(), syntax),
        _ => Name::Other,
    }
}

/// Returns whole seconds, rounded down, at most 2^31 (RFC 9111 §1.2.2).
pub(super) fn seconds(ttl: Duration) -> u32 {
    u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX).min(1 << 31)
}

/// Parses `delta-seconds` (RFC 9111 §1.2.2). Anything but a number is 0.
pub(super) fn delta_seconds(digits: &[u8]) -> u32 {
    if digits.is_empty() {
        return 0;
    }
    let mut seconds = 0u32;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return 0;
        }
        seconds = seconds.saturating_mul(10).saturating_add(u32::from(digit - b'0')).min(LONGEST);
    }
    seconds
}

/// Parses a lifetime of `Edge-Control`: seconds, or numbers with the units s, m, h, d (`7d`, `1h30m`).
fn duration(text: &[u8]) -> u32 {
    let (mut total, mut number) = (0u32, None);
    for byte in text {
        let unit = match byte.to_ascii_lowercase() {
            digit @ b'0'..=b'9' => {
                let next = number.unwrap_or(0u32).saturating_mul(10).saturating_add(u32::from(digit - b'0'));
                number = Some(next);
                continue;
            }
            b's' => 1,
            b'm' => 60,
            b'h' => 3_600,
            b'd' => 86_400,
            _ => return 0,
        };
        let Some(count) = number.take() else { return 0 };
        total = total.saturating_add(count.saturating_mul(unit));
    }
    total.saturating_add(number.unwrap_or(0)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn check(lines: &[&str], expected: CacheControl) {
        let lines: Vec<_> = lines.iter().map(|l| HeaderValue::from_bytes(l.as_bytes()).unwrap()).collect();
        assert_eq!(CacheControl::parse(lines.iter().map(Value::from)), expected, "{lines:?}");
    }

    fn max_age(seconds: u32) -> CacheControl {
        CacheControl { max_age: Some(seconds), ..CacheControl::default() }
    }

    #[test]
    fn lifetimes() {
        check(&[], CacheControl::default());
        check(&[""], CacheControl::default());
        check(&["max-age=60"], max_age(60));
        check(&["MAX-AGE=60"], max_age(60));
        check(&["max-age = 60"], max_age(60));
        check(&["max-age=\"60\""], max_age(60));
        check(&[",, max-age=60,"], max_age(60));
        check(&["max-age=2147483648"], max_age(1 << 31));
        check(&["max-age=99999999999999999999"], max_age(1 << 31));
        check(&["s-maxage=5, max-age=60"], CacheControl { s_maxage: Some(5), ..max_age(60) });
    }

    #[test]
    fn what_is_no_number_is_zero() {
        for text in
            ["max-age", "max-age=", "max-age=-1", "max-age=1.5", "max-age=7d", "max-age=\"60", "max-age 60"]
        {
            check(&[text], max_age(0));
        }
    }

    #[test]
    fn the_most_restrictive_of_duplicates_holds() {
        check(&["max-age=60, max-age=5"], max_age(5));
        check(&["max-age=5", "max-age=60"], max_age(5));
        check(&["max-age=60, max-age=x"], max_age(0));
        check(
            &["public, max-age=60", "private"],
            CacheControl { private: true, public: true, ..max_age(60) },
        );
    }

    #[test]
    fn flags() {
        let no_cache = CacheControl { no_cache: true, ..CacheControl::default() };
        check(&["no-cache"], no_cache);
        check(&["No-Cache=\"set-cookie, x\""], no_cache);
        check(&["no-cache foo"], no_cache);
        check(&["no-store"], CacheControl { no_store: true, ..CacheControl::default() });
        check(&["private=\"a\""], CacheControl { private: true, ..CacheControl::default() });
        check(&["private; no-cache"], CacheControl { private: true, ..no_cache });
        check(&["x-private, no-storex"], CacheControl::default());
    }

    #[test]
    fn quoted_strings_hide_separators_only() {
        check(&["x=\"private, no-store\", max-age=60"], max_age(60));
        check(&["x=\"a\\\", private\", max-age=60"], max_age(60));
        check(&["x=\"é\", max-age=60"], max_age(60));
    }

    #[test]
    fn a_prohibition_counts_wherever_in_a_broken_field_it_stands() {
        let private = CacheControl { private: true, ..CacheControl::default() };
        let public = CacheControl { public: true, ..CacheControl::default() };
        check(&["public private"], CacheControl { private: true, ..public });
        check(&["\"private\""], private);
        check(&["max-age=60, ext=\"oops, no-store"], CacheControl { no_store: true, ..max_age(60) });
        check(&["ext='a b' No-Cache"], CacheControl { no_cache: true, ..CacheControl::default() });
        check(&["no-store:1"], CacheControl { no_store: true, ..CacheControl::default() });
        check(&["public max-age=0"], CacheControl { public: true, ..max_age(0) });
        check(&["max-age=60, x y=1 s-maxage=00"], CacheControl { s_maxage: Some(0), ..max_age(60) });
        check(&["(private)", "max-age=60"], CacheControl { private: true, ..max_age(60) });
        // Broken text grants nothing, and a well-formed quoted string hides its contents.
        check(&["x max-age=60"], CacheControl::default());
        check(&["x public"], CacheControl::default());
        check(&["x=\"private\", y=no-storex"], CacheControl::default());
    }

    #[test]
    fn what_forbids_beyond_doubt() {
        let check = |line: &str, syntax: Syntax, expected: bool| {
            let line = HeaderValue::from_str(line).unwrap();
            assert_eq!(
                CacheControl::forbids_beyond_doubt([Value::from(&line)], syntax),
                expected,
                "{line:?} {syntax:?}"
            );
        };
        let cache_control = |line, expected| check(line, Syntax::CacheControl, expected);
        cache_control("private", true);
        cache_control("x=1, no-store", true);
        // Some caches read this as one directive with a strange name.
        cache_control("no-cache; x", false);
        cache_control("x; private", false);
        cache_control("max-age=0", true);
        cache_control("max-age=0, s-maxage=60", false);
        cache_control("max-age=60, max-age=0", false);
        cache_control("max-age=0x", false);
        cache_control("max-age=", false);
        check("no-store;x", Syntax::Targeted, true);
        check("max-age=0;x", Syntax::Targeted, true);
        // The lifetimes of this field have units.
        check("max-age=0s", Syntax::EdgeControl, true);
        check("max-age=s0", Syntax::EdgeControl, false);
        check("max-age=60s", Syntax::EdgeControl, false);
    }

    #[test]
    fn what_is_broken_grants_and_shortens_nothing() {
        let check_lifetime = |line: &str, expected: Option<u32>| {
            let line = HeaderValue::from_str(line).unwrap();
            assert_eq!(CacheControl::parse([Value::from(&line)]).shared_lifetime(), expected, "{line:?}");
        };
        check_lifetime("public, x=\"max-age=60", None);
        check_lifetime("public, x=\"max-age=00", Some(0));
        check_lifetime("public, x=\"s-maxage=60", None);
        check_lifetime("public, x=\"s-maxage=0", Some(0));
    }

    #[test]
    fn which_directives_are_malformed() {
        let check = |line: &str, expected: bool| {
            let malformed = directives(line.as_bytes(), Syntax::CacheControl).any(|of| of.is_malformed());
            assert_eq!(malformed, expected, "{line:?}");
        };
        for line in ["max-age=60", "max-age=6x", "x", "x=y", "x=\"a, b\"", "private=\"x\"", "max-age=\"60\""]
        {
            check(line, false);
        }
        for line in ["max-age=6\"", "max-age=@", "max-age=", "x=\"a", "x@=1", "max-age 60", "x=\"a\"b"] {
            check(line, true);
        }
    }

    #[test]
    fn edge_control() {
        let check = |line: &str, expected: CacheControl| {
            let line = HeaderValue::from_str(line).unwrap();
            assert_eq!(CacheControl::read([Value::from(&line)], Syntax::EdgeControl), expected, "{line:?}");
        };
        check("!no-store, max-age=7d", max_age(604_800));
        check("max-age=90", max_age(90));
        check("cache-maxage=2h, downstream-ttl=5m", max_age(7_200));
        check("max-age=1d, cache-maxage=1h30m", max_age(5_400));
        check("max-age=9999999d", max_age(1 << 31));
        check("max-age=d", max_age(0));
        check("max-age=1w", max_age(0));
        check("bypass-cache", CacheControl { no_store: true, ..CacheControl::default() });
        check("dca=esi", CacheControl::default());
    }

    #[test]
    fn edge_control_names_mean_nothing_elsewhere() {
        check(&["cache-maxage=60, bypass-cache, !no-store"], CacheControl::default());
    }
}
