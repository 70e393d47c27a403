//! The chunked coding (RFC 9112 §7.1) of a body, decoded without copying.

pub use super::chunked_error::ChunkedError;
use super::trailers::Section;
use crate::http::head::limits::HeadLimits;
use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;

/// The maximum number of bytes of all extensions of one body together, including the blanks before them.
pub const MAX_EXTENSION_BYTES: u32 = 16 * 1024;
/// The maximum number of digits of a chunk size. A `u64` has as many, so a size can never overflow.
const MAX_SIZE_DIGITS: u8 = 16;

/// Decodes chunks from a read buffer. Extensions are checked, bounded and dropped. Trailers are bounded like the
/// fields of a head.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
    /// While a size is read, its value so far. Within a chunk, the number of bytes still to come.
    remaining: u64,
    digits: u8,
    extension_bytes: u32,
    limits: HeadLimits,
    /// Boxed because few messages have trailers.
    trailers: Option<Box<Section>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// The digits of a chunk size.
    #[default]
    Size,
    /// Blanks after a size, which old servers use for padding. No more digits may follow.
    Blank,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// The start of a trailer line, or of the empty line that ends the message.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    End,
}

/// The result of [`Decoder::decode`].
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    /// Bytes of the body, at least one.
    Data(Bytes),
    /// The buffer is used up.
    NeedMore,
    /// The message is complete. Bytes left in the buffer are not part of it.
    End,
}

impl Decoder {
    /// Creates a decoder for a body whose trailers have these limits.
    pub fn new(limits: HeadLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Takes the trailers after the message is complete. Returns `None` if it has none or they were already taken.
    pub fn take_trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take_if(|_| self.state == State::End).map(|section| section.into_fields())
    }

    /// Whether there are trailers that have not been taken.
    pub fn has_trailers(&self) -> bool {
        self.trailers.is_some()
    }

    /// Takes the next piece off the front of `buf`.
    ///
    /// # Errors
    /// Returns an error on any deviation from the grammar. The decoder must not be used afterwards.
    pub fn decode(&mut self, buf: &mut BytesMut) -> Result<Decoded, ChunkedError> {
        let mut used = 0;
        while self.state != State::End {
            if self.state == State::Data {
                buf.advance(used);
                return Ok(self.data(buf));
            }
            let Some(&byte) = buf.get(used) else {
                buf.advance(used);
                return Ok(Decoded::NeedMore);
            };
            self.step(byte)?;
            used += 1;
        }
        buf.advance(used);
        Ok(Decoded::End)
    }

    /// Whether the last chunk and its trailers have been taken.
    pub fn is_end(&self) -> bool {
        self.state == State::End
    }

    fn data(&mut self, buf: &mut BytesMut) -> Decoded {
        if buf.is_empty() {
            return Decoded::NeedMore;
        }
        let length = usize::try_from(self.remaining).map_or(buf.len(), |remaining| remaining.min(buf.len()));
        self.remaining -= length as u64;
        if self.remaining == 0 {
            self.state = State::DataCr;
        }
        Decoded::Data(buf.split_to(length).freeze())
    }

