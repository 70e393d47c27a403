//! The meaning of CloudFront's answers. They are classified by their `Code`, because throttling has status 400.

use super::{Reply, Verdict};
use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::Event;

/// The relevant parts of an answer: `<Invalidation>`, `<InvalidationList>`, `<ErrorResponse><Error>`, or
/// `<Errors><Error>`, which other implementations of the API write.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ResponseBody {
    pub(super) root: String,
    pub(super) id: Option<String>,
    pub(super) status: Option<String>,
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
    pub(super) request_id: Option<String>,
}

impl ResponseBody {
    /// Parses the answer as far as it is XML. An accepted call echoes its paths, which may exceed the part of
    /// the body that is kept.
    pub(super) fn read(text: &str) -> Self {
        let mut answer = Self::default();
        let mut reader = Reader::from_str(text);
        while let Ok(event) = reader.read_event() {
            let start = match event {
                Event::Start(start) => start,
                Event::Eof => break,
                _ => continue,
            };
            if answer.root.is_empty() {
                answer.root = start.local_name().as_ref().to_owned();
            }
            let field = match start.local_name().as_ref() {
                "Id" => &mut answer.id,
                "Status" => &mut answer.status,
                "Code" => &mut answer.code,
                "Message" => &mut answer.message,
                "RequestId" | "RequestID" => &mut answer.request_id,
                _ => continue,
            };
            let Ok(raw) = reader.read_text(start.name()) else { break };
            let raw = raw.into_inner();
            // The first element of each name is the outermost one.
            field.get_or_insert_with(|| {
                unescape(&raw).map_or_else(|_| raw.to_string(), |text| text.into_owned())
            });
        }
        answer
    }

    pub(super) fn words(&self) -> String {
        [&self.code, &self.message].into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(": ")
    }

    pub(super) fn verdict(&self, reply: &Reply) -> Verdict {
        let Some(code) = self.code.as_deref() else { return reply.verdict_of_status() };
        let message = self.message.as_deref().unwrap_or_default();
        match code {
            _ if is_throttling(code, message) => Verdict::Later(reply.retry_after()),
            "RequestExpired" | "RequestTimeTooSkewed" => Verdict::Resign,
            "SignatureDoesNotMatch"
                if message.starts_with("Signature expired")
                    || message.starts_with("Signature not yet current") =>
            {
                Verdict::Resign
            }
            "AccessDenied"
            | "AccessDeniedException"
            | "AuthFailure"
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "IncompleteSignature"
            | "InvalidAccessKeyId"
            | "InvalidClientTokenId"
            | "MissingAuthenticationToken"
            | "NotAuthorized"
            | "OptInRequired"
            | "SignatureDoesNotMatch"
            | "UnauthorizedOperation"
            | "UnrecognizedClientException" => Verdict::BadCredentials,
            // One path is illegal, there are too many, or the reference was used for other paths: halves get
            // new references.
            "InvalidArgument" | "BatchTooLarge" | "InvalidationBatchAlreadyExists" => Verdict::Split,
            "InconsistentQuantities"
            | "MissingBody"
            | "MalformedXML"
            | "MalformedInput"
            | "NoSuchDistribution" => Verdict::Refused,
            _ => reply.verdict_of_status(),
        }
    }
}

/// Whether an error is throttling. `Throttling` and `TooManyInvalidationsInProgress` come with status 400; more
/// names are in use across AWS.
fn is_throttling(code: &str, message: &str) -> bool {
    const CODES: [&str; 5] = [
        "PriorRequestNotComplete",
        "RequestLimitExceeded",
        "RequestThrottled",
        "ServiceUnavailable",
        "SlowDown",
    ];
    CODES.contains(&code)
        || code.contains("Throttl")
        || code.starts_with("TooMany")
        || message.starts_with("Rate exceeded")
}
