//! The names within patterns. A name that a client quotes is read back; a character that makes it a pattern of several
//! names is not.

/// How a client writes a name into a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quoting {
    /// With backslashes before what has a meaning in patterns (PHP's `preg_quote`).
    Backslashes,
    /// As it is. Names of such clients have dots, which are meant as dots.
    None,
}

/// Reads the name at the beginning of `pattern`, up to one of the characters that have a meaning in patterns. Returns
/// the name and the rest; `None` if a backslash begins a class of characters.
pub(super) fn leading(pattern: &str, quoting: Quoting) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut characters = pattern.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => match characters.next() {
                // Before letters and digits, a backslash has other meanings.
                Some((_, quoted)) if quoted.is_ascii() && !quoted.is_ascii_alphanumeric() => {
                    name.push(quoted)
                }
                _ => return None,
            },
            '.' if quoting == Quoting::None && !pattern[at + 1..].starts_with(['*', '+', '?', '{']) => {
                name.push('.');
            }
            _ if is_special(character) => return Some((name, &pattern[at..])),
            _ => name.push(character),
        }
    }
    Some((name, ""))
}

/// Reads names that are separated by `|`, up to the end of `pattern` or another special character.
pub(super) fn alternatives(pattern: &str, quoting: Quoting) -> Option<(Vec<String>, &str)> {
    let mut names = Vec::new();
    let mut rest = pattern;
    loop {
        let (name, after) = leading(rest, quoting)?;
        if name.is_empty() {
            return None;
        }
        names.push(name);
        match after.strip_prefix('|') {
            Some(next) => rest = next,
            // What is repeated is the last character before it.
            None if after.starts_with(['*', '+', '?', '{']) => return None,
            None => return Some((names, after)),
        }
    }
}

fn is_special(character: char) -> bool {
    matches!(character, '\\' | '^' | '$' | '.' | '|' | '?' | '*' | '+' | '(' | ')' | '[' | ']' | '{' | '}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_where_a_pattern_begins() {
        let check = |pattern: &str, quoting, expected: Option<(&str, &str)>| {
            let read = leading(pattern, quoting);
            let read = read.as_ref().map(|(name, rest)| (&**name, *rest));
            assert_eq!(read, expected, "{pattern}");
        };
        check(r"node\:1\-2|x", Quoting::Backslashes, Some(("node:1-2", "|x")));
        check("a.b", Quoting::Backslashes, Some(("a", ".b")));
        check("a.b", Quoting::None, Some(("a.b", "")));
        check("a.*", Quoting::None, Some(("a", ".*")));
        check(r"a\d", Quoting::None, None);
        check(r"a\", Quoting::None, None);
        check(r"\000", Quoting::Backslashes, None);
    }

    #[test]
    fn each_alternative_is_a_name() {
        let check = |pattern: &str, expected: Option<(&[&str], &str)>| {
            let read = alternatives(pattern, Quoting::Backslashes);
            let names =
                expected.map(|(names, rest)| (names.iter().map(|name| (*name).into()).collect(), rest));
            assert_eq!(read, names, "{pattern}");
        };
        check("a|b)(,|$)", Some((&["a", "b"], ")(,|$)")));
        check("a", Some((&["a"], "")));
        check(r"a\|b", Some((&["a|b"], "")));
        for pattern in ["", "a|", "|a", "a||b", "ab*", "a+", "ab?", "a{2}"] {
            check(pattern, None);
        }
    }
}
