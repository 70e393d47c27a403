//! The pages: the requests for them, made beforehand, and the bodies that they have.

use super::Options;
use std::io;

/// The usual number of bytes of a small page.
const SMALL: usize = 1024;
/// The usual number of bytes of a large page.
const LARGE: usize = 100 * 1024;

/// The requests for all pages.
pub struct Pages {
    /// Whole requests of HTTP/1.1, one after the other, and where each begins.
    requests: Vec<u8>,
    starts: Vec<usize>,
    paths: Vec<String>,
    size: usize,
}

impl Pages {
    pub fn new(options: &Options) -> Self {
        let (mut requests, mut starts, mut paths) = (Vec::new(), vec![0], Vec::new());
        let fields: String = options.fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        for number in 0..options.pages {
            let path = format!("/{}/{number:06}", options.kind);
            let head = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n{fields}\r\n", options.host);
            requests.extend_from_slice(head.as_bytes());
            starts.push(requests.len());
            paths.push(path);
        }
        let size = if options.kind == "large" { LARGE } else { SMALL };
        Self { requests, starts, paths, size }
    }

    /// Returns the bytes of the request for a page.
    pub fn request(&self, number: u32) -> &[u8] {
        let number = number as usize;
        &self.requests[self.starts[number]..self.starts[number + 1]]
    }

    /// Returns the path of a page.
    pub fn path(&self, number: u32) -> &str {
        &self.paths[number as usize]
    }

    /// Checks a whole body: the path again and again, cut off at the page's size, which is that of `bench-origin`.
    pub fn check(&self, number: u32, body: &[u8]) -> io::Result<()> {
        let path = self.path(number).as_bytes();
        let size = self.size - 32 + number as usize % 64;
        let is_right = body.len() == size && body.chunks(path.len()).all(|part| part == &path[..part.len()]);
        match is_right {
            true => Ok(()),
            false => Err(io::Error::other(format!("{}: a body of {} bytes that is not its own", self.path(number), body.len()))),
        }
    }
}

/// Pages in a pseudo-random order, uniformly distributed (SplitMix64).
pub struct Order {
    pages: u32,
    state: u64,
}

impl Order {
    pub fn new(pages: u32, seed: u64) -> Self {
        Self { pages, state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) }
    }

    pub fn next(&mut self) -> u32 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % u64::from(self.pages)) as u32
    }
}
