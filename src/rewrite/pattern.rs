//! Path patterns of rules: `*` matches within a segment, `**` across segments.

use super::path::normalise;

/// A compiled path pattern, matched against a whole normalised path.
///
/// `*` matches any characters except `/`, and `**` matches any characters. Both may match nothing, and `/**/` also
/// matches a single `/`. All other characters match themselves, after conversion to the normal form of paths.
///
/// Matching takes time linear in the path for every pattern, because clients choose the path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathPattern {
    source: String,
    /// The characters before the first wildcard, which decide most patterns.
    prefix: Vec<u8>,
    tail: Tail,
}

/// The part of a pattern after the prefix.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Tail {
    /// Nothing follows, so the path equals the prefix.
    End,
    /// Only `**` follows, so the path starts with the prefix.
    Anything,
    Wild(Box<Wild>),
}

/// A bit-parallel automaton. State `i` means that the first `i` literals are matched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Wild {
    literals: Vec<u8>,
    /// The number of literals after the last wildcard. Every matching path ends in them.
    suffix: usize,
    /// States that persist while the path stays within a segment, because a `*` precedes the next literal.
    stay_in_segment: u128,
    /// States that persist whatever follows, because of `**`.
    stay: u128,
    /// States from which the next one is entered at once, because `/**/` also matches a single `/`: its first slash
    /// then stands for the second, too.
    skip: u128,
}

/// The reason why a text is not a path pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// The pattern does not start at the root.
    #[error("a path pattern starts with `/`")]
    NotAbsolute,
    /// The pattern has a query or a fragment.
    #[error("a path pattern has no `?` and no `#`: rules see the path only")]
    NotAPath,
    /// The pattern has three or more consecutive stars.
    #[error("`***` means nothing: `*` stands for characters within a segment, `**` across segments")]
    TooManyStars,
    /// The pattern exceeds the automaton, which has 128 states.
    #[error("a path pattern has at most {} characters after its first `*`", Wild::LITERALS)]
    TooLong,
}

impl PathPattern {
    /// Compiles `pattern`.
    pub fn new(pattern: &str) -> Result<Self, PatternError> {
        if !pattern.starts_with('/') {
            return Err(PatternError::NotAbsolute);
        }
        if pattern.contains(['?', '#']) {
            return Err(PatternError::NotAPath);
        }
        if pattern.contains("***") {
            return Err(PatternError::TooManyStars);
        }
        let normal = normalise(pattern);
        let first_star = normal.find('*').unwrap_or(normal.len());
        let (prefix, tail) = normal.split_at(first_star);
        let tail = match tail {
            "" => Tail::End,
            "**" => Tail::Anything,
            _ => Tail::Wild(Box::new(Wild::new(tail.as_bytes(), prefix.ends_with('/'))?)),
        };
        Ok(Self { source: pattern.to_owned(), prefix: prefix.as_bytes().to_vec(), tail })
    }

    /// Whether the normalised path matches.
    pub fn matches(&self, path: &str) -> bool {
        let Some(rest) = path.as_bytes().strip_prefix(&*self.prefix) else { return false };
        match &self.tail {
            Tail::End => rest.is_empty(),
            Tail::Anything => true,
            Tail::Wild(wild) => path.as_bytes().ends_with(wild.suffix()) && wild.matches(rest),
        }
    }

    /// The pattern as it was configured.
    pub fn as_str(&self) -> &str {
        &self.source
    }
}

impl Wild {
    /// The maximum number of literals. States are bits of a `u128`, one more than literals.
    const LITERALS: usize = 127;

    /// Compiles the tail. `after_slash` is whether a slash precedes it.
    fn new(tail: &[u8], after_slash: bool) -> Result<Self, PatternError> {
        let mut wild = Self { literals: Vec::new(), suffix: 0, stay_in_segment: 0, stay: 0, skip: 0 };
        let mut left = tail;
        while let Some((&byte, rest)) = left.split_first() {
            let state = 1u128 << wild.literals.len();
            left = rest;
            if byte != b'*' {
                if wild.literals.len() == Self::LITERALS {
                    return Err(PatternError::TooLong);
                }
                wild.literals.push(byte);
                wild.suffix += 1;
                continue;
            }
            wild.suffix = 0;
            let Some(rest) = rest.strip_prefix(b"*") else {
                wild.stay_in_segment |= state;
                continue;
            };
            wild.stay |= state;
            if rest.first() == Some(&b'/') && wild.literals.last().map_or(after_slash, |b| *b == b'/') {
                wild.skip |= state;
            }
            left = rest;
        }
        Ok(wild)
    }

    fn suffix(&self) -> &[u8] {
        &self.literals[self.literals.len() - self.suffix..]
    }