    fn step(&mut self, byte: u8) -> Result<(), ChunkedError> {
        self.state = match (self.state, byte) {
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => self.digit(byte)?,
            (State::Size | State::Blank, _) if self.digits > 0 => match byte {
                b'\r' => State::SizeLf,
                b';' => self.extension(State::Extension)?,
                b' ' | b'\t' => self.extension(State::Blank)?,
                _ => return Err(ChunkedError::Size),
            },
            (State::Extension, b'\r') => State::SizeLf,
            (State::Extension, _) if is_field_byte(byte) => self.extension(State::Extension)?,
            (State::Extension, _) => return Err(ChunkedError::Extension),
            (State::SizeLf, b'\n') => {
                self.digits = 0;
                if self.remaining == 0 { State::TrailerStart } else { State::Data }
            }
            (State::Size | State::Blank | State::SizeLf, _) => return Err(ChunkedError::Size),

            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size,
            (State::DataCr | State::DataLf, _) => return Err(ChunkedError::DataEnd),

            (State::TrailerStart, b'\r') => State::EndLf,
            (State::TrailerStart | State::TrailerName, _) if is_token_byte(byte) => {
                self.trailer(byte, State::TrailerName)?
            }
            (State::TrailerName, b':') => self.trailer(byte, State::TrailerValue)?,
            (State::TrailerValue, b'\r') => State::TrailerLf,
            (State::TrailerValue, _) if is_field_byte(byte) => self.trailer(byte, State::TrailerValue)?,
            (State::TrailerLf, b'\n') => {
                self.trailers.get_or_insert_default().end_line(self.limits)?;
                State::TrailerStart
            }
            (State::EndLf, b'\n') => State::End,
            (
                State::TrailerStart
                | State::TrailerName
                | State::TrailerValue
                | State::TrailerLf
                | State::EndLf,
                _,
            ) => return Err(ChunkedError::Trailer),

            // `decode` never calls `step` in these states.
            (state @ (State::Data | State::End), _) => state,
        };
        Ok(())
    }

    fn digit(&mut self, byte: u8) -> Result<State, ChunkedError> {
        if self.digits == MAX_SIZE_DIGITS {
            return Err(ChunkedError::SizeTooLong);
        }
        self.digits += 1;
        let value = match byte {
            b'0'..=b'9' => byte - b'0',
            _ => (byte | 0x20) - b'a' + 10,
        };
        self.remaining = self.remaining << 4 | u64::from(value);
        Ok(State::Size)
    }

    fn extension(&mut self, next: State) -> Result<State, ChunkedError> {
        self.extension_bytes += 1;
        if self.extension_bytes > MAX_EXTENSION_BYTES {
            return Err(ChunkedError::ExtensionsTooLong);
        }
        Ok(next)
    }

    fn trailer(&mut self, byte: u8, next: State) -> Result<State, ChunkedError> {
        self.trailers.get_or_insert_default().push(byte, self.limits)?;
        Ok(next)
    }
}

