//! Whether Varnish's nodes let this machine purge: a key that nothing carries is marked stale at each of them.

use super::{Varnish, classify_node};
use crate::cdn::credentials::{Answers, CredentialReport, Credentials, Draft, Question};
use crate::cdn::pack::Group;
use crate::cdn::{ItemKind, Reply, RequestError, SignContext, Verdict};
use crate::config;

const ACL: &str = "Add this machine's address to `acl purgers` in the node's VCL and load it again. The purge must come \
    straight from the shim: one that a proxy forwarded is refused.";
const VCL: &str = "Load `config/varnish.vcl` of origin-shim on the node (varnishadm vcl.load, vcl.use), or include it in your \
    own VCL; the modules xkey and var come with varnish-modules.";

impl Credentials for Varnish {
    fn questions(
        &self,
        so_far: Answers<'_>,
        _probe: bool,
        sign: &SignContext,
    ) -> Result<Vec<Question>, RequestError> {
        if !so_far.0.is_empty() {
            return Ok(Vec::new());
        }
        let names = vec![format!("origin-shim-check-{}", sign.nonce)];
        let group = Group { kind: ItemKind::Tag, hard: false, names, bytes: 0 };
        let question = |node: &String| Ok(Question { name: "node", request: self.purge(node, &group)? });
        self.api_urls.iter().map(question).collect()
    }

    fn report(&self, _cdn: &config::Cdn, answers: Answers<'_>) -> CredentialReport {
        let mut draft = Draft::new(&[]);
        for (node, answer) in self.api_urls.iter().zip(answers.0) {
            match &answer.outcome {
                Err(why) => draft.unreachable(&format!("The node {node}"), why),
                Ok(reply) => describe_node(&mut draft, node, reply),
            }
        }
        draft.finish()
    }
}

fn describe_node(draft: &mut Draft<'_>, node: &str, reply: &Reply) {
    let status = reply.status.as_u16();
    match (classify_node(reply).verdict, status) {
        (Verdict::Done, _) => draft.proved(format!("The node {node} purges.")),
        (_, 200) => draft.error(
            format!("The node {node} answered 200, but not as the VCL of origin-shim does (no X-Purged)."),
            VCL,
        ),
        (_, 403) => draft
            .error(format!("The node {node} does not let this machine purge: {}", said(draft, reply)), ACL),
        (_, 400 | 404 | 405 | 501) => {
            draft.error(
                format!("The node {node} does not know this kind of purge: {}", said(draft, reply)),
                VCL,
            );
        }
        _ => draft.unforeseen(&format!("The node {node}"), &said(draft, reply)),
    }
}

fn said(draft: &Draft<'_>, reply: &Reply) -> String {
    draft.said(reply, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cdn::credentials::testing::{Cases, asked, cdn, said, silence, told};
    use crate::cdn::tests::reply;

    #[test]
    fn every_node_is_named() {
        let mut cases = Cases::new("varnish_every_node_is_named");
        let nodes = |count: usize| {
            let api_urls = (1..=count).map(|node| format!("http://10.0.0.{node}")).collect();
            cdn(config::CdnSettings::Varnish { api_urls })
        };
        assert_eq!(asked(&nodes(2), &[], false), ["node: PURGE /", "node: PURGE /"]);
        let good = ("node", Ok(reply(200, &[("x-purged", "0")], "Purged\n")));
        assert!(asked(&nodes(1), std::slice::from_ref(&good), true).is_empty());
        cases.case("Two good nodes", told(&nodes(2), &[good.clone(), good.clone()]));
        let answers = [
            good,
            ("node", said(403, "Not allowed to purge\n")),
            ("node", said(200, "<html>")),
            ("node", said(501, "")),
            ("node", said(503, "Backend fetch failed")),
            ("node", silence()),
        ];
        cases.case("One good node of six", told(&nodes(6), &answers));
        cases.check();
    }
}
