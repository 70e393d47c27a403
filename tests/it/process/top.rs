//! `origin-shim top`: on a real terminal, which `script` provides, and without one.

use crate::harness::origin::{self, Exchange};
use crate::harness::shim::{Shim, TOKEN, program};
use crate::harness::site::Site;
use serde_json::Value;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;

const ENTER: &str = "\u{1b}[?1049h";
const LEAVE: &str = "\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l";

fn shim() -> Shim {
    let node = origin::serve(|mut exchange: Exchange| {
        exchange.answer(200, &[("x-purged".to_owned(), "1".to_owned())], "");
    });
    let origin = origin::serve(|mut exchange: Exchange| exchange.answer(200, &[], "page"));
    let cdn = format!("type = \"varnish\"\nname = \"edge\"\napi_urls = [\"http://{node}\"]");
    let shim = Shim::start(Site::www(origin).cdn(&cdn));
    shim.wait_until_healthy();
    shim
}

fn top(shim: &Shim, arguments: &[&str]) -> String {
    let mut command = program();
    command.env("ORIGIN_SHIM_TOKEN", TOKEN).arg("top").args(arguments);
    let output = command.arg(format!("--admin=http://{}", shim.admin)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn without_a_terminal_it_is_printed_once() {
    let shim = shim();
    for arguments in [&[][..], &["--once"], &["--site", "www"]] {
        let text = top(&shim, arguments);
        assert!(text.starts_with("www\n  requests  "), "{text}");
        assert!(text.contains("\n  edge      healthy   0 waiting\n"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
    let sites: Value = serde_json::from_str(&top(&shim, &["--json"])).unwrap();
    assert_eq!(sites[0]["site"], "www");
    assert_eq!(sites[0]["cdns"][0]["healthy"], true);
    assert!(sites[0]["now"]["by_decision"]["lengthened"].is_number(), "{sites}");
}

#[test]
fn a_wrong_token_and_a_wrong_site_are_told() {
    let shim = shim();
    for (token, site) in [("not-the-token-of-this-shim", "www"), (TOKEN, "nowhere")] {
        let mut command = program();
        command.env("ORIGIN_SHIM_TOKEN", token).args(["top", "--site", site]);
        let output = command.arg(format!("--admin=http://{}", shim.admin)).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stderr.starts_with(b"error: "), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A terminal in which a command runs.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    output: mpsc::Receiver<Vec<u8>>,
    seen: String,
}

impl Terminal {
    /// Runs `top` on a terminal of 24 rows and then `stty`, which tells in what state the terminal was left.
    fn start(shim: &Shim, environment: &str) -> Self {
        let program = program().get_program().to_str().unwrap().to_owned();
        let line = format!(
            "trap : INT; stty rows 24 cols 70; tty; {environment} '{program}' top --interval 1; echo \"left with $?\"; stty -a"
        );
        let mut child = Command::new("script")
            .args(["-q", "-f", "-e", "-c", &line, "/dev/null"])
            .env("TERM", "xterm")
            .env("SHELL", "/bin/sh")
            .env("ORIGIN_SHIM_TOKEN", TOKEN)
            .env("ORIGIN_SHIM_ADMIN", format!("http://{}", shim.admin))
            .env_remove("NO_COLOR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, output) = mpsc::channel();
        let (keys, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stdout.read(&mut buffer) {
                let _ = sender.send(buffer[..length].to_vec());
            }
        });
        Self { child, keys, output, seen: String::new() }
    }

    /// Waits for a text that was not waited for before; returns all until its end.
    fn wait_for(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.seen.find(text) {
                return self.seen.drain(..at + text.len()).collect();
            }
            let more = self.output.recv_timeout(crate::harness::PATIENCE);
            let more = more.unwrap_or_else(|_| panic!("no {text:?} in {:?}", self.seen));
            self.seen.push_str(&String::from_utf8_lossy(&more));
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// The command has ended with 0, and the terminal is as it was.
    fn must_be_restored(mut self) {
        self.wait_for(LEAVE);
        self.wait_for("left with 0");
        let state = self.wait_for("echoke");
        for setting in [" echo ", " icanon ", "susp = ^Z"] {
            assert!(state.contains(setting), "{setting}: {state}");
        }
        self.child.wait().unwrap();
    }
}

#[test]
fn on_a_terminal_it_lives_until_a_key_or_a_signal() {
    let shim = shim();
    for key in ["q", "\u{3}"] {
        let mut terminal = Terminal::start(&shim, "");
        terminal.wait_for(ENTER);
        let first = terminal.wait_for("\u{1b}[J");
        assert!(first.contains("\u{1b}[1mwww\u{1b}[0m"), "{first:?}");
        assert!(first.contains("\u{1b}[32mhealthy\u{1b}[0m"), "{first:?}");
        // It is drawn anew, by time and not by keys.
        terminal.press("x");
        terminal.wait_for("\u{1b}[J");
        terminal.wait_for("\u{1b}[J");
        terminal.press(key);
        terminal.must_be_restored();
    }
}

#[test]
fn it_fits_a_small_window_and_uses_no_colours_where_none_are_wanted() {
    let shim = shim();
    let mut terminal = Terminal::start(&shim, "NO_COLOR=1");
    let tty = terminal.wait_for("\r\n").trim().to_owned();
    let first = terminal.wait_for("\u{1b}[J");
    assert!(!first.contains("\u{1b}[32m") && !first.contains("more lines"), "{first:?}");
    let resized = Command::new("stty").args(["-F", &tty, "rows", "4"]).status().unwrap();
    assert!(resized.success());
    terminal.wait_for("more lines");
    terminal.press("q");
    terminal.must_be_restored();
}

#[test]
fn it_goes_on_while_the_shim_does_not_answer() {
    let shim = shim();
    let mut terminal = Terminal::start(&shim, "");
    terminal.wait_for("healthy");
    drop(shim);
    terminal.wait_for("last known");
    terminal.press("q");
    terminal.must_be_restored();
}
