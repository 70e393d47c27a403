//! The tag field of a response: tags from the site, its rules and the origin, in the dialect of the CDN that sent
//! the request.

use super::edits::Edits;
use super::fields::Fields;
use super::outcome::Reason;
use super::tag_field::TagLines;
use super::tag_list::TagList;
use super::tags::{path_tag_bytes, section_tag_bytes, sections};
use super::{Dialect, Keys, Policy, Rule, never};
use http::StatusCode;

/// Replaces the tag fields of a response by the one of the dialect. `paths` are the response's path and its canonical
/// form. An error means that not all tags fit (then the field has those that do, the most important ones first), or
/// that no purge can name one of them. A CDN without tags gets no field, but `keys` always gets the tags. A response
/// that only confirms a page that the shim did not see gets no tags, and its keys are marked as incomplete, so that
/// every purge covers it.
pub(super) fn write<'d>(
    policy: &'d Policy,
    rule: Option<&Rule>,
    (paths, status): ([&str; 2], StatusCode),
    fields: &Fields<'_, 'd>,
    (edits, keys): (&mut Edits<'d>, &mut Keys),
) -> Result<(), Reason> {
    let lines = policy.tags.fields.lines(fields.headers(), fields.dialect().tag_list());
    lines.iter().for_each(|line| edits.remove(line.field));
    if never::is_unseen(policy, status, fields) {
        keys.lack_some();
        return Ok(());
    }
    let response = Response { policy, rule, paths, status, dialect: fields.dialect(), lines: &lines };
    match fields.dialect().tag_field() {
        Some(own) => edits.set_list(own, |line| response.list(line, keys)),
        None => {
            // Without a field, nothing has to fit.
            let _ = response.list(&mut Vec::new(), keys);
            Ok(())
        }
    }
}

/// A response whose tags are listed.
struct Response<'r, 'f, 'h> {
    policy: &'r Policy,
    rule: Option<&'r Rule>,
    paths: [&'r str; 2],
    status: StatusCode,
    dialect: &'r Dialect,
    /// The lines in which the origin lists tags.
    lines: &'r TagLines<'f, 'h>,
}

impl Response<'_, '_, '_> {
    /// Appends the list of tags to `line`, and adds them to `keys`. An error is that of [`write`].
    fn list(&self, line: &mut Vec<u8>, keys: &mut Keys) -> Result<(), Reason> {
        let mut list = TagList::new(self.dialect, &self.policy.tags, line);
        let fits = self
            .list_ours(&mut list)
            .and_then(|()| self.list_those_of_the_origin(&mut list))
            .and_then(|()| self.list_aem_keys(&mut list));
        list.keys().for_each(|key| keys.add(key));
        if fits.is_err() {
            keys.lack_some();
        }
        // A tag that fits but cannot be named does not keep the others from being sent.
        fits.and(if list.is_nameable() { Ok(()) } else { Err(Reason::TagsUnnameable) })
    }

    /// Adds the tags of the site and of the rule, the most important ones first.
    fn list_ours(&self, list: &mut TagList<'_>) -> Result<(), Reason> {
        let (policy, [path, canonical]) = (self.policy, self.paths);
        if policy.tags.site {
            list.add_own(&[b"site-", policy.site.as_bytes()])?;
        }
        // A purge may spell the page differently, so it names the tag of the canonical form. Few paths differ from
        // theirs.
        let others = if path == canonical { &[][..] } else { &[canonical][..] };
        for path in std::iter::once(path).chain(others.iter().copied()) {
            if policy.tags.path {
                list.add_own(&[&path_tag_bytes(&policy.site, path)])?;
            }
            for section in sections(path, policy.tags.sections) {
                list.add_own(&[&section_tag_bytes(&policy.site, section)])?;
            }
        }
        for tag in self.rule.map_or(&[][..], |rule| &rule.tags) {
            list.push(tag.as_bytes())?;
        }
        Ok(())
    }

    /// Adds every tag that the origin sent.
    fn list_those_of_the_origin(&self, list: &mut TagList<'_>) -> Result<(), Reason> {
        let mut read = self.lines.iter().filter_map(|line| Some((line.value, line.separator?)));
        read.try_for_each(|(line, separator)| list.push_line(line.as_bytes(), separator))
    }

    /// Adds the keys by which AEM's publish events purge, as AEM would send them.
    fn list_aem_keys(&self, list: &mut TagList<'_>) -> Result<(), Reason> {
        let project = self.policy.aem.as_ref().filter(|aem| aem.computes_keys(list.has_origin_tags()));
        let Some(project) = project else { return Ok(()) };
        let keys = project.response_keys(self.paths[0], self.status);
        keys.iter().try_for_each(|key| list.push(key.as_bytes()))
    }
}
