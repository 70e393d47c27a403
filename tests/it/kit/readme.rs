//! The README stays short, and shows the program.

use super::read;

#[test]
fn the_readme_is_short_and_has_a_picture() {
    let readme = read("README.md");
    // Every second part is a block of commands or of a configuration.
    let prose: Vec<_> = readme.split("```").step_by(2).collect();
    let words: usize = prose.iter().map(|part| part.split_whitespace().count()).sum();
    assert!((300..700).contains(&words), "{words} words");
    assert!(prose.iter().any(|part| part.contains("![")), "no picture");
}
