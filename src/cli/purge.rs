//! `origin-shim purge`: turns items from arguments or from stdin into one purge. `--wait` shows its result, and
//! with `--verify` whether copies are fresh.

use super::client::{AdminArgs, Client, Refused, Success};
use super::items::read_items;
use super::plan;
use super::purges::jobs_table;
use crate::admin::json::{Job, Purge, state_word};
use crate::purge::{PurgeMode, PurgeRequest, State};
use crate::store::Verification;
use crate::terminal::{self, line};
use anyhow::{Context, bail};
use indicatif::{MultiProgress, ProgressBar};
use serde::Deserialize;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The exit code of a command that was interrupted (128 + SIGINT).
const INTERRUPTED: u8 = 130;
/// The number of sites that an error message names.
const NAMED: usize = 20;
/// The time between two polls of a purge that is not done.
const POLL: Duration = Duration::from_millis(500);

/// Purge items of a site from its CDNs
#[derive(Debug, Clone, clap::Args)]
pub struct PurgeArgs {
    #[command(flatten)]
    admin: AdminArgs,

    /// Purge exactly this URL, query included (may be repeated, as may the other items)
    #[arg(long = "url", value_name = "URL")]
    urls: Vec<String>,

    /// Purge the page at this path, on every host and with every query of the site
    #[arg(long = "path", value_name = "PATH")]
    paths: Vec<String>,

    /// Purge every response with this tag
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,

    /// Purge everything below this path
    #[arg(long = "prefix", value_name = "PREFIX")]
    prefixes: Vec<String>,

    /// Purge the whole site
    #[arg(long)]
    everything: bool,

    /// Mark copies as stale: they may be served while they are fetched again
    #[arg(long, conflicts_with = "hard")]
    soft: bool,

    /// Delete copies
    #[arg(long)]
    hard: bool,

    /// The site; not needed if the token sees only one
    #[arg(long, value_name = "SITE")]
    site: Option<String>,

    /// Only this CDN of the site (may be repeated)
    #[arg(long = "cdn", value_name = "CDN")]
    cdns: Vec<String>,

    /// The reason, which is logged
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    /// Verify the purge: request a few purged pages through the CDN, and purge again if a copy is older than
    /// the purge
    #[arg(long)]
    verify: bool,

    /// Wait until every CDN has accepted the purge, at most this long, and fail if one does not; with --verify,
    /// wait until copies were checked, and fail if one stays old
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "300",
        value_parser = clap::value_parser!(u64).range(1..=86_400)
    )]
    wait: Option<u64>,

    /// Print the answer of the admin API unchanged
    #[arg(long)]
    pub json: bool,

    /// Show what would be sent to each CDN, and purge nothing
    #[arg(long, conflicts_with_all = ["wait", "verify"])]
    dry_run: bool,

    /// Paths and URLs, as with --path and --url; or `-`: read items from stdin, one a line: a URL, a path that starts
    /// with /, or a tag; # starts a comment. Stdin is also the default if no item is given and it is not a terminal
    #[arg(value_name = "ITEM", value_parser = parse_item)]
    items: Vec<String>,
}

