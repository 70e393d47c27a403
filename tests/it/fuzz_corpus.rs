//! The fuzzers' corpus, replayed: whatever once was of interest to them stays lawful.

#[path = "../fuzz/laws.rs"]
mod laws;

fn replay(target: &str, law: fn(&[u8])) {
    let folder = format!("{}/tests/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut inputs = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        law(&std::fs::read(entry.unwrap().path()).unwrap());
        inputs += 1;
    }
    assert!(inputs > 10, "{target} has a corpus");
}

#[test]
fn heads() {
    replay("head", laws::head);
}

#[test]
fn proxy_headers() {
    replay("proxy_header", laws::proxy_header);
}

#[test]
fn chunked_bodies() {
    replay("chunked", laws::chunked);
}
