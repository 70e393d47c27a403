//! An explanation as text for people.

use crate::config::Mode;
use crate::explain::Explanation;
use http::Version;
use serde::{Serialize, Serializer};
use std::fmt::{self, Display, Formatter};

/// An explanation, and the origin whose answer it explains.
#[derive(Serialize)]
pub struct Shown {
    /// The explanation.
    #[serde(flatten)]
    pub explanation: Explanation,
    /// The origin, if one was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<AskedOrigin>,
}

/// An origin that was asked.
#[derive(Serialize)]
pub struct AskedOrigin {
    /// The origin's URL.
    pub url: String,
    /// The version of HTTP of the answer.
    #[serde(serialize_with = "shown")]
    pub version: Version,
}

/// Writes a version as `HTTP/2.0`.
fn shown<S: Serializer>(version: &Version, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{version:?}"))
}

impl Display for Shown {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let of = &self.explanation;
        writeln!(f, "{} {} -> {}", of.method, of.url, of.status)?;
        if let Some(AskedOrigin { url, version }) = &self.origin {
            writeln!(f, "origin   {url} ({version:?})")?;
        }
        let mode = match of.mode {
            Mode::On => "",
            Mode::Observe => " (observe: nothing of this is applied)",
            Mode::Off => " (off: a plain proxy)",
        };
        writeln!(f, "site     {}{mode}", of.site)?;
        writeln!(f, "opt-in   {}", if of.opted_in { "yes" } else { "no" })?;
        writeln!(f, "cdn      {}", of.cdn.map_or("none", |cdn| cdn.as_str()))?;
        match &of.rule {
            Some(rule) => writeln!(f, "rule     {}: {}", rule.number, rule.path)?,
            None => writeln!(f, "rule     none")?,
        }
        writeln!(f, "outcome  {}: {} ({})", of.outcome, of.why, of.reason)?;
        writeln!(f, "tags     {}", if of.tags.is_empty() { "none".to_owned() } else { of.tags.join(", ") })?;
        writeln!(f, "headers")?;
        difference(of, f)
    }
}

/// Writes the removed, added and kept header fields.
fn difference(of: &Explanation, f: &mut Formatter<'_>) -> fmt::Result {
    for line in of.before.iter().filter(|line| !of.after.contains(line)) {
        writeln!(f, "  - {}: {}", line.0, line.1)?;
    }
    for line in of.after.iter().filter(|line| !of.before.contains(line)) {
        writeln!(f, "  + {}: {}", line.0, line.1)?;
    }
    for line in of.after.iter().filter(|line| of.before.contains(line)) {
        writeln!(f, "    {}: {}", line.0, line.1)?;
    }
    Ok(())
}
