//! The response fields that rewriting needs, found in one pass over the lines. A lookup for each of them would
//! cost more than everything else, because most responses have few.

use super::Dialect;
use super::field::Field;
use crate::http::head::{Headers, Value};

/// The fields of one response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'h, 'd> {
    headers: &'h Headers,
    dialect: &'d Dialect,
    first: [Option<Value<'h>>; Field::COUNT],
    /// Bits of the fields that are present.
    there: u32,
    /// Bits of the fields that have more than one line.
    repeated: u32,
    /// The field that the dialect's `ttl_header` is.
    pub(super) own_ttl: Field,
}

impl<'h, 'd> Fields<'h, 'd> {
    pub(super) fn of(headers: &'h Headers, dialect: &'d Dialect) -> Self {
        let own_ttl = Field::named(dialect.ttl_header.as_str()).unwrap_or(Field::OwnTtl);
        let others = own_ttl == Field::OwnTtl;
        let first = [None; Field::COUNT];
        let mut found = Self { headers, dialect, first, there: 0, repeated: 0, own_ttl };
        let names = if others { u64::MAX } else { Field::NAMES };
        for line in headers.among(names) {
            let value = line.value();
            match Field::of(line.known()) {
                Some(field) => found.note(field, value),
                None if !others => {}
                None if line.is_named(dialect.ttl_header.as_str()) => found.note(Field::OwnTtl, value),
                None => {}
            }
        }
        found
    }

    /// The dialect of the CDN that sent the request.
    pub(super) fn dialect(&self) -> &'d Dialect {
        self.dialect
    }

    /// All of the response's headers.
    pub(super) fn headers(&self) -> &'h Headers {
        self.headers
    }

    fn note(&mut self, field: Field, value: Value<'h>) {
        if self.has(field) {
            self.repeated |= field.bit();
        } else {
            self.there |= field.bit();
            self.first[field as usize] = Some(value);
        }
    }

    /// Whether the field is present.
    pub(super) fn has(&self, field: Field) -> bool {
        self.there & field.bit() != 0
    }

    /// The first line of the field.
    pub(super) fn first(&self, field: Field) -> Option<Value<'h>> {
        self.first[field as usize]
    }

    /// Every line of the field.
    pub(super) fn lines(&self, field: Field) -> impl Iterator<Item = Value<'h>> + use<'h, 'd> {
        let repeated = self.repeated & field.bit() != 0;
        let more = repeated.then(|| self.headers.get_all(field.name(self.dialect)).skip(1));
        self.first(field).into_iter().chain(more.into_iter().flatten())
    }

    /// Iterates over those of `fields` that are present.
    pub(super) fn among(&self, fields: &'static [Field]) -> impl Iterator<Item = Field> + use<> {
        let there = self.there;
        fields.iter().copied().filter(move |field| there & field.bit() != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rewrite::CdnType;
    use http::header::CACHE_CONTROL;
    use http::{HeaderName, HeaderValue};

    fn cloudfront() -> Dialect {
        Dialect::new(CdnType::Cloudfront, None, Some(HeaderName::from_static("x-tags")))
    }

    #[test]
    fn every_field_is_found_by_its_name() {
        let dialect = cloudfront();
        // The field that the dialect lacks has the name of another one.
        assert_eq!(Field::all().count(), Field::COUNT);
        for field in Field::all().filter(|field| *field != Field::OwnTtl) {
            let name = field.name(&dialect);
            let headers = Headers::from_iter([
                (HeaderName::from_static("x-other"), HeaderValue::from_static("x")),
                (name.clone(), HeaderValue::from_static("1")),
            ]);
            let found = Fields::of(&headers, &dialect);
            assert_eq!(found.first.iter().flatten().count(), 1, "{name}");
            assert!(found.lines(field).eq(["1"]), "{name}");
        }
    }

    #[test]
    fn a_dialects_own_field_is_found_whatever_its_name() {
        let check = |name: &'static str, own: Field| {
            let name = HeaderName::from_static(name);
            let dialect = Dialect::new(CdnType::Fastly, Some(name.clone()), None);
            let headers = Headers::from_iter([(name.clone(), HeaderValue::from_static("x"))]);
            let found = Fields::of(&headers, &dialect);
            assert_eq!(found.own_ttl, own);
            assert!(found.has(own));
            assert_eq!(own.name(&dialect), name);
        };
        check("surrogate-control", Field::SurrogateControl);
        check("cache-control", Field::CacheControl);
        check("x-ttl", Field::OwnTtl);
    }

    #[test]
    fn repeated_fields_have_all_their_lines() {
        let mut headers = Headers::new();
        for line in ["1", "2", "3"] {
            headers.append(&CACHE_CONTROL, &HeaderValue::from_static(line));
        }
        let dialect = cloudfront();
        let found = Fields::of(&headers, &dialect);
        assert!(found.lines(Field::CacheControl).eq(["1", "2", "3"]));
        assert_eq!(found.first(Field::CacheControl).unwrap(), "1");
        assert_eq!(found.lines(Field::Vary).count(), 0);
        assert!(found.among(&Field::TARGETED).next().is_none());
    }
}
