//! What a comment looks like.

use super::{collect, insist};
use std::fs;
use std::path::Path;

/// The longest line of a comment, indentation included. rustfmt holds code to its own width, but not comments.
const MAX_COLUMNS: usize = 119;

/// A comment that begins with one of these lacks its subject: rustdoc shows it without the name above which it stands.
const NO_SUBJECT: [&str; 7] = ["It ", "They ", "Its ", "Their ", "Whose ", "Whoever ", "For how "];

#[test]
fn comments_fit_and_begin_with_their_subject() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    ["src", "tests/it", "tests/fuzz/laws"].iter().for_each(|folder| collect(&root.join(folder), &mut files));
    let mut broken = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let mut before = "";
        for (index, line) in text.lines().enumerate() {
            let comment = line.trim_start();
            let place = || format!("{}:{}", file.strip_prefix(root).unwrap().display(), index + 1);
            if comment.starts_with("//") && line.chars().count() > MAX_COLUMNS {
                broken.push(format!("{}: longer than {MAX_COLUMNS} columns", place()));
            }
            let begins = !before.trim_start().starts_with("//");
            let words =
                ["///", "//!"].iter().find_map(|mark| comment.strip_prefix(mark)).map(str::trim_start);
            if let Some(words) =
                words.filter(|words| begins && NO_SUBJECT.iter().any(|word| words.starts_with(word)))
            {
                broken.push(format!("{}: lacks its subject: {words}", place()));
            }
            before = line;
        }
    }
    insist(broken);
}