/// Accepts a path, a URL, `-`, and a number, which is the time of `--wait`.
fn parse_item(text: &str) -> Result<String, String> {
    let is_item = text == "-" || text.starts_with('/') || text.contains("://");
    if is_item || is_number(text) {
        return Ok(text.to_owned());
    }
    Err(format!("neither a path that starts with / nor a URL; a tag is --tag {text}"))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Runs the command. Exit codes: 0 accepted (with `--wait`: done, and with `--verify` no copy known to be old),
/// 1 failed or not done in time, 2 nothing to purge.
pub async fn run(args: PurgeArgs) -> anyhow::Result<ExitCode> {
    let stdin = std::io::stdin();
    let args = match args.understood() {
        Ok(args) => args,
        Err(why) => {
            terminal::print_aside(&format!("error: {why}\n"));
            return Ok(ExitCode::from(2));
        }
    };
    let mut request = args.request();
    if args.items.iter().any(|item| item == "-") || (request.item_count() == 0 && !stdin.is_terminal()) {
        read_items(stdin.lock(), &mut request).context("stdin")?;
    }
    if request.item_count() == 0 {
        terminal::print_aside(
            "error: nothing to purge: give --url, --path, --tag, --prefix, --everything, or items on stdin\n",
        );
        return Ok(ExitCode::from(2));
    }
    let client = Client::from_env(&args.admin)?;
    let progress = args.wait.is_some() && !args.json && std::io::stderr().is_terminal();
    let (text, code) = purge(&args, &request, &client, progress).await?;
    if args.json {
        terminal::print_json(&text)?
    } else {
        terminal::print(&text)?
    }
    Ok(ExitCode::from(code))
}

/// Sends the purge and, if requested, waits for its end. Returns the text to print and the exit code.
async fn purge(
    args: &PurgeArgs,
    request: &PurgeRequest,
    client: &Client,
    progress: bool,
) -> anyhow::Result<(String, u8)> {
    let site = match &args.site {
        Some(site) => site.clone(),
        None => only_site(client).await?,
    };
    let deadline = args.wait.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    // The server answers soon, so that the purge's id is known, and the progress of each CDN.
    let preference = args.wait.map(|_| Duration::from_secs(1));
    let body = serde_json::to_string(request)?;
    let mut answer = client.post(&["v1", "sites", &site, "purges"], body, preference).await?;
    if args.dry_run {
        return Ok((if args.json { answer.body + "\n" } else { plan::describe(&answer.json()?) }, 0));
    }
    let mut purge: Purge = answer.json()?;
    if let Some(deadline) = deadline.filter(|_| !has_ended(&purge, args.verify) && !is_paused(&purge)) {
        let mut shown = progress.then(Progress::default);
        let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
        loop {
            let newer = tokio::select! {
                newer = look_again(client, &purge.id, deadline) => newer?,
                _ = &mut interrupted => {
                    drop(shown);
                    let id = &purge.id;
                    terminal::print_aside(&format!("\nthe purge is accepted and goes on: see `origin-shim purges {id}`\n"));
                    let text = if args.json { answer.body + "\n" } else { String::new() };
                    return Ok((text, INTERRUPTED));
                }
            };
            let Some(newer) = newer else { break };
            answer = newer;
            purge = answer.json()?;
            if let Some(progress) = &mut shown {
                progress.show(&purge, args.verify);
            }
            if has_ended(&purge, args.verify) || is_paused(&purge) {
                break;
            }
        }
    }
    let is_good = purge.state == State::Done && has_ended(&purge, args.verify);
    let failed = args.wait.is_some() && !is_good;
    if args.json {
        return Ok((answer.body + "\n", u8::from(failed)));
    }
    let mut text = describe(args, &purge);
    if args.wait.is_some() && is_paused(&purge) {
        text.push_str(&pauses(client, &purge).await);
    }
    Ok((text, u8::from(failed)))
}

/// Returns the purge a moment later, or `None` when the time is up. A restarting shim does not lose the purge,
/// so the wait ends early only if the call would always be refused.
async fn look_again(client: &Client, id: &str, deadline: Instant) -> anyhow::Result<Option<Success>> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        tokio::time::sleep(POLL.min(left)).await;
        match client.get(&["v1", "purges", id], &[]).await {
            Ok(answer) => return Ok(Some(answer)),
            Err(error) if error.downcast_ref::<Refused>().is_some_and(Refused::is_final) => {
                return Err(error.context(format!("purge {id} was accepted, but its state cannot be read")));
            }
            Err(_) => {}
        }
    }
}

/// Returns the only site that the token may see.
pub(super) async fn only_site(client: &Client) -> anyhow::Result<String> {
    #[derive(Deserialize)]
    struct Site {
        name: String,
    }
    let sites = client.sites::<Site>().await.map_err(|error| match error.downcast_ref::<Refused>() {
        Some(refused) if refused.is_forbidden() => {
            error.context("give --site, or a token that may list sites")
        }
        _ => error,
    })?;
    let names: Vec<String> = sites.into_iter().map(|site| site.name).collect();
    match names.as_slice() {
        [] => bail!("the token sees no site"),
        [name] => Ok(name.clone()),
        names if names.len() > NAMED => {
            bail!("give --site, one of {}: {}, …", names.len(), names[..NAMED].join(", "))
        }
        names => bail!("give --site, one of: {}", names.join(", ")),
    }
}

/// Whether waiting any longer is pointless: the purge is done, and verified if `verify` is set, or it never
/// will be.
fn has_ended(purge: &Purge, verify: bool) -> bool {
    match purge.state {
        State::Done => !verify || purge.jobs.iter().all(is_verified),
        state => matches!(state, State::Failed | State::Cancelled),
    }
}

/// Whether the job's verification is complete. A copy that is older than the purge is purged again, so that
/// result is not final.
fn is_verified(job: &Job) -> bool {
    matches!(job.verification, Some(Verification::Fresh | Verification::Unknown))
}

