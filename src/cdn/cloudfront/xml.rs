//! Texts of an XML document, found by the names of their elements.

use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::Event;

/// Returns the text of every element whose name and parents' names end in `path`. `None` if the document is cut
/// off or is not XML, because a missing element may then be missing from our copy only.
pub fn texts(document: &str, path: &[&str]) -> Option<Vec<String>> {
    let mut reader = Reader::from_str(document);
    let mut open: Vec<String> = Vec::new();
    let mut texts = Vec::new();
    let mut is_begun = false;
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => {
                is_begun = true;
                open.push(start.local_name().as_ref().to_owned());
                if open.ends_with_names(path) {
                    let raw = reader.read_text(start.name()).ok()?.into_inner();
                    texts.push(unescape(&raw).ok()?.into_owned());
                    open.pop();
                }
            }
            Event::End(_) => {
                open.pop();
            }
            Event::Eof => return (is_begun && open.is_empty()).then_some(texts),
            _ => {}
        }
    }
}

trait EndsWithNames {
    fn ends_with_names(&self, names: &[&str]) -> bool;
}

impl EndsWithNames for Vec<String> {
    fn ends_with_names(&self, names: &[&str]) -> bool {
        self.len() >= names.len() && self[self.len() - names.len()..].iter().eq(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_path_leads_to() {
        let check = |document: &str, path: &[&str], expected: Option<&[&str]>| {
            let texts = texts(document, path);
            let texts: Option<Vec<&str>> =
                texts.as_ref().map(|texts| texts.iter().map(String::as_str).collect());
            assert_eq!(texts.as_deref(), expected, "{document}");
        };
        let document = "<?xml version=\"1.0\"?>\n<a xmlns=\"urn:x\"><b><c>1</c></b><d><c>2 &amp; 3</c><c/></d><c>4</c></a>";
        check(document, &["b", "c"], Some(&["1"]));
        check(document, &["d", "c"], Some(&["2 & 3"]));
        check(document, &["a", "c"], Some(&["4"]));
        check(document, &["e"], Some(&[]));
        check(&document[..document.len() - 5], &["b", "c"], None);
        check("<html><br></html>", &["b"], None);
        check("", &["b"], None);
        check("no XML", &["b"], None);
    }
}
