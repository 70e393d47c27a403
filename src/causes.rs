//! An error in one line.

use std::error::Error;

/// An error and all its causes, with a colon between them.
pub fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| <dyn Error>::source(*cause));
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Error as Innermost;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Outer(&'static str, #[source] Box<dyn Error>);

    #[test]
    fn every_cause_is_told() {
        let innermost: Box<dyn Error> = Box::new(Innermost);
        let text = innermost.to_string();
        assert_eq!(with_causes(&*innermost), text);
        let error = Outer("a", Box::new(Outer("b", innermost)));
        assert_eq!(with_causes(&error), format!("a: b: {text}"));
    }
}