    fn matches(&self, path: &[u8]) -> bool {
        let mut states = self.skipped(1);
        for &byte in path {
            let mut moved = 0u128;
            let mut left = states;
            while left != 0 {
                let state = left.trailing_zeros();
                left &= left - 1;
                if self.literals.get(state as usize) == Some(&byte) {
                    moved |= 1 << (state + 1);
                }
            }
            let stay = if byte == b'/' { self.stay } else { self.stay | self.stay_in_segment };
            states = self.skipped(moved) | (states & stay);
            if states == 0 {
                return false;
            }
        }
        (states >> self.literals.len()) & 1 == 1
    }

    /// Adds the states that follow immediately after a slash was matched, which are several for `/**/**/`.
    fn skipped(&self, mut states: u128) -> u128 {
        loop {
            let more = states | ((states & self.skip) << 1);
            if more == states {
                return states;
            }
            states = more;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        let compiled = PathPattern::new(pattern).unwrap();
        for path in matching {
            assert!(compiled.matches(path), "{pattern} should match {path}");
        }
        for path in others {
            assert!(!compiled.matches(path), "{pattern} should not match {path}");
        }
    }

    #[test]
    fn without_wildcards() {
        check("/", &["/"], &["/a"]);
        check("/a/b", &["/a/b"], &["/a/b/", "/a", "/a/bc", "/A/b"]);
        check("/%61/./é", &["/a/%C3%A9"], &[]);
    }

    #[test]
    fn one_star_stays_within_a_segment() {
        check("/*", &["/", "/a"], &["/a/", "/a/b"]);
        check("/*.css", &["/.css", "/a.css", "/a.css.css"], &["/a/b.css", "/a.cs", "/a.css/"]);
        check("/a/*/c", &["/a/b/c", "/a//c"], &["/a/c", "/a/b/b/c"]);
        check("/a*b*c", &["/abc", "/aXbYc", "/abbcc"], &["/ab", "/a/bc", "/acb"]);
    }

    #[test]
    fn two_stars_cross_segments() {
        check("/**", &["/", "/a", "/a/b/"], &[]);
        check("/a/**", &["/a/", "/a/b", "/a/b/c"], &["/a", "/ab"]);
        check("/a**", &["/a", "/ab", "/a/b"], &["/b"]);
        check("/a/**/c", &["/a/c", "/a/b/c", "/a/b/b/c"], &["/a/cc", "/ac", "/a/bc"]);
        check("/**/", &["/", "/a/", "/a/b/"], &["/a", "/a/b"]);
        check("/**/*.jpg", &["/x.jpg", "/a/x.jpg", "/a/b/.jpg"], &["/x.jpg/", "/a/x.png"]);
        check("/a/**/**/b", &["/a/b", "/a/x/b", "/a/x/y/b"], &["/a/xb"]);
        check("/a**/b", &["/a/b", "/ax/y/b"], &["/ab"]);
        check("/**a*b/c", &["/ab/c", "/x/axb/c", "/a/ab/c"], &["/a/b/c", "/ab/x/c"]);
    }

    #[test]
    fn what_is_no_pattern() {
        let check = |pattern: &str, expected| assert_eq!(PathPattern::new(pattern), Err(expected));
        check("", PatternError::NotAbsolute);
        check("*.css", PatternError::NotAbsolute);
        check("/a?b", PatternError::NotAPath);
        check("/a#b", PatternError::NotAPath);
        check("/a/***", PatternError::TooManyStars);
        check(&format!("/*{}", "a".repeat(128)), PatternError::TooLong);
        assert!(
            PathPattern::new(&format!("/*{}", "a".repeat(127)))
                .unwrap()
                .matches(&format!("/{}", "a".repeat(127)))
        );
        assert!(PathPattern::new(&format!("/{}*", "a".repeat(500))).is_ok());
    }

    /// Matches a pattern by plain recursion, as slowly as necessary.
    fn reference(pattern: &[u8], path: &[u8]) -> bool {
        match pattern {
            [] => path.is_empty(),
            [b'/', b'*', b'*', b'/', rest @ ..] if path.first() == Some(&b'/') => {
                // The rest of the pattern, starting with its slash, may match at this slash or anywhere after it.
                let rest = &pattern[pattern.len() - rest.len() - 1..];
                (0..=path.len()).any(|i| reference(rest, &path[i..]))
            }
            [b'*', b'*', rest @ ..] => (0..=path.len()).any(|i| reference(rest, &path[i..])),
            [b'*', rest @ ..] => (0..=path.len())
                .take_while(|i| !path[..*i].contains(&b'/'))
                .any(|i| reference(rest, &path[i..])),
            [byte, rest @ ..] => path.first() == Some(byte) && reference(rest, &path[1..]),
        }
    }

    proptest! {
        #[test]
        fn the_automaton_means_what_recursion_means(
            pattern in "/([ab/]|\\*|\\*\\*/){0,8}", path in "/[ab/]{0,10}",
        ) {
            let pattern = normalise(&pattern).into_owned();
            let Ok(compiled) = PathPattern::new(&pattern) else { return Ok(()) };
            prop_assert_eq!(compiled.matches(&path), reference(pattern.as_bytes(), path.as_bytes()));
        }
    }
}
