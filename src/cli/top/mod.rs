//! `origin-shim top`: the figures of the console's overview, live in a terminal.

mod figures;
mod screen;
mod text;

use super::client::{AdminArgs, Client, Refused};
use crate::admin::history::History;
use crate::terminal::{self, line};
use figures::{Figures, Site};
use screen::Screen;
use std::process::ExitCode;
use std::time::Duration;
use text::Style;
use tokio::signal::unix::{SignalKind, signal};

/// The number of sites whose history is read. Nobody looks at more at a time.
const READ: usize = 20;

/// Show what happens now: requests, origin, purges and CDNs of each site
///
/// On a terminal the view is live; q or Ctrl-C ends it. Elsewhere it is printed once.
#[derive(Debug, Clone, clap::Args)]
pub struct TopArgs {
    #[command(flatten)]
    admin: AdminArgs,

    /// Only this site
    #[arg(long, value_name = "SITE")]
    site: Option<String>,

    /// The time between two looks, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,

    /// Print the figures once and exit
    #[arg(long)]
    once: bool,

    /// Print the figures once, as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub async fn run(args: TopArgs) -> anyhow::Result<ExitCode> {
    let client = Client::from_env(&args.admin)?;
    let first = look(&args, &client).await?;
    if args.json {
        terminal::print_json(&format!("{}\n", serde_json::to_string_pretty(&first)?))?;
    } else if args.once || !terminal::is_live() {
        terminal::print(&format!("{}\n", text::lines(&first, Style::Plain).join("\n")))?;
    } else {
        live(&args, &client, first).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Draws the figures until a key or a signal ends that.
async fn live(args: &TopArgs, client: &Client, first: Vec<Figures>) -> anyhow::Result<()> {
    let style = style(std::env::var_os("NO_COLOR").as_deref(), std::env::var_os("TERM").as_deref());
    let mut resized = signal(SignalKind::window_change())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mut hung_up = signal(SignalKind::hangup())?;
    let screen = Screen::enter()?;
    let mut keys = screen::keys();
    let mut are_keys_open = true;
    let (mut sites, mut trouble) = (first, None);
    loop {
        screen.draw(&page(args, &sites, trouble.as_deref(), style))?;
        let pause = tokio::time::sleep(Duration::from_secs(args.interval));
        let next = async {
            pause.await;
            look(args, client).await
        };
        tokio::select! {
            looked = next => match looked {
                Ok(newer) => (sites, trouble) = (newer, None),
                Err(error) if error.downcast_ref::<Refused>().is_some_and(Refused::is_final) => return Err(error),
                // A restart of the shim is no reason to end.
                Err(error) => trouble = Some(format!("{error}; these figures are the last known ones")),
            },
            _ = resized.recv() => {}
            key = keys.recv(), if are_keys_open => match key {
                Some(b'q' | b'Q') => return Ok(()),
                Some(_) => {}
                None => are_keys_open = false,
            },
            _ = interrupted.recv() => return Ok(()),
            _ = terminated.recv() => return Ok(()),
            _ = hung_up.recv() => return Ok(()),
        }
    }
}

fn page(args: &TopArgs, sites: &[Figures], trouble: Option<&str>, style: Style) -> Vec<String> {
    let now = jiff::Timestamp::now().strftime("%H:%M:%S UTC");
    let mut page = vec![format!("origin-shim top   {}   {now}   q ends it", line(&args.admin.admin))];
    page.extend(trouble.map(line));
    page.push(String::new());
    page.extend(text::lines(sites, style));
    page
}

/// Reads the figures of all sites that are shown.
async fn look(args: &TopArgs, client: &Client) -> anyhow::Result<Vec<Figures>> {
    let sites: Vec<Site> = match &args.site {
        Some(name) => vec![client.get(&["v1", "sites", name], &[]).await?.json()?],
        None => client.sites().await?,
    };
    let mut figures = Vec::new();
    for (index, site) in sites.into_iter().enumerate() {
        let history: Option<History> = match index < READ {
            true => Some(client.get(&["v1", "sites", &site.name, "history"], &[]).await?.json()?),
            false => None,
        };
        figures.push(Figures::of(site, history.as_ref()));
    }
    Ok(figures)
}

/// Chooses colours: none for who wants none (<https://no-color.org>), and none for a terminal without them.
fn style(no_color: Option<&std::ffi::OsStr>, term: Option<&std::ffi::OsStr>) -> Style {
    let is_unwanted = no_color.is_some_and(|value| !value.is_empty());
    let is_dumb = term.is_none_or(|term| term == "dumb");
    if is_unwanted || is_dumb { Style::Plain } else { Style::Coloured }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn colours_only_where_they_are_wanted() {
        let check = |no_color: Option<&str>, term: Option<&str>, expected| {
            assert_eq!(
                style(no_color.map(OsStr::new), term.map(OsStr::new)),
                expected,
                "{no_color:?} {term:?}"
            );
        };
        check(None, Some("xterm"), Style::Coloured);
        check(Some(""), Some("xterm"), Style::Coloured);
        check(Some("1"), Some("xterm"), Style::Plain);
        check(None, Some("dumb"), Style::Plain);
        check(None, None, Style::Plain);
    }
}
