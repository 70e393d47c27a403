//! The check whether Varnish's nodes let this machine purge, and prove each purge. At each node a key that no
//! response carries is marked stale, and a host that does not exist is banned.

use super::{Varnish, classify, unused};
use crate::cdn::credentials::{Answer, Answers, CredentialReport, Credentials, Draft, Question};
use crate::cdn::{Reply, RequestError, SignContext, Verdict};
use crate::config;

const ACL: &str = "Add this machine's address to `acl purgers` in the node's VCL and load it again. The purge must come \
    straight from the shim: one that a proxy forwarded is refused.";
const VCL: &str = "Load `config/varnish.vcl` of origin-shim on the node (varnishadm vcl.load, vcl.use), or include it in your \
    own VCL; the modules xkey and var come with varnish-modules.";

const OLD: &str = "Load `config/varnish.vcl` of this release on the node (varnishadm vcl.load, vcl.use), or carry its `sub shim_ban` \
    over into your own VCL; the cache keeps its content.";

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
        let mut questions = Vec::with_capacity(2 * self.api_urls.len());
        for node in &self.api_urls {
            for (name, group) in ["node", "ban"].into_iter().zip(unused(false, sign)) {
                questions.push(Question { name, request: self.purge(node, &group)? });
            }
        }
        Ok(questions)
    }

    fn report(&self, _cdn: &config::Cdn, answers: Answers<'_>) -> CredentialReport {
        let mut draft = Draft::new(&[]);
        for (node, answers) in self.api_urls.iter().zip(answers.0.chunks(2)) {
            describe_node(&mut draft, node, answers);
        }
        draft.finish()
    }
}

/// Adds the error of a node's purges, or that of its bans if the purges work.
fn describe_node(draft: &mut Draft<'_>, node: &str, answers: &[Answer]) {
    let mut replies = Vec::with_capacity(answers.len());
    for answer in answers {
        match &answer.outcome {
            Err(why) => return draft.unreachable(&format!("The node {node}"), why),
            Ok(reply) => replies.push(reply),
        }
    }
    let bad = replies.iter().position(|reply| classify(reply).verdict != Verdict::Done);
    let Some(bad) = bad else { return draft.proved(format!("The node {node} purges.")) };
    let reply = replies[bad];
    let kind = if bad == 0 { "this kind of purge" } else { "BAN" };
    match reply.status.as_u16() {
        200 if bad == 1 => draft.error(
            format!(
                "The node {node} proves its purges, but not its bans (no X-Purged), as an older copy of our VCL: purges of \
                 prefixes and of everything would not be done."
            ),
            OLD,
        ),
        200 => draft.error(
            format!("The node {node} answered 200, but not as the VCL of origin-shim does (no X-Purged)."),
            VCL,
        ),
        403 => draft
            .error(format!("The node {node} does not let this machine purge: {}", said(draft, reply)), ACL),
        400 | 404 | 405 | 501 => {
            draft.error(format!("The node {node} does not know {kind}: {}", said(draft, reply)), VCL);
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
            cdn(config::CdnSettings::Varnish(crate::config::cdns::Varnish { api_urls }))
        };
        assert_eq!(
            asked(&nodes(2), &[], false),
            ["node: PURGE /", "ban: BAN /", "node: PURGE /", "ban: BAN /"]
        );
        let good = [
            ("node", Ok(reply(200, &[("x-purged", "0")], "Purged\n"))),
            ("ban", Ok(reply(200, &[("x-purged", "ban")], "Purged\n"))),
        ];
        assert!(asked(&nodes(1), &good, true).is_empty());
        cases.case("Two good nodes", told(&nodes(2), &[good.clone(), good.clone()].concat()));
        let twice = |answer: fn() -> Result<Reply, String>| [("node", answer()), ("ban", answer())];
        let [purge, ban] = good.clone();
        let answers = [
            good,
            twice(|| said(403, "Not allowed to purge\n")),
            twice(|| said(200, "<html>")),
            [purge.clone(), ("ban", said(200, "Purged\n"))],
            [purge, ("ban", said(400, "Needs xkey-purge"))],
            twice(|| said(501, "")),
            twice(|| said(503, "Backend fetch failed")),
            [("node", silence()), ban],
        ];
        cases.case("One good node of eight", told(&nodes(8), &answers.concat()));
        cases.check();
    }
}
