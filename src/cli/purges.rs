//! `origin-shim purges`: lists the latest purges as a table, or shows one of them with every answer of every
//! CDN.

use super::client::{AdminArgs, Client};
use crate::admin::json::{Items, Job, Page, Purge, WaitsFor, state_word};
use crate::purge::{PurgeMode, State};
use crate::store::Verification;
use crate::terminal::{self, line as cell};
use anyhow::Context;
use reqwest::Method;
use std::fmt::Write as _;
use std::process::ExitCode;

/// The maximum number of purges that one call of the admin API lists.
const PAGE: usize = 100;
/// The number of items that the detail of a purge names.
const ITEMS_SHOWN: usize = 20;
/// The number of characters of an item or a reason in the table.
const CELL: usize = 40;

/// List purges, or show one with the answers of its CDNs
#[derive(Debug, Clone, clap::Args)]
pub struct PurgesArgs {
    #[command(flatten)]
    admin: AdminArgs,

    /// Show this purge
    #[arg(conflicts_with_all = ["site", "state", "limit"])]
    id: Option<String>,

    /// Retry the failed items of this purge (needs the scope `operate`, as do the next two)
    #[arg(long, requires = "id", group = "act")]
    retry: bool,

    /// Mark this failed purge as resolved, so that it no longer makes its CDN unhealthy
    #[arg(long, requires = "id", group = "act")]
    acknowledge: bool,

    /// Cancel the pending parts of this purge
    #[arg(long, requires = "id", group = "act")]
    cancel: bool,

    /// List only purges of this site
    #[arg(long, value_name = "SITE")]
    site: Option<String>,

    /// List only purges in this state
    #[arg(long, value_name = "STATE", value_parser = parse_state)]
    state: Option<State>,

    /// List at most this many purges, the newest first
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Retry the failed items of a purge (the token needs the scope `operate`)
#[derive(Debug, Clone, clap::Args)]
pub struct RetryArgs {
    #[command(flatten)]
    admin: AdminArgs,

