//! Secrets: `env:NAME`, `file:PATH` or `literal:TEXT`, resolved one time at load and never shown.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use subtle::ConstantTimeEq;

/// A resolved secret. It has no `Display` or `Serialize`, and its `Debug` shows nothing of the value.
#[derive(Clone, Debug)]
pub struct Secret(SecretString);

impl Secret {
    /// Wraps a resolved value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(SecretString::from(value.into()))
    }

    /// Returns the value, for the one place that sends or compares it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// Compares in a time that does not depend on where the values differ.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose().as_bytes().ct_eq(other.expose().as_bytes()).into()
    }
}

/// A function that looks up an environment variable.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A secret as the file writes it. The text may be the secret itself, or a secret that was pasted there by mistake, so
/// it is never shown.
#[derive(Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(transparent)]
pub struct SecretRef(String);

impl SecretRef {
    /// Whether the secret is written in the file itself.
    pub fn is_literal(&self) -> bool {
        self.0.starts_with("literal:")
    }

    /// Returns the file that holds the secret, if one does.
    pub fn file(&self, directory: &Path) -> Option<PathBuf> {
        self.0.strip_prefix("file:").filter(|path| !path.is_empty()).map(|path| directory.join(path))
    }

    /// Resolves the secret. A relative `file:` path is relative to `directory`.
    pub fn resolve(&self, directory: &Path, env: Env<'_>) -> Result<Secret, SecretError> {
        let (value, from) = match self.0.split_once(':') {
            Some(("env", name)) if is_variable_name(name) => {
                let value = env(name).ok_or_else(|| SecretError::Unset(name.to_owned()))?;
                (value, format!("the environment variable {name}"))
            }
            Some(("file", path)) if !path.is_empty() => {
                let path = directory.join(path);
                let value = read(&path)?;
                (value, path.display().to_string())
            }
            Some(("literal", text)) => (text.to_owned(), "the text after `literal:`".to_owned()),
            _ => return Err(SecretError::Form),
        };
        if value.is_empty() {
            return Err(SecretError::Empty(from));
        }
        // Every secret is sent in a header. The check also detects a wrong file, such as a key or a log.
        if let Some(what) = unsendable(&value) {
            return Err(SecretError::Unsendable { from, what });
        }
        Ok(Secret::new(value))
    }
}

/// Names the first character that cannot be sent in a header, and where it is, without showing the secret.
fn unsendable(value: &str) -> Option<String> {
    let (at, found) = value.char_indices().find(|(_, char)| !char.is_ascii_graphic())?;
    let what = match found {
        '\n' | '\r' => "a line break",
        ' ' => "a space",
        '\t' => "a tab",
        found if found.is_ascii() => "a control character",
        _ => "a character that is not ASCII",
    };
    let place = match at {
        0 => "at its start",
        at if at + found.len_utf8() == value.len() => "at its end",
        _ => "in it",
    };
    Some(format!("{what} {place}"))
}

/// Reads a file without one trailing line break, which editors add.
fn read(path: &Path) -> Result<String, SecretError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| SecretError::Unreadable { path: path.to_owned(), source })?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

/// Whether `name` is allowed as a variable's name. The rule is stricter than the system's, so that a token pasted
/// after `env:` is not echoed as a name.
fn is_variable_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl fmt::Debug for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretRef(..)")
    }
}

impl JsonSchema for SecretRef {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+|literal:.+)$" })
    }
}

/// Why a secret could not be resolved. No error shows the text after an invalid prefix.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The text has none of the three forms.
    #[error(
        "must be env:NAME (an environment variable), file:PATH (the content of a file) or literal:TEXT (the secret itself)"
    )]
    Form,
    /// The variable is not set.
    #[error("the environment variable {0} is not set")]
    Unset(String),
    /// The file cannot be read, or is not text.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The path of the file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// The secret is empty.
    #[error("{0} is empty")]
    Empty(String),
    /// The secret cannot be sent in a header.
    #[error("{from} has {what}; a secret is sent in a header, and so must be printable ASCII without spaces")]
    Unsendable {
        /// Where the secret comes from.
        from: String,
        /// The kind of character, and where it is.
        what: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANARY: &str = "canary-5f1d";

    fn env(name: &str) -> Option<String> {
        match name {
            "TOKEN" => Some("from-env".to_owned()),
            "EMPTY" => Some(String::new()),
            "LINES" => Some(format!("{CANARY}\nb")),
            _ => None,
        }
    }

    fn resolve(directory: &Path, text: &str) -> Result<String, String> {
        SecretRef(text.to_owned())
            .resolve(directory, &env)
            .map(|secret| secret.expose().to_owned())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn three_forms_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| std::fs::write(directory.path().join(name), content).unwrap();
        write("unix", "from-file\n");
        write("windows", "from-file\r\n");
        write("bare", "from-file");
        write("two", "from-file\n\n");
        write("empty", "\n");
        let check = |text: &str, expected: Result<&str, &str>| {
            let expected = expected
                .map(str::to_owned)
                .map_err(|error| error.replace("DIR", &directory.path().display().to_string()));
            assert_eq!(resolve(directory.path(), text), expected, "{text}");
        };
        check("env:TOKEN", Ok("from-env"));
        check("file:unix", Ok("from-file"));
        check("file:windows", Ok("from-file"));
        check("file:bare", Ok("from-file"));
        check("literal:a:b", Ok("a:b"));
        check("env:NOWHERE", Err("the environment variable NOWHERE is not set"));
        check("env:EMPTY", Err("the environment variable EMPTY is empty"));
        check("file:empty", Err("DIR/empty is empty"));
        check("file:none", Err("cannot read DIR/none"));
        check("literal:", Err("the text after `literal:` is empty"));
        let why = "a secret is sent in a header, and so must be printable ASCII without spaces";
        check("literal:two words", Err(&format!("the text after `literal:` has a space in it; {why}")));
        check(
            "literal:\u{e4}b",
            Err(&format!("the text after `literal:` has a character that is not ASCII at its start; {why}")),
        );
        check("file:two", Err(&format!("DIR/two has a line break at its end; {why}")));
        let forms = SecretError::Form.to_string();
        for wrong in
            ["", "plain", "env:", "file:", "env:not-a-name", "env:1", "ENV:TOKEN", "vault:x", " env:TOKEN"]
        {
            check(wrong, Err(&forms));
        }
    }

    #[test]
    fn nothing_shows_a_secret() {
        let shown = |text: &str| {
            let reference = SecretRef(text.to_owned());
            let result = reference.resolve(Path::new("/nowhere"), &env);
            format!(
                "{reference:?} {result:?} {}",
                result.as_ref().err().map(ToString::to_string).unwrap_or_default()
            )
        };
        for text in [CANARY, "env:canary-5f1d", "literal:canary-5f1d", "literal:canary-5f1d x", "env:LINES"] {
            assert!(!shown(text).contains(CANARY), "{text}: {}", shown(text));
        }
    }
}
