//! When certificates expire. Another program renews them, and nobody notices a failure of it before they have expired.

use super::error::Problem;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use std::path::PathBuf;
use x509_parser::parse_x509_certificate;

/// Certificates are warned about from this many days before they expire. Renewal tools should have replaced a
/// certificate when 30 of its 90 days are left. The warning comes when about half of those 30 days have passed, and
/// leaves enough for people.
pub const WARNED_DAYS: i64 = 14;

const DAY: i64 = 86_400;

/// A file of certificates that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The place in the configuration that names the file. Its message is empty.
    pub named: Problem,
    /// The file.
    pub path: PathBuf,
    /// When the first of its certificates expires, in seconds since 1970.
    pub ends_s: i64,
}

impl Expiry {
    /// Whether the first certificate has expired.
    pub fn is_over(&self, now_s: i64) -> bool {
        self.ends_s < now_s
    }

    /// Returns a warning if the first certificate has expired or soon will.
    pub fn warning(&self, now_s: i64) -> Option<Problem> {
        let left = self.ends_s.saturating_sub(now_s);
        if left >= WARNED_DAYS * DAY {
            return None;
        }
        let (path, then) = (self.path.display(), self.says(now_s));
        let message = format!("the certificate in {path} {then}: replace the file and reload");
        Some(Problem { message, ..self.named.clone() })
    }

    /// Describes the end of validity in words.
    pub fn says(&self, now_s: i64) -> String {
        let days = self.ends_s.saturating_sub(now_s).div_euclid(DAY);
        let on = Timestamp::from_second(self.ends_s).map(|end| end.strftime("%Y-%m-%d").to_string());
        let on = on.unwrap_or_default();
        match days {
            ..0 => format!("expired on {on}"),
            0 => format!("expires within a day, on {on}"),
            1 => format!("expires in 1 day, on {on}"),
            days => format!("expires in {days} days, on {on}"),
        }
    }
}

/// Returns when the first of these certificates expires, or `None` if that cannot be read.
pub(super) fn first_end(certificates: &[CertificateDer<'_>]) -> Option<i64> {
    let end = |certificate: &CertificateDer<'_>| {
        let (_, parsed) = parse_x509_certificate(certificate).ok()?;
        Some(parsed.validity().not_after.timestamp())
    };
    certificates.iter().filter_map(end).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    fn certificate(year: i32, month: u8, day: u8) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["www.example.com".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, month, day);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn the_first_end_counts() {
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap().as_second());
        let (early, late) = (certificate(2026, 12, 1), certificate(2060, 2, 29));
        assert_eq!(first_end(std::slice::from_ref(&early)), at("2026-12-01T00:00:00Z"));
        // Dates from 2050 on have another encoding (RFC 5280 §4.1.2.5).
        assert_eq!(first_end(std::slice::from_ref(&late)), at("2060-02-29T00:00:00Z"));
        assert_eq!(first_end(&[late, early]), at("2026-12-01T00:00:00Z"));
        assert_eq!(first_end(&[CertificateDer::from(vec![1, 2, 3])]), None);
        assert_eq!(first_end(&[]), None);
    }

    fn ending(ends_s: i64) -> Expiry {
        let named = Problem {
            file: "shim.toml".into(),
            line: 3,
            column: 8,
            key: "server.certificates[0].cert".to_owned(),
            message: String::new(),
        };
        Expiry { named, path: "/etc/cert.pem".into(), ends_s }
    }

    #[test]
    fn ends_in_words() {
        let now = "2026-11-30T12:00:00Z".parse::<Timestamp>().unwrap().as_second();
        let check = |after_s: i64, over: bool, expected: &str| {
            let expiry = ending(now + after_s);
            assert_eq!((expiry.is_over(now), expiry.says(now).as_str()), (over, expected));
        };
        check(-1, true, "expired on 2026-11-30");
        check(-3 * DAY, true, "expired on 2026-11-27");
        check(0, false, "expires within a day, on 2026-11-30");
        check(DAY, false, "expires in 1 day, on 2026-12-01");
        check(100 * DAY, false, "expires in 100 days, on 2027-03-10");
        assert_eq!(ending(now + WARNED_DAYS * DAY).warning(now), None);
        assert_eq!(
            ending(now + WARNED_DAYS * DAY - 1).warning(now).unwrap().to_string(),
            "shim.toml:3:8: server.certificates[0].cert: the certificate in /etc/cert.pem expires in 13 days, on \
             2026-12-14: replace the file and reload"
        );
    }

    proptest! {
        #[test]
        fn whatever_is_over_is_warned_of(ends_s: i64, now_s: i64) {
            let expiry = ending(ends_s);
            prop_assert!(!expiry.is_over(now_s) || expiry.warning(now_s).is_some());
            prop_assert_eq!(expiry.is_over(now_s), expiry.says(now_s).starts_with("expired"));
        }
    }
}