/// Whether all unfinished jobs wait for a paused CDN, so that nothing more happens without somebody's action.
fn is_paused(purge: &Purge) -> bool {
    let is_paused = |job: &Job| job.state == State::Paused;
    purge.jobs.iter().any(is_paused) && purge.jobs.iter().all(|job| job.state.is_end() || is_paused(job))
}

/// Describes why each CDN that holds up the purge is paused, as far as the token may see that, and how to
/// resume it.
async fn pauses(client: &Client, purge: &Purge) -> String {
    #[derive(Deserialize)]
    struct Site {
        cdns: Vec<Cdn>,
    }
    #[derive(Deserialize)]
    struct Cdn {
        name: String,
        reasons: Vec<String>,
    }
    let site = client.get(&["v1", "sites", &purge.site], &[]).await;
    let cdns = site.and_then(|answer| answer.json::<Site>()).map(|site| site.cdns).unwrap_or_default();
    let mut text = String::new();
    for job in purge.jobs.iter().filter(|job| job.state == State::Paused) {
        let cdn = cdns.iter().find(|cdn| cdn.name == job.cdn);
        let why = cdn.and_then(|cdn| cdn.reasons.iter().find(|reason| reason.starts_with("paused")));
        let why = why.map_or_else(|| "paused".to_owned(), |why| line(why));
        let (site, cdn) = (line(&purge.site), line(&job.cdn));
        text.push_str(&format!(
            "{cdn} is {why}\n  the purge is kept and goes on once the CDN is resumed: in the console, or by `origin-shim resume {cdn} --site {site}`\n"
        ));
    }
    text
}

/// Describes the result for people.
fn describe(args: &PurgeArgs, purge: &Purge) -> String {
    let mut text = format!("purge {} of {}: {}\n", purge.id, line(&purge.site), state_word(purge.state));
    text.push_str(&jobs_table(&purge.jobs));
    let awaits_verification = args.verify && args.wait.is_some();
    if !has_ended(purge, awaits_verification) {
        let what = match args.wait {
            Some(seconds) if purge.state == State::Done => format!("not verified within {seconds} s"),
            Some(_) if is_paused(purge) => "not done, and nothing is sent for now".to_owned(),
            Some(seconds) => format!("not done within {seconds} s; it goes on"),
            None => "accepted".to_owned(),
        };
        text.push_str(&format!("{what}: see `origin-shim purges {}`\n", purge.id));
    }
    text
}

impl PurgeArgs {
    /// Takes a number among the items for the time of `--wait`, as in `--wait 10`.
    fn understood(mut self) -> Result<Self, String> {
        while let Some(at) = self.items.iter().position(|item| is_number(item)) {
            let number = self.items.remove(at);
            let seconds = number.parse().ok().filter(|seconds| (1..=86_400).contains(seconds));
            match (self.wait, seconds) {
                (Some(_), Some(seconds)) => self.wait = Some(seconds),
                (Some(_), None) => return Err(format!("--wait {number} must be 1 to 86400 seconds")),
                (None, _) => {
                    return Err(format!("`{number}` is no item; the time to wait is --wait={number}"));
                }
            }
        }
        Ok(self)
    }

    fn request(&self) -> PurgeRequest {
        let among = |wanted: fn(&str) -> bool| self.items.iter().filter(move |item| wanted(item)).cloned();
        PurgeRequest {
            urls: self
                .urls
                .iter()
                .cloned()
                .chain(among(|item| item.contains("://") && !item.starts_with('/')))
                .collect(),
            paths: self.paths.iter().cloned().chain(among(|item| item.starts_with('/'))).collect(),
            tags: self.tags.clone(),
            prefixes: self.prefixes.clone(),
            everything: self.everything,
            mode: match (self.soft, self.hard) {
                (true, _) => Some(PurgeMode::Soft),
                (_, true) => Some(PurgeMode::Hard),
                _ => None,
            },
            verify: self.verify.then_some(true),
            cdns: Some(self.cdns.clone()).filter(|cdns| !cdns.is_empty()),
            reason: self.reason.clone(),
            dry_run: self.dry_run,
        }
    }
}

/// One line per CDN on the terminal, while the purge is under way.
#[derive(Default)]
struct Progress {
    lines: MultiProgress,
    bars: Vec<ProgressBar>,
}

impl Progress {
    fn show(&mut self, purge: &Purge, verify: bool) {
        let bars = &mut self.bars;
        for (index, job) in purge.jobs.iter().enumerate() {
            if bars.len() == index {
                let bar = self.lines.add(ProgressBar::new_spinner());
                bar.enable_steady_tick(Duration::from_millis(100));
                bars.push(bar);
            }
            let looks = verify && job.state == State::Done && !is_verified(job);
            let word = if looks { "done, verifying its copies" } else { state_word(job.state) };
            bars[index].set_message(line(&format!("{}  {word}", job.cdn)));
        }
    }
}