    /// The purge
    id: String,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs `retry`.
pub async fn retry(args: RetryArgs) -> anyhow::Result<ExitCode> {
    let RetryArgs { admin, id, json } = args;
    let [acknowledge, cancel] = [false; 2];
    run(PurgesArgs {
        admin,
        id: Some(id),
        retry: true,
        acknowledge,
        cancel,
        site: None,
        state: None,
        limit: 1,
        json,
    })
    .await
}

/// Runs the command. The exit code is 0 if the admin API answers.
pub async fn run(args: PurgesArgs) -> anyhow::Result<ExitCode> {
    let client = Client::from_env(&args.admin)?;
    let text = purges(&args, &client).await?;
    if args.json {
        terminal::print_json(&text)?
    } else {
        terminal::print(&text)?
    }
    Ok(ExitCode::SUCCESS)
}

async fn purges(args: &PurgesArgs, client: &Client) -> anyhow::Result<String> {
    if let Some(id) = &args.id {
        let answer = match (args.retry, args.acknowledge, args.cancel) {
            (true, ..) => client.act(Method::POST, &["v1", "purges", id, "retry"]).await?,
            (_, true, _) => client.act(Method::POST, &["v1", "purges", id, "acknowledge"]).await?,
            (.., true) => client.act(Method::DELETE, &["v1", "purges", id]).await?,
            _ => client.get(&["v1", "purges", id], &[]).await?,
        };
        return if args.json { Ok(answer.body + "\n") } else { Ok(detail(&answer.json()?)) };
    }
    let page = list(args, client).await?;
    if let (Some(site), true) = (&args.site, page.purges.is_empty()) {
        // A misspelt site has no purges, either.
        client.get(&["v1", "sites", site], &[]).await?;
    }
    if args.json {
        return Ok(serde_json::to_string(&page).context("the purges cannot be printed")? + "\n");
    }
    let more = match page.next_cursor {
        Some(_) => format!("the {} newest; --limit lists more\n", page.purges.len()),
        None => String::new(),
    };
    Ok(list_table(&page.purges) + &more)
}

/// Gets as many pages as the limit requires, merged into one.
async fn list(args: &PurgesArgs, client: &Client) -> anyhow::Result<Page> {
    let limit = usize::from(args.limit);
    let mut all = Page { purges: Vec::new(), next_cursor: None };
    loop {
        let mut query = vec![("limit", (limit - all.purges.len()).min(PAGE).to_string())];
        query.extend(args.site.iter().map(|site| ("site", site.clone())));
        query.extend(args.state.map(|state| ("state", state_word(state).to_owned())));
        query.extend(all.next_cursor.take().map(|cursor| ("cursor", cursor)));
        let page: Page = client.get(&["v1", "purges"], &query).await?.json()?;
        all.purges.extend(page.purges);
        all.next_cursor = page.next_cursor;
        if all.next_cursor.is_none() || all.purges.len() >= limit {
            return Ok(all);
        }
    }
}

fn list_table(purges: &[Purge]) -> String {
    if purges.is_empty() {
        return "no purges\n".to_owned();
    }
    let rows = purges.iter().map(|purge| {
        let cdns: Vec<String> =
            purge.jobs.iter().map(|job| format!("{}:{}", job.cdn, state_word(job.state))).collect();
        vec![
            purge.id.clone(),
            purge.site.clone(),
            state_word(purge.state).to_owned(),
            purge.created_at.clone(),
            short(&summary(&purge.items)),
            cdns.join(" "),
            short(purge.reason.as_deref().unwrap_or("")),
        ]
    });
    table(&["ID", "SITE", "STATE", "CREATED", "ITEMS", "CDNS", "REASON"], rows)
}

fn detail(purge: &Purge) -> String {
    let mode = match purge.mode {
        Some(PurgeMode::Soft) => "soft",
        Some(PurgeMode::Hard) => "hard",
        None => "as each CDN is configured",
    };
    let facts = [
        ("purge", purge.id.as_str()),
        ("site", &purge.site),
        ("state", state_word(purge.state)),
        ("mode", mode),
        ("reason", purge.reason.as_deref().unwrap_or("-")),
        ("created", &purge.created_at),
        ("finished", purge.finished_at.as_deref().unwrap_or("-")),
    ];
    let mut text = String::new();
    for (name, value) in facts {
        // Here and below: writing to a String cannot fail.
        let _ = writeln!(text, "{name:<9} {}", cell(value));
    }
    let _ = writeln!(text, "{:<9} {}", "items", purge.items.total);
    let all = named(&purge.items);
    for (kind, item) in all.iter().take(ITEMS_SHOWN) {
        let _ = writeln!(text, "  {kind} {}", cell(item));
    }
    if all.len() > ITEMS_SHOWN {
        let _ = writeln!(text, "  and {} more", all.len() - ITEMS_SHOWN);
    }
    let _ = write!(text, "\n{}", jobs_table(&purge.jobs));
    if purge.jobs.iter().any(|job| job.unacknowledged) {
        let id = &purge.id;
        let _ = writeln!(
            text,
            "note: until `origin-shim purges {id} --retry` or `--acknowledge`, responses get short lifetimes there"
        );
    }
    for job in purge.jobs.iter().filter(|job| !job.attempts.is_empty()) {
        let _ = write!(text, "\nanswers of {}\n{}", cell(&job.cdn), attempts_table(job));
    }
    text
}

/// Returns one line per CDN, with its last answer, its broader items in place of those requested, and the
/// result of verification.
pub(super) fn jobs_table(jobs: &[Job]) -> String {
    let rows = jobs.iter().map(|job| {
        let last = job.attempts.last();
        vec![
            job.cdn.clone(),
            state_word(job.state).to_owned(),
            job.items.to_string(),
            job.accepted_at.clone().unwrap_or_else(|| "-".to_owned()),
            last.map_or_else(
                || "-".to_owned(),
                |attempt| format!("{}: {}", attempt.outcome, attempt.message),
            ),
        ]
    });
    let mut text = table(&["CDN", "STATE", "ITEMS", "ACCEPTED", "LAST ANSWER"], rows);
    for job in jobs {
        let mut note = |what: &str| {
            let _ = writeln!(text, "note: {}: {}", cell(&job.cdn), cell(what));
        };
        job.fallback.iter().for_each(|fallback| note(fallback));
        match job.state {
            State::Failed if !job.fallback.is_empty() => note("that failed, too: it was not purged"),
            State::Paused => note("paused: nothing is sent to it until somebody resumes it"),
            _ => {}
        }
        if job.waits_for == Some(WaitsFor::Responses) {
            note("waits for responses that were on their way to it when the purge was accepted");
        }
        if let Some(seen) = job.verification {
            let what = match seen {
                Verification::Fresh => "copies are no older than the purge",
                Verification::Stale => "a copy is older than the purge",
                Verification::Unknown => "no copy whose age can be compared",
            };
            note(&format!("verification: {}: {what}", seen.as_str()));
        }
    }
    text
}

fn attempts_table(job: &Job) -> String {
    let rows = job.attempts.iter().map(|attempt| {
        vec![
            attempt.at.clone(),
            attempt.status.map_or_else(|| "-".to_owned(), |status| status.to_string()),
            attempt.outcome.clone(),
            attempt.items.to_string(),
            attempt.duration_ms.to_string(),
            attempt.request_id.clone().unwrap_or_else(|| "-".to_owned()),
            attempt.message.clone(),
        ]
    });
    table(&["AT", "STATUS", "OUTCOME", "ITEMS", "MS", "REQUEST ID", "MESSAGE"], rows)
}

/// Returns every item with its kind.
fn named(items: &Items) -> Vec<(&'static str, &str)> {
    let kinds =
        [("url", &items.urls), ("path", &items.paths), ("tag", &items.tags), ("prefix", &items.prefixes)];
    let everything = items.everything.then_some(("everything", ""));
    let listed =
        kinds.into_iter().flat_map(|(kind, list)| list.iter().map(move |item| (kind, item.as_str())));
    everything.into_iter().chain(listed).collect()
}

fn summary(items: &Items) -> String {
    match (named(items).first(), items.total) {
        (Some((kind, item)), 0 | 1) => format!("{kind} {item}").trim_end().to_owned(),
        (Some((kind, item)), total) => format!("{total}: {kind} {item}").trim_end().to_owned(),
        // A list leaves out the items of bulk purges.
        (None, total) => total.to_string(),
    }
}

/// Formats columns, aligned and two spaces apart.
pub(super) fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let head = head.iter().map(|title| (*title).to_owned()).collect();
    let rows: Vec<Vec<String>> =
        std::iter::once(head).chain(rows.map(|row| row.iter().map(|text| cell(text)).collect())).collect();
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max();
    let widths: Vec<usize> = (0..rows[0].len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn short(text: &str) -> String {
    match text.char_indices().nth(CELL) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn parse_state(word: &str) -> Result<State, String> {
    use State::{Cancelled, Done, Failed, Paused, Pending, Retrying, Sending};
    let states = [Pending, Sending, Retrying, Paused, Done, Failed, Cancelled];
    states
        .into_iter()
        .find(|state| state_word(*state) == word)
        .ok_or_else(|| format!("one of {}", states.map(state_word).join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tests::{Api, start, token};
    use clap::Parser;

    #[derive(Parser)]
    #[command(no_binary_name = true)]
    struct Line {
        #[command(flatten)]
        args: PurgesArgs,
    }

    async fn run_line(api: &Api, line: &str) -> String {
        try_line(api, line).await.unwrap()
    }

    async fn try_line(api: &Api, line: &str) -> anyhow::Result<String> {
        let server = start(api).await;
        let client = Client::new(&format!("http://{}", server.address), &token("root")).unwrap();
        let line = Line::try_parse_from(line.split_whitespace()).unwrap();
        purges(&line.args, &client).await
    }

    #[tokio::test]
    async fn purges_are_a_table() {
        let api = Api::new();
        assert_eq!(run_line(&api, "").await, "no purges\n");
        api.purge(r#"{"paths": ["/a"], "reason": "publish"}"#).await;
        api.store.end_all(State::Failed);
        api.purge(r#"{"tags": ["t", "u"], "cdns": ["varnish"]}"#).await;
        api.purge(&format!(r#"{{"urls": ["https://www.example.com/{}"]}}"#, "x".repeat(99))).await;
        api.store.pin();
        insta::assert_snapshot!(run_line(&api, "").await);
        insta::assert_snapshot!(run_line(&api, "--state failed --site www").await);
        assert_eq!(run_line(&api, "--site shop").await, "no purges\n");
    }

    #[tokio::test]
    async fn one_purge_shows_every_answer() {
        let api = Api::new();
        api.purge(r#"{"paths": ["/a"], "tags": ["t"], "reason": "publish", "mode": "soft"}"#).await;
        api.store.pin();
        api.store.end_all(State::Done);
        api.store.verify_all(Verification::Fresh);
        insta::assert_snapshot!(run_line(&api, "01938f00-0000-7000-8000-000000000000").await);
    }

    #[tokio::test]
    async fn a_failure_says_what_to_do_and_it_can_be_done() {
        let api = Api::new();
        api.purge(r#"{"tags": ["t"], "cdns": ["varnish"]}"#).await;
        api.store.pin();
        api.store.end_all(State::Failed);
        let id = "01938f00-0000-7000-8000-000000000000";
        insta::assert_snapshot!(run_line(&api, id).await);
        assert!(run_line(&api, &format!("{id} --acknowledge")).await.contains("state     failed\n"));
        for (flag, wrong) in
            [("--retry", "None of the purge's jobs has failed"), ("--cancel", "The purge has ended")]
        {
            let line = format!("{id} {flag}");
            let error = try_line(&api, &line).await.unwrap_err().to_string();
            // The fake store supports neither.
            assert!(error.contains(wrong), "{flag}: {error}");
        }
        for line in ["--retry", "x --retry --cancel", "x --acknowledge --site www"] {
            assert!(Line::try_parse_from(line.split_whitespace()).is_err(), "{line}");
        }
    }

    #[tokio::test]
    async fn a_failed_escalation_is_not_told_as_a_purge() {
        let api = Api::new();
        let mut purge: Purge = serde_json::from_value(api.purge(r#"{"tags": ["t"]}"#).await).unwrap();
        let mut told = |state: State, fallback: &[&str]| {
            purge.jobs.truncate(1);
            purge.jobs[0].state = state;
            purge.jobs[0].fallback = fallback.iter().map(|text| (*text).to_owned()).collect();
            jobs_table(&purge.jobs).lines().skip(2).collect::<Vec<_>>().join("; ")
        };
        let escalation = "the CDN refused an item, so a purge of everything of the site takes its place";
        assert_eq!(told(State::Done, &[escalation]), format!("note: fastly: {escalation}"));
        assert_eq!(
            told(State::Failed, &[escalation]),
            format!("note: fastly: {escalation}; note: fastly: that failed, too: it was not purged")
        );
        assert_eq!(told(State::Failed, &[]), "");
        assert_eq!(
            told(State::Paused, &[]),
            "note: fastly: paused: nothing is sent to it until somebody resumes it"
        );
    }

    #[tokio::test]
    async fn a_limit_beyond_a_page_takes_several() {
        let api = Api::new();
        for _ in 0..120 {
            api.purge(r#"{"tags": ["t"]}"#).await;
        }
        let count = |text: String| serde_json::from_str::<Page>(&text).unwrap().purges.len();
        assert_eq!(count(run_line(&api, "--json --limit 110").await), 110);
        assert_eq!(count(run_line(&api, "--json --limit 1000").await), 120);
        assert_eq!(count(run_line(&api, "--json").await), 20);
    }

    #[test]
    fn hostile_text_cannot_break_the_table() {
        let rows = [vec!["a\u{1b}[2J".to_owned(), "b\nc".to_owned()], vec!["ü".to_owned(), String::new()]];
        insta::assert_snapshot!(table(&["ONE", "TWO"], rows.into_iter()), @r"
        ONE         TWO
        a\u{1b}[2J  b c
        ü
        ");
    }
}
