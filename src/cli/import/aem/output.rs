//! What an import returns.

/// A configuration, and instructions for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The text of the configuration file.
    pub toml: String,
    /// The environment variables that the file names, each with a description of its value, but without the
    /// value itself.
    pub variables: Vec<Variable>,
    /// Notes on settings without an equivalent, and on settings to check.
    pub notes: Vec<String>,
}

/// An environment variable that holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The variable's name.
    pub name: &'static str,
    /// The value that the variable must hold: a key of AEM's file, or a description.
    pub holds: String,
}
