//! The start and the end of a head, in requests and responses.

/// Returns the first line without its end, and the place after it, or `None` if the line is incomplete. It ends with
/// CRLF, or with a lone LF as RFC 9112 §2.2 allows.
pub fn first(buf: &[u8]) -> Option<(&[u8], usize)> {
    let end = memchr::memchr(b'\n', buf)?;
    let line = &buf[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), end + 1))
}

/// Whether the bytes after `searched` may complete an empty line, if there was none before. A head that trickles in
/// must not be read from its start at each byte.
pub fn may_have_ended(buf: &[u8], searched: usize) -> bool {
    let new = &buf[searched.saturating_sub(2)..];
    new.windows(2).any(|end| end == b"\n\n") || new.windows(3).any(|end| end == b"\n\r\n")
}
