//! The completion of an invalidation, which is accepted at once and complete later, as `GetInvalidation`
//! reports (<https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_GetInvalidation.html>).

use super::response_body::ResponseBody;
use super::{Cloudfront, Completion, Reply, RequestError, SignContext};
use crate::cdn::Progress;
use bytes::Bytes;
use http::{Method, Request};

impl Completion for Cloudfront {
    /// Returns the id, unless the answer reports completion already, as stand-ins for the API do.
    fn work(&self, reply: &Reply) -> Option<String> {
        let is_id = |id: &String| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let answer = ResponseBody::read(&reply.text());
        let is_work = reply.status.is_success() && answer.root == "Invalidation";
        answer.id.filter(is_id).filter(|_| is_work)
    }

    fn ask(&self, work: &str, sign: &SignContext) -> Result<Request<Bytes>, RequestError> {
        self.call(Method::GET, &format!("/invalidation/{work}"), String::new(), sign)
    }

    fn progress(&self, reply: &Reply) -> Progress {
        let answer = ResponseBody::read(&reply.text());
        let status = answer.status.as_deref().unwrap_or_default();
        if reply.status.is_success()
            && answer.root == "Invalidation"
            && status.eq_ignore_ascii_case("completed")
        {
            return Progress::Complete;
        }
        match answer.code.as_deref() {
            // A policy may allow `CreateInvalidation` alone.
            Some("AccessDenied" | "AccessDeniedException" | "NoSuchInvalidation" | "NoSuchDistribution") => {
                Progress::Unknown
            }
            _ => Progress::UnderWay,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cdn::tests::{reply, sign};
    use crate::config::secret::Secret;

    fn cloudfront() -> Cloudfront {
        let secret = Secret::new("secret");
        Cloudfront::new("E1", "AKIDEXAMPLE", &secret, None, "https://cloudfront.amazonaws.com", None)
    }

    const UNDER_WAY: &str = "<?xml version=\"1.0\"?>\n<Invalidation xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\">\
        <Id>I1XYZ</Id><Status>InProgress</Status><CreateTime>x</CreateTime><InvalidationBatch><Paths>";

    #[test]
    fn the_work_is_named_by_its_id() {
        let check = |status, body: &str, expected: Option<&str>| {
            assert_eq!(cloudfront().work(&reply(status, &[], body)).as_deref(), expected, "{body}");
        };
        check(201, UNDER_WAY, Some("I1XYZ"));
        check(400, UNDER_WAY, None);
        check(201, "<InvalidationList><Id>I1</Id></InvalidationList>", None);
        check(201, "<Invalidation><Id>../I1</Id></Invalidation>", None);
        check(201, "<Invalidation></Invalidation>", None);
    }

    #[test]
    fn how_far_it_is() {
        let check = |status, body: &str, expected| {
            assert_eq!(cloudfront().progress(&reply(status, &[], body)), expected, "{body}");
        };
        let code = |code: &str| format!("<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>");
        check(200, UNDER_WAY, Progress::UnderWay);
        check(200, &UNDER_WAY.replace("InProgress", "Completed"), Progress::Complete);
        check(200, &UNDER_WAY.replace("InProgress", "COMPLETED"), Progress::Complete);
        check(404, &code("NoSuchInvalidation"), Progress::Unknown);
        check(403, &code("AccessDenied"), Progress::Unknown);
        check(400, &code("Throttling"), Progress::UnderWay);
        check(403, &code("SignatureDoesNotMatch"), Progress::UnderWay);
        check(503, "", Progress::UnderWay);
        check(200, "<html>Completed</html>", Progress::UnderWay);
    }

    #[test]
    fn it_is_asked_by_its_id() {
        let request = cloudfront().ask("I1XYZ", &sign()).unwrap();
        assert_eq!(request.method(), Method::GET);
        assert!(request.uri().path().ends_with("/invalidation/I1XYZ"), "{}", request.uri());
        assert!(request.headers().contains_key("authorization"));
    }
}
