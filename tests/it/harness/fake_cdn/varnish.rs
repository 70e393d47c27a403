//! One Varnish node with the VCL that the project ships (`config/varnish.vcl`), limited to purging. The tests with the
//! real Varnish check the VCL itself. This node refuses purges when a test requests it.

use super::{Answer, Kind, Now, Purged, Vendor, header, host};
use bytes::Bytes;
use http::Request;

/// A Varnish node.
#[derive(Debug)]
pub struct Node {
    /// Whether the shim's address is in the node's ACL.
    pub allowed: bool,
    /// Whether the node runs the VCL that we ship. Another VCL passes a `PURGE` to the origin.
    pub knows_purge: bool,
}

impl Default for Node {
    fn default() -> Self {
        Self { allowed: true, knows_purge: true }
    }
}

impl Vendor for Node {
    fn settings(&self, url: &str) -> String {
        format!("type = \"varnish\"\napi_urls = [\"{url}\"]\n")
    }

    fn answer(&mut self, call: &Request<Bytes>, _: Now) -> Answer {
        if !self.knows_purge {
            return Answer::new(200, "<html>Welcome</html>");
        }
        if !self.allowed {
            return Answer::new(403, "Not allowed to purge\n");
        }
        let (target, prefix) = (call.uri().path_and_query().unwrap().as_str(), header(call, "x-ban-prefix"));
        let (hard, soft) = (header(call, "xkey-purge"), header(call, "xkey-softpurge"));
        let purged = match (call.method().as_str(), header(call, "x-purge-mode")) {
            ("BAN", _) if header(call, "x-ban-everything") == "1" => {
                Purged::all(Kind::Everything, true, ["*"])
            }
            ("BAN", _) if prefix.starts_with('/') => {
                let name = header(call, "x-ban-host").to_owned() + &prefix.replace('\\', "");
                Purged::all(Kind::Prefix, true, [name])
            }
            ("PURGE", _) if !hard.is_empty() => Purged::all(Kind::Tag, true, hard.split(' ')),
            ("PURGE", _) if !soft.is_empty() => Purged::all(Kind::Tag, false, soft.split(' ')),
            ("PURGE", mode @ ("hard" | "soft")) => {
                Purged::all(Kind::Url, mode == "hard", [format!("{}{target}", host(call))])
            }
            _ => return Answer::new(400, "Needs xkey-purge, xkey-softpurge or x-purge-mode\n"),
        };
        let answer = Answer::new(200, "Purged\n").with("x-varnish", 32770);
        match call.method().as_str() {
            "PURGE" => answer.with("x-purged", purged.len()).purging(purged),
            _ => answer.with("x-purged", "ban").purging(purged),
        }
    }

    fn too_many(&mut self) -> Answer {
        Answer::new(429, "")
    }
}
