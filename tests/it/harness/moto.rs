//! moto's server as CloudFront, STS and IAM: an implementation of AWS by others. It verifies signatures and policies
//! (<https://docs.getmoto.org/en/latest/docs/iam.html>). `fake_cdn/cloudfront.rs` does what it does not.

use super::free_address;
use super::http::{Answer, Request};
use super::process::Process;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// A running moto with one distribution, whose tag header is `Cache-Tag`.
pub struct Moto {
    /// The distribution.
    pub distribution_id: String,
    address: SocketAddr,
    _process: Process,
    _dir: TempDir,
}

/// An access key.
pub struct Key {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

/// moto 5.2.5 takes the headers of a call without query and body for its body, and then no signature of a GET is
/// right.
const SERVER: &str = "
import moto.iam.access_control as access
verified = access.IAMRequestBase._create_aws_request
def without_headers_as_body(self):
    if self._method == 'GET':
        self._data = ''
    return verified(self)
access.IAMRequestBase._create_aws_request = without_headers_as_body
from moto.server import main
main()
";

const DISTRIBUTION: &str = "<DistributionConfig xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\">\
    <CallerReference>test</CallerReference><Aliases><Quantity>1</Quantity><Items><CNAME>www.example.test</CNAME></Items>\
    </Aliases><Origins><Quantity>1</Quantity><Items><Origin><Id>shim</Id><DomainName>shim.example.test</DomainName>\
    <CustomOriginConfig><HTTPPort>80</HTTPPort><HTTPSPort>443</HTTPSPort><OriginProtocolPolicy>http-only\
    </OriginProtocolPolicy></CustomOriginConfig></Origin></Items></Origins><DefaultCacheBehavior><TargetOriginId>shim\
    </TargetOriginId><ViewerProtocolPolicy>allow-all</ViewerProtocolPolicy></DefaultCacheBehavior><Comment>www</Comment>\
    <Enabled>true</Enabled><CacheTagConfig><HeaderName>Cache-Tag</HeaderName></CacheTagConfig></DistributionConfig>";

impl Moto {
    /// Starts it, where `tests/run` has installed it. Nothing is verified before [`Moto::guard`].
    pub fn start() -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/moto/bin/python");
        for _ in 0..5 {
            let (dir, address) = (TempDir::new().unwrap(), free_address());
            let mut command = Command::new(&program);
            command.args(["-c", SERVER, "-H", "127.0.0.1", "-p", &address.port().to_string()]);
            let mut process = Process::start("moto_server", command, dir.path());
            let is_ready =
                || Request::get("/moto-api/").try_send(address).is_ok_and(|answer| answer.status == 200);
            match process.wait_until(is_ready) {
                Ok(()) => {
                    let mut moto =
                        Self { distribution_id: String::new(), address, _process: process, _dir: dir };
                    let made = moto.call("cloudfront", "POST", "/2020-05-31/distribution", DISTRIBUTION);
                    moto.distribution_id = element(made.text(), "Id");
                    return moto;
                }
                // A stranger took the port in between.
                Err(output) => assert!(output.contains("in use"), "{output}"),
            }
        }
        panic!("no port for moto");
    }

    /// A new user's key, whose policy allows these actions of CloudFront.
    pub fn key(&self, user: &str, actions: &[&str]) -> Key {
        let actions: Vec<String> = actions.iter().map(|action| format!("\"cloudfront:{action}\"")).collect();
        let policy = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":[{}],"Resource":"*"}}]}}"#,
            actions.join(",")
        );
        let iam =
            |form: &str| self.call("iam", "POST", "/", &format!("{form}&UserName={user}&Version=2010-05-08"));
        iam("Action=CreateUser");
        let policy: String = url::form_urlencoded::byte_serialize(policy.as_bytes()).collect();
        iam(&format!("Action=PutUserPolicy&PolicyName=purging&PolicyDocument={policy}"));
        let made = iam("Action=CreateAccessKey");
        Key { id: element(made.text(), "AccessKeyId"), secret: element(made.text(), "SecretAccessKey") }
    }

    /// From now on every call is verified.
    pub fn guard(&self) {
        self.allow("0");
    }

    /// The lines of a `[[sites.cdns]]` table.
    pub fn settings(&self, key: &Key) -> String {
        format!(
            "type = \"cloudfront\"\ndistribution_id = \"{}\"\naccess_key_id = \"{}\"\n\
             secret_access_key = \"literal:{}\"\ntag_header = \"Cache-Tag\"\napi_url = \"http://{}\"\n",
            self.distribution_id, key.id, key.secret, self.address
        )
    }

    /// The paths of every invalidation, in the order of time. Nothing is verified afterwards.
    pub fn invalidated(&self) -> Vec<Vec<String>> {
        self.allow("1000000");
        let path = format!("/2020-05-31/distribution/{}/invalidation", self.distribution_id);
        let list = self.call("cloudfront", "GET", &path, "");
        let paths = |id: String| {
            let invalidation = self.call("cloudfront", "GET", &format!("{path}/{id}"), "");
            elements(invalidation.text(), "Path")
        };
        elements(list.text(), "Id").into_iter().map(paths).collect()
    }

    fn allow(&self, unverified_calls: &str) {
        let answer = self.call("moto", "POST", "/moto-api/reset-auth", unverified_calls);
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    fn call(&self, service: &str, method: &str, target: &str, body: &str) -> Answer {
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
        );
        let content_type = match service {
            "iam" => "application/x-www-form-urlencoded",
            "cloudfront" => "application/xml",
            _ => "text/plain",
        };
        let headers = [("authorization", authorization.as_str()), ("content-type", content_type)];
        let request = Request { host: "127.0.0.1", body: body.as_bytes(), ..Request::get(target) };
        let answer = request.method(method).headers(&headers).send(self.address);
        assert!((200..300).contains(&answer.status), "{method} {target}: {}", answer.text());
        answer
    }
}

fn element(document: &str, name: &str) -> String {
    elements(document, name).into_iter().next().unwrap_or_else(|| panic!("no {name} in {document}"))
}

fn elements(document: &str, name: &str) -> Vec<String> {
    let (start, end) = (format!("<{name}>"), format!("</{name}>"));
    let texts = document.split(&start).skip(1).filter_map(|rest| rest.split_once(&end));
    texts.map(|(text, _)| text.to_owned()).collect()
}