/// Whether this byte may be part of a field value or an extension: everything except controls (RFC 9110 §5.5).
fn is_field_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// Whether this byte may be part of a field name (`tchar`, RFC 9110 §5.6.2).
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Returns the body, the rest of the buffer, and whether the body has ended, after feeding `pieces` one by one.
    fn decode_pieces<'a>(
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(Vec<u8>, Vec<u8>, bool), ChunkedError> {
        let mut decoder = Decoder::default();
        let mut buf = BytesMut::new();
        let mut body = Vec::new();
        for piece in pieces {
            buf.extend_from_slice(piece);
            while let Decoded::Data(data) = decoder.decode(&mut buf)? {
                assert!(!data.is_empty());
                body.extend_from_slice(&data);
            }
        }
        Ok((body, buf.to_vec(), decoder.is_end()))
    }

    /// Decodes the whole input, and checks that byte-by-byte delivery gives the same result.
    fn decode(input: &[u8]) -> Result<(Vec<u8>, Vec<u8>, bool), ChunkedError> {
        let whole = decode_pieces([input]);
        assert_eq!(decode_pieces(input.chunks(1)), whole, "one byte at a time: {input:?}");
        whole
    }

    fn check(input: &str, body: &str, rest: &str) {
        assert_eq!(decode(input.as_bytes()), Ok((body.into(), rest.into(), true)), "{input:?}");
    }

    fn check_incomplete(input: &str, body: &str) {
        assert_eq!(decode(input.as_bytes()), Ok((body.into(), Vec::new(), false)), "{input:?}");
    }

    fn check_error(input: &str, error: ChunkedError) {
        assert_eq!(decode(input.as_bytes()), Err(error), "{input:?}");
    }

    #[test]
    fn chunks_are_joined() {
        check("0\r\n\r\n", "", "");
        check("5\r\nhello\r\n0\r\n\r\n", "hello", "");
        check("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world", "");
        check("a\r\n0123456789\r\n0\r\n\r\n", "0123456789", "");
        check("A\r\n0123456789\r\n0\r\n\r\n", "0123456789", "");
        check("0000000000000005\r\nhello\r\n000\r\n\r\n", "hello", "");
        check("2\r\n\r\n\r\n0\r\n\r\n", "\r\n", "");
    }

    #[test]
    fn what_follows_the_end_is_left() {
        check("0\r\n\r\nHTTP/1.1 200 OK\r\n", "", "HTTP/1.1 200 OK\r\n");
        check("1\r\nx\r\n0\r\n\r\n\r\n", "x", "\r\n");
    }

    #[test]
    fn truncation_is_not_an_end() {
        check_incomplete("", "");
        check_incomplete("5", "");
        check_incomplete("5\r\nhel", "hel");
        check_incomplete("5\r\nhello", "hello");
        check_incomplete("5\r\nhello\r\n", "hello");
        check_incomplete("5\r\nhello\r\n0\r\n", "hello");
        check_incomplete("5\r\nhello\r\n0\r\n\r", "hello");
        check_incomplete("0\r\nname: value\r\n", "");
    }

    #[test]
    fn extensions_and_padding_are_dropped() {
        check("5;a=b\r\nhello\r\n0;last\r\n\r\n", "hello", "");
        check("5 ; a = \"quoted; \\\" \"\r\nhello\r\n0\r\n\r\n", "hello", "");
        check("5  \t\r\nhello\r\n0 \r\n\r\n", "hello", "");
        check(&format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(16 * 1024 - 1)), "x", "");
        check_error(
            &format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(16 * 1024)),
            ChunkedError::ExtensionsTooLong,
        );
        check_error(&"1;eeee\r\nx\r\n".repeat(4 * 1024), ChunkedError::ExtensionsTooLong);
        check_error(&format!("1{}\r\n", " ".repeat(16 * 1024 + 1)), ChunkedError::ExtensionsTooLong);
        check_error("5;a\nhello\r\n0\r\n\r\n", ChunkedError::Extension);
        check_error("5;a\0\r\nhello\r\n0\r\n\r\n", ChunkedError::Extension);
    }

    #[test]
    fn sizes_are_plain_hex() {
        for input in [
            "\r\n",
            "0x5\r\n",
            "+5\r\n",
            "-5\r\n",
            " 5\r\n",
            "5 5\r\n",
            "g\r\n",
            "5\nhello",
            "5\r\r\n",
            "5,\r\n",
            "\n5",
            ";a\r\n",
            "5\u{a0}\r\n",
            "5_0\r\n",
        ] {
            check_error(input, ChunkedError::Size);
        }
        check_error("00000000000000005\r\nhello\r\n0\r\n\r\n", ChunkedError::SizeTooLong);
        check_error("10000000000000000\r\n", ChunkedError::SizeTooLong);
        check_incomplete("ffffffffffffffff\r\nabc", "abc");
    }

    #[test]
    fn data_ends_with_crlf() {
        check_error("5\r\nhello world\r\n0\r\n\r\n", ChunkedError::DataEnd);
        check_error("5\r\nhello\n0\r\n\r\n", ChunkedError::DataEnd);
        check_error("5\r\nhello\r\r\n0\r\n\r\n", ChunkedError::DataEnd);
        check_error("5\r\nhello0\r\n\r\n", ChunkedError::DataEnd);
    }

    #[test]
    fn trailers_are_checked() {
        check("0\r\nname: value\r\n\r\n", "", "");
        check("1\r\nx\r\n0\r\na:\r\nb: \u{e9}\t \r\n\r\nrest", "x", "rest");
        for input in [
            "0\r\n: value\r\n\r\n",
            "0\r\nname\r\n\r\n",
            "0\r\nname : value\r\n\r\n",
            "0\r\n folded\r\n\r\n",
            "0\r\na: b\r\n folded\r\n\r\n",
            "0\r\na: b\n\r\n",
            "0\r\na: b\0\r\n\r\n",
            "0\r\na: b\rc\r\n\r\n",
            "0\r\n\n",
            "0\r\n\rx",
        ] {
            check_error(input, ChunkedError::Trailer);
        }
    }

    /// Returns the trailers of a message under these limits.
    fn trailers(section: &str, limits: HeadLimits) -> Result<String, ChunkedError> {
        let mut decoder = Decoder::new(limits);
        let mut buf = BytesMut::from(format!("2\r\nok\r\n0\r\n{section}\r\nrest").as_bytes());
        assert_eq!(decoder.decode(&mut buf)?, Decoded::Data(Bytes::from_static(b"ok")));
        assert_eq!(decoder.take_trailers(), None);
        assert_eq!(decoder.decode(&mut buf)?, Decoded::End);
        assert_eq!(buf, "rest");
        assert_eq!(decoder.has_trailers(), !section.is_empty());
        let fields = decoder.take_trailers().unwrap_or_default();
        assert!(!decoder.has_trailers());
        let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            format!("{name}: {}|", String::from_utf8_lossy(value.as_bytes()))
        };
        Ok(fields.iter().map(line).collect())
    }

    #[test]
    fn trailers_are_kept_for_whoever_wants_them() {
        let check = |section: &str, expected: &str| {
            assert_eq!(trailers(section, HeadLimits::default()), Ok(expected.to_owned()), "{section:?}");
        };
        check("", "");
        check("Grpc-Status: 0\r\n", "grpc-status: 0|");
        check("a:\r\nb: \tx y \t\r\na:z\r\n", "a: |a: z|b: x y|");
    }

    #[test]
    fn trailers_have_the_limits_of_a_head() {
        let limits = HeadLimits { fields: 2, bytes: 12 };
        assert_eq!(trailers("a: 123\r\nb: 123\r\n", limits), Ok("a: 123|b: 123|".to_owned()));
        assert_eq!(trailers("a: 123\r\nb: 1234\r\n", limits), Err(ChunkedError::TrailersTooLong));
        assert_eq!(trailers("a: 12345678901234\r\n", limits), Err(ChunkedError::TrailersTooLong));
        assert_eq!(trailers("a:1\r\nb:1\r\nc:1\r\n", limits), Err(ChunkedError::TooManyTrailers));
    }

    proptest! {
        /// The decoded body depends neither on the chunking nor on the delivery.
        #[test]
        fn any_chunking_and_any_delivery_give_the_same_body(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 0..12),
            extension in "(;[a-z]{0,5}(=[a-z0-9]{0,5})?)?",
            trailer in "([a-z]{1,8}: [ -~]{0,20}\r\n){0,3}",
            cuts in prop::collection::vec(1_usize..40, 1..60),
        ) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:X}{extension}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(format!("0{extension}\r\n{trailer}\r\n").as_bytes());

            let mut pieces = Vec::new();
            let mut left = &wire[..];
            for cut in cuts.iter().cycle() {
                if left.is_empty() { break; }
                let (piece, rest) = left.split_at((*cut).min(left.len()));
                pieces.push(piece);
                left = rest;
            }
            prop_assert_eq!(decode_pieces(pieces), Ok((chunks.concat(), Vec::new(), true)));
        }

        /// No input causes a panic, and the result never depends on the read boundaries.
        #[test]
        fn garbage_is_judged_alike_at_any_boundary(input in prop::collection::vec(
            prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'0'), Just(b'1'), Just(b';'), Just(b' '), any::<u8>()], 0..60,
        )) {
            let _ = decode(&input);
        }
    }
}