impl Drop for Progress {
    /// Clears the lines, because the table that is printed next has all of their content.
    fn drop(&mut self) {
        let _ = self.lines.clear();
    }
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
        args: PurgeArgs,
    }

    fn parse(line: &str) -> Result<PurgeArgs, String> {
        Line::try_parse_from(line.split_whitespace())
            .map(|line| line.args)
            .map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())
    }

    /// Runs a command line against `api`, and returns its output and exit code.
    async fn run_line(api: &Api, token_name: &str, line: &str) -> Result<(String, u8), String> {
        let server = start(api).await;
        let client = Client::new(&format!("http://{}", server.address), &token(token_name)).unwrap();
        let args = parse(line).unwrap();
        let result = purge(&args, &args.request(), &client, false).await;
        result.map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn arguments_become_a_request() {
        let check = |line: &str, expected: &str| {
            let request = parse(line).unwrap().request();
            assert_eq!(serde_json::to_string(&request).unwrap(), expected, "{line}");
        };
        check("", "{}");
        check("--url https://a/ --url https://b/", r#"{"urls":["https://a/","https://b/"]}"#);
        check("--path /a --tag t --prefix /p/", r#"{"paths":["/a"],"tags":["t"],"prefixes":["/p/"]}"#);
        check("/a https://b/c -", r#"{"urls":["https://b/c"],"paths":["/a"]}"#);
        check("/a --dry-run", r#"{"paths":["/a"],"dry_run":true}"#);
        check("--everything --soft", r#"{"everything":true,"mode":"soft"}"#);
        check("--path /a --verify", r#"{"paths":["/a"],"verify":true}"#);
        check("--hard --cdn c --cdn d --reason r -", r#"{"mode":"hard","cdns":["c","d"],"reason":"r"}"#);
    }

    #[test]
    fn wait_has_an_optional_value() {
        let wait = |line: &str| parse(line).map(|args| args.wait);
        assert_eq!(wait("--path /a"), Ok(None));
        assert_eq!(wait("--wait --path /a"), Ok(Some(300)));
        assert_eq!(wait("--wait=5"), Ok(Some(5)));
        assert!(wait("--wait=0").is_err());
        assert!(wait("--wait=x").is_err());
        let understood = |line: &str| parse(line).unwrap().understood().map(|args| args.wait);
        assert_eq!(understood("--path /a --wait 5"), Ok(Some(5)));
        assert!(understood("--path /a --wait 0").is_err());
        assert!(understood("/a 5").is_err());
        assert!(parse("--soft --hard").is_err());
        assert!(parse("a").is_err());
    }

    #[tokio::test]
    async fn an_accepted_purge_is_a_success() {
        let api = Api::new();
        let (text, code) = run_line(&api, "cms", "--path /a --tag t").await.unwrap();
        let id = text.split_whitespace().nth(1).unwrap();
        assert_eq!(code, 0);
        insta::assert_snapshot!(text.replace(id, "ID"), @r"
        purge ID of www: pending
        CDN      STATE    ITEMS  ACCEPTED  LAST ANSWER
        fastly   pending  2      -         -
        varnish  pending  2      -         -
        accepted: see `origin-shim purges ID`
        ");

        let (json, code) = run_line(&api, "root", "--site shop --path /a --json").await.unwrap();
        let purge: Purge = serde_json::from_str(&json).unwrap();
        assert_eq!((code, &*purge.site, json.lines().count()), (0, "shop", 1));
    }

    #[tokio::test]
    async fn waiting_ends_with_the_purge() {
        for (state, expected) in [(State::Done, 0), (State::Failed, 1)] {
            let api = Api::new();
            let waiting = run_line(&api, "cms", "--path /a --wait");
            let moving_on = async {
                api.store.looked.notified().await;
                api.store.end_all(state);
                api.control.bump();
            };
            let (result, ()) = tokio::join!(waiting, moving_on);
            let (text, code) = result.unwrap();
            assert_eq!(code, expected, "{text}");
            assert!(text.contains(&format!("www: {}\n", state_word(state))), "{text}");
        }
    }

    #[tokio::test]
    async fn a_paused_cdn_is_told_at_once_and_not_as_going_on() {
        let api = Api::new();
        let waiting = run_line(&api, "cms", "--path /a --cdn varnish --wait");
        let pausing = async {
            api.store.looked.notified().await;
            *api.control.varnish.lock().unwrap() = vec!["paused: a migration\u{202e}".to_owned()];
            api.store.end_all(State::Paused);
            api.control.bump();
        };
        let (result, ()) = tokio::join!(waiting, pausing);
        let (text, code) = result.unwrap();
        assert_eq!(code, 1, "{text}");
        assert!(text.contains("not done, and nothing is sent for now"), "{text}");
        assert!(text.contains("varnish is paused: a migration\\u{202e}\n"), "{text}");
        assert!(text.contains("`origin-shim resume varnish --site www`\n"), "{text}");
        assert!(!text.contains("goes on:") && !text.contains("within"), "{text}");
    }

    #[tokio::test]
    async fn waiting_for_a_verified_purge_ends_when_its_copies_were_looked_at() {
        let api = Api::new();
        let waiting = run_line(&api, "cms", "--path /a --cdn fastly --verify --wait");
        let moving_on = async {
            api.store.looked.notified().await;
            api.store.end_all(State::Done);
            api.control.bump();
            for seen in [Verification::Stale, Verification::Fresh] {
                api.store.looked.notified().await;
                api.store.verify_all(seen);
            }
        };
        let (result, ()) = tokio::join!(waiting, moving_on);
        let (text, code) = result.unwrap();
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("note: fastly: verification: fresh"), "{text}");
    }

    #[tokio::test]
    async fn what_is_verified() {
        let api = Api::new();
        let mut purge: Purge = serde_json::from_value(api.purge(r#"{"paths": ["/a"]}"#).await).unwrap();
        let args = parse("--verify --wait=9").unwrap();
        let mut check = |state: State, seen: [Option<Verification>; 2], ended: bool, told: &str| {
            purge.state = state;
            for (job, seen) in purge.jobs.iter_mut().zip(seen) {
                (job.state, job.verification) = (state, seen);
            }
            assert_eq!(has_ended(&purge, true), ended, "{state:?} {seen:?}");
            let text = describe(&args, &purge);
            assert!(text.contains(told), "{text}");
            assert_eq!(text.contains("within 9 s"), !ended, "{text}");
            assert_eq!(has_ended(&purge, false), state != State::Pending);
        };
        use Verification::{Fresh, Stale, Unknown};
        check(
            State::Pending,
            [None, None],
            false,
            "not done within 9 s; it goes on: see `origin-shim purges ",
        );
        check(State::Done, [Some(Fresh), None], false, "not verified within 9 s: see `origin-shim purges ");
        check(
            State::Done,
            [Some(Fresh), Some(Stale)],
            false,
            "varnish: verification: stale: a copy is older",
        );
        check(
            State::Done,
            [Some(Fresh), Some(Unknown)],
            true,
            "varnish: verification: unknown: no copy whose age",
        );
        check(State::Failed, [None, None], true, "www: failed");
    }

    #[tokio::test]
    async fn a_wait_that_the_server_cut_short_goes_on() {
        let api = Api::new();
        let server = start(&api).await;
        let client = Client::new(&format!("http://{}", server.address), &token("cms")).unwrap();
        let args = parse("--path /a --wait").unwrap();
        let request = args.request();
        let waiting = purge(&args, &request, &client, true);
        let moving_on = async {
            api.store.looked.notified().await;
            // Draining answers every waiting call; the command then asks again.
            api.state.readiness.set_draining();
            api.store.looked.notified().await;
            api.store.end_all(State::Done);
        };
        let (result, ()) = tokio::join!(waiting, moving_on);
        assert_eq!(result.unwrap().1, 0);
    }

    #[tokio::test]
    async fn what_fails_says_why() {
        let api = Api::new();
        let mut text = String::new();
        for (token_name, line) in [
            ("cms", "--everything"),
            ("cms", "--site shop --path /a"),
            ("root", "--path /a"),
            ("button", "--everything"),
            ("cms", "--path /a --cdn akamai"),
            ("unknown", "--site www --path /a"),
        ] {
            let error = run_line(&api, token_name, line).await.unwrap_err();
            text += &format!("# {token_name}: {line}\n{error}\n\n");
        }
        insta::assert_snapshot!(text);
        assert_eq!(api.store.len(), 0);
    }

    #[tokio::test]
    async fn a_shim_that_is_down_is_named() {
        let api = Api::new();
        let address = start(&api).await.stop_and_wait().await;
        let client = Client::new(&format!("http://{address}"), "t").unwrap();
        let args = parse("--site www --path /a").unwrap();
        let error = purge(&args, &args.request(), &client, false).await.unwrap_err();
        let expected =
            format!("cannot reach the shim at http://{address}/ (connection refused). Is it running? ");
        assert!(format!("{error:#}").starts_with(&expected), "{error:#}");
    }
}
