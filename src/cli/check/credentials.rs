//! `check --credentials`: a report for each CDN of each site.

use crate::cdn::{CdnReport, Level, Sender, Usable, report_site};
use crate::config::Config;
use crate::terminal::print;
use serde::Serialize;
use std::fmt::Write;

/// The result for all CDNs.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// Whether no CDN's credentials are known to be unusable.
    pub usable: bool,
    sites: Vec<Site>,
}

#[derive(Debug, Serialize)]
struct Site {
    name: String,
    cdns: Vec<CdnReport>,
}

/// Checks the credentials, and prints each site as soon as its result is known if `aloud` is set.
pub async fn check(config: &Config, probe: bool, aloud: bool) -> anyhow::Result<Checked> {
    let sender = Sender::new()?;
    let mut sites = Vec::new();
    for site in &config.sites {
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let site = Site { name: site.name.clone(), cdns: report_site(site, &sender, probe, now_ms).await };
        if aloud {
            print(&describe(&site))?;
        }
        sites.push(site);
    }
    let is_useless = |cdn: &CdnReport| cdn.report.usable == Usable::No;
    Ok(Checked { usable: !sites.iter().flat_map(|site| &site.cdns).any(is_useless), sites })
}

fn describe(site: &Site) -> String {
    if site.cdns.is_empty() {
        return format!("site {} has no CDN\n\n", site.name);
    }
    let mut text = String::new();
    for CdnReport { name, cdn_type, report, .. } in &site.cdns {
        let usable = match report.usable {
            Usable::Yes => "usable",
            Usable::No => "NOT USABLE",
            Usable::Unproved => "not proved",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "site {}, cdn {name} ({}): {usable}", site.name, cdn_type.as_str());
        if let Some(identity) = &report.identity {
            let _ = writeln!(text, "  who      {identity}");
        }
        for finding in &report.findings {
            let level = match finding.level {
                Level::Error => "ERROR",
                Level::Warning => "warning",
                Level::Note => "note",
                Level::Ok => "ok",
            };
            let _ = writeln!(text, "  {level:<8} {}", finding.text);
            if let Some(advice) = &finding.advice {
                let _ = writeln!(text, "           -> {advice}");
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cdn::{CredentialReport, Finding};
    use crate::rewrite::CdnType;

    #[test]
    fn a_site_in_words() {
        let finding = |level, text: &str, advice: Option<&str>| Finding {
            level,
            text: text.to_owned(),
            advice: advice.map(str::to_owned),
        };
        let report = CredentialReport {
            usable: Usable::No,
            identity: Some("the token of ops".to_owned()),
            findings: vec![
                finding(Level::Error, "It has ended.", Some("Make a new one.")),
                finding(Level::Ok, "It is known.", None),
            ],
        };
        let cdns = vec![CdnReport { name: "main".to_owned(), cdn_type: CdnType::Fastly, report, calls: 3 }];
        insta::assert_snapshot!(describe(&Site { name: "www".to_owned(), cdns }), @r"
        site www, cdn main (fastly): NOT USABLE
          who      the token of ops
          ERROR    It has ended.
                   -> Make a new one.
          ok       It is known.
        ");
        insta::assert_snapshot!(describe(&Site { name: "plain".to_owned(), cdns: Vec::new() }), @"site plain has no CDN");
    }
}
