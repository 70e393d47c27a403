//! Whether every path that one pattern matches is matched by another: then a rule after the other never applies.

use super::path::normalise;
use super::pattern::PathPattern;
use std::collections::{BTreeSet, HashSet};

/// The number of states after which a comparison is given up. Patterns that people write need a few dozen.
const STATES: usize = 2_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    Byte(u8),
    /// `*`
    Segment,
    /// `**`
    Anything,
}

/// A set of positions between tokens.
type Positions = BTreeSet<usize>;

/// Whether `broad` certainly matches every path that `narrow` matches.
pub fn covers(broad: &PathPattern, narrow: &PathPattern) -> bool {
    let (broad, narrow) = (tokens(broad), tokens(narrow));
    // A byte that no pattern names stands for all others.
    let mut alphabet: BTreeSet<u8> = broad.iter().chain(&narrow).filter_map(byte).collect();
    alphabet.extend([b'/', 0]);
    let mut todo = vec![(Positions::from([0]), Positions::from([0]))];
    let mut seen: HashSet<(Positions, Positions)> = todo.iter().cloned().collect();
    while let Some((in_broad, in_narrow)) = todo.pop() {
        if in_narrow.contains(&narrow.len()) && !in_broad.contains(&broad.len()) || seen.len() > STATES {
            return false;
        }
        for &byte in &alphabet {
            let next = (after(&broad, &in_broad, byte), after(&narrow, &in_narrow, byte));
            if !next.1.is_empty() && seen.insert(next.clone()) {
                todo.push(next);
            }
        }
    }
    true
}

fn tokens(pattern: &PathPattern) -> Vec<Token> {
    let normal = normalise(pattern.as_str());
    let mut left = normal.as_bytes();
    let mut tokens = Vec::new();
    while let Some((&first, rest)) = left.split_first() {
        let (token, rest) = match (first, rest) {
            (b'*', [b'*', rest @ ..]) => (Token::Anything, rest),
            (b'*', _) => (Token::Segment, rest),
            _ => (Token::Byte(first), rest),
        };
        tokens.push(token);
        left = rest;
    }
    tokens
}

fn byte(token: &Token) -> Option<u8> {
    match token {
        Token::Byte(byte) => Some(*byte),
        _ => None,
    }
}

/// Adds the positions that are reached without a byte. Stars match nothing. `/**/` matches a single `/`, so a position
/// in `fresh`, which has just been reached, may skip `**/` after a slash.
fn closed(tokens: &[Token], fresh: Positions, stayed: Positions) -> Positions {
    let slash = Some(&Token::Byte(b'/'));
    let mut todo: Vec<(usize, bool)> = stayed.into_iter().map(|at| (at, false)).collect();
    todo.extend(fresh.into_iter().map(|at| (at, true)));
    let mut seen = BTreeSet::new();
    while let Some((at, is_fresh)) = todo.pop() {
        if !seen.insert((at, is_fresh)) {
            continue;
        }
        if matches!(tokens.get(at), Some(Token::Segment | Token::Anything)) {
            todo.push((at + 1, false));
        }
        let after_slash = is_fresh && at > 0 && tokens.get(at - 1) == slash;
        if after_slash && tokens.get(at) == Some(&Token::Anything) && tokens.get(at + 1) == slash {
            todo.push((at + 2, true));
        }
    }
    seen.into_iter().map(|(at, _)| at).collect()
}

fn after(tokens: &[Token], positions: &Positions, byte: u8) -> Positions {
    let [mut fresh, mut stayed] = [Positions::new(), Positions::new()];
    for &at in positions {
        match tokens.get(at) {
            Some(Token::Byte(wanted)) if *wanted == byte => drop(fresh.insert(at + 1)),
            Some(Token::Segment) if byte != b'/' => drop(stayed.insert(at)),
            Some(Token::Anything) => drop(stayed.insert(at)),
            _ => {}
        }
    }
    closed(tokens, fresh, stayed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_covers_what() {
        let check = |broad: &str, narrow: &str, expected: bool| {
            let [broad, narrow] = [broad, narrow].map(|text| PathPattern::new(text).unwrap());
            assert_eq!(covers(&broad, &narrow), expected, "{broad:?} {narrow:?}");
        };
        check("/a", "/a", true);
        check("/a", "/%61", true);
        check("/**", "/a/*.css", true);
        check("/a/**", "/a/b/**/c", true);
        check("/a/**", "/a", false);
        check("/a/*", "/a/b", true);
        check("/a/*", "/a/**", false);
        check("/*.css", "/a*.css", true);
        check("/**/*.css", "/main.css", true);
        check("/**/*.css", "/*.js", false);
        check("/a*", "/b*", false);
        check("/**/", "/", true);
        check("/**/", "/a", false);
    }

    proptest! {
        #[test]
        fn covering_means_matching_all(broad in "/[ab/*]{0,6}", narrow in "/[ab/*]{0,6}", paths in proptest::collection::vec("/[abc/]{0,6}", 40)) {
            let (Ok(broad), Ok(narrow)) = (PathPattern::new(&broad), PathPattern::new(&narrow)) else { return Ok(()) };
            let covered = covers(&broad, &narrow);
            for path in paths.iter().map(|path| normalise(path)).filter(|path| narrow.matches(path)) {
                prop_assert!(!covered || broad.matches(&path), "{} {} {path}", broad.as_str(), narrow.as_str());
            }
        }
    }
}
