//! The figures as lines of text. Pure.

use super::figures::{Cdn, Figures, Now};
use crate::terminal::line;

/// Whether colours are used, besides words that say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Only text.
    Plain,
    /// With the colours of the terminal (ECMA-48, SGR).
    Coloured,
}

impl Style {
    fn with(self, code: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Coloured => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }

    fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    fn bad(self, text: &str) -> String {
        self.with("1;31", text)
    }

    fn strong(self, text: &str) -> String {
        self.with("1", text)
    }
}

/// Returns the lines about all sites. Foreign text in them obeys no terminal.
pub fn lines(sites: &[Figures], style: Style) -> Vec<String> {
    if sites.is_empty() {
        return vec!["This token may see no site.".to_owned()];
    }
    let mut lines = Vec::new();
    for site in sites {
        let mode = if site.mode == "on" { String::new() } else { format!("   mode {}", line(&site.mode)) };
        lines.push(format!("{}{mode}", style.strong(&line(&site.site))));
        match &site.now {
            Some(now) => lines.extend(now_lines(now, style)),
            None => lines.push("  requests  not known".to_owned()),
        }
        if site.cdns.is_empty() {
            lines.push("  no CDN is configured: this site is a plain proxy".to_owned());
        }
        let width = site.cdns.iter().map(|cdn| line(&cdn.name).chars().count()).max().unwrap_or_default();
        lines.extend(site.cdns.iter().flat_map(|cdn| cdn_lines(cdn, width.max(8), style)));
        lines.push(String::new());
    }
    lines.pop();
    lines
}

fn now_lines(now: &Now, style: Style) -> [String; 3] {
    let share = now.lengthened_share.map_or("–".to_owned(), |share| format!("{:.0} %", share * 100.0));
    let split = &now.by_decision;
    let decisions = [
        (split.lengthened, "long lifetime"),
        (split.untouched, "the origin's own"),
        (split.fallback, "short lifetime"),
        (split.guarded, "a moment, after a purge"),
    ];
    let parts: Vec<String> = decisions
        .iter()
        .filter(|(rate, _)| *rate > 0.0)
        .map(|(rate, name)| format!("{rate:.1} {name}"))
        .collect();
    let parts = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
    let verified = now
        .lag_to_verified_ms
        .map(|ms| format!(", seen to be fresh after {}", took(Some(ms))))
        .unwrap_or_default();
    let failed = match now.purges_failed {
        0 => "none failed".to_owned(),
        failed => style.bad(&format!("{failed} failed")),
    };
    [
        format!("  requests  {:.1} a second{parts}", now.requests_per_second),
        format!(
            "  lengthened {share}   origin p50 {}, p99 {}",
            took(now.origin_p50_ms),
            took(now.origin_p99_ms)
        ),
        format!(
            "  purges    {} in the last hour, {failed}   to the CDN {}{verified}",
            now.purges,
            took(now.lag_to_accepted_ms)
        ),
    ]
}

fn cdn_lines(cdn: &Cdn, width: usize, style: Style) -> Vec<String> {
    let health = if cdn.healthy { style.good("healthy") } else { style.bad("UNHEALTHY") };
    let waiting = match (cdn.pending, cdn.oldest_pending_seconds) {
        (None, _) => "items waiting: not known".to_owned(),
        (Some(pending), Some(oldest)) if pending > 0 => {
            format!("{pending} waiting, the oldest for {oldest} s")
        }
        (Some(pending), _) => format!("{pending} waiting"),
    };
    let paused = if cdn.paused == Some(true) { format!("   {}", style.bad("paused")) } else { String::new() };
    let mut lines = vec![format!("  {:<width$}  {health}   {waiting}{paused}", line(&cdn.name))];
    lines.extend(cdn.reasons.iter().map(|reason| format!("    {}", line(reason))));
    lines
}

fn took(ms: Option<f64>) -> String {
    match ms {
        None => "–".to_owned(),
        Some(ms) if ms < 10.0 => format!("{ms:.1} ms"),
        Some(ms) if ms < 1_000.0 => format!("{ms:.0} ms"),
        Some(ms) => format!("{:.1} s", ms / 1_000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::{Site, tests::history};
    use super::*;

    fn site(name: &str, mode: &str, cdns: Vec<Cdn>) -> Site {
        Site { name: name.to_owned(), mode: mode.to_owned(), cdns }
    }

    fn sites() -> Vec<Figures> {
        let cdn = Cdn {
            name: "fastly".to_owned(),
            healthy: true,
            reasons: Vec::new(),
            pending: Some(0),
            oldest_pending_seconds: None,
            paused: Some(false),
        };
        let sick = Cdn {
            name: "varnish".to_owned(),
            healthy: false,
            reasons: vec!["the token was refused\u{1b}[2J".to_owned(), "\u{202e}txet".to_owned()],
            pending: Some(12),
            oldest_pending_seconds: Some(190),
            paused: Some(true),
        };
        let lost = Cdn { name: "far".to_owned(), pending: None, paused: None, ..cdn.clone() };
        vec![
            Figures::of(site("www", "on", vec![cdn, sick]), Some(&history())),
            Figures::of(site("shop", "observe", vec![lost]), None),
            Figures::of(site("plain\n", "on", Vec::new()), None),
        ]
    }

    #[test]
    fn sites_are_told_in_words() {
        insta::assert_snapshot!(lines(&sites(), Style::Plain).join("\n"));
        insta::assert_snapshot!(lines(&[], Style::Plain).join("\n"), @"This token may see no site.");
    }

    #[test]
    fn colours_add_nothing_but_themselves() {
        let coloured = lines(&sites(), Style::Coloured).join("\n");
        let bare = ["\u{1b}[0m", "\u{1b}[1m", "\u{1b}[32m", "\u{1b}[1;31m"]
            .iter()
            .fold(coloured, |text, code| text.replace(code, ""));
        assert_eq!(bare, lines(&sites(), Style::Plain).join("\n"));
    }

    #[test]
    fn durations() {
        let check = |ms, expected: &str| assert_eq!(took(ms), expected);
        check(None, "–");
        check(Some(0.42), "0.4 ms");
        check(Some(42.0), "42 ms");
        check(Some(4_242.0), "4.2 s");
    }
}
