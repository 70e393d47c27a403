//! F11: nobody reads the log, or its reader is gone. Every change still has an audit line, no visitor waits,
//! and the probes report the problem.

use super::{Cdns, Checker, Client};
use crate::harness::http::Request;
use crate::harness::origin::Page;
use crate::harness::shim::Shim;
use crate::harness::{HOST, PATIENCE, eventually};
use serde_json::Value;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// Wraps `command` so that its log goes into a pipe.
fn into_pipe(command: &Command, pipe: &std::path::Path) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("exec \"$0\" \"$@\" 2> '{}'", pipe.display()));
    shell.arg(command.get_program()).args(command.get_args()).env("ORIGIN_SHIM_LOG_FORMAT", "json");
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

struct Piped {
    cdns: Cdns,
    shim: Shim,
    /// The reading end. It is open for writing, too, which keeps the pipe open while nobody else writes.
    pipe: File,
}

impl Piped {
    fn start() -> Self {
        let page = Page::default();
        page.set(200, &[("cache-control", "max-age=60")], "page");
        let cdns = Cdns::roomy();
        let site = cdns.site(page.serve(), "", "0s");
        let mut shim = Shim::start(format!("[log]\naccess = \"all\"\n{site}"));
        shim.kill();
        let path = shim.config.with_file_name("log.pipe");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let pipe = File::options().read(true).write(true).open(&path).unwrap();
        shim.start_again_as(|command| into_pipe(&command, &path));
        shim.wait_until_healthy();
        Self { cdns, shim, pipe }
    }

    /// Sends this number of requests over one connection. Each must be answered.
    fn visits(&self, count: usize) {
        const AT_ONCE: usize = 50;
        let mut stream = TcpStream::connect(self.shim.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let one = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
        for _ in 0..count.div_ceil(AT_ONCE) {
            stream.write_all(one.repeat(AT_ONCE).as_bytes()).unwrap();
            let (mut text, mut part) = (String::new(), [0; 16_384]);
            while text.matches("HTTP/1.1 200 ").count() < AT_ONCE || !text.ends_with("page") {
                let length = stream.read(&mut part).unwrap();
                assert!(length > 0, "{text}");
                text += std::str::from_utf8(&part[..length]).unwrap();
            }
        }
    }

    fn purge(&self, number: usize) -> (u16, Value) {
        let answer = self.shim.post_purge(&serde_json::json!({ "tags": [format!("tag-{number:06}")] }), &[]);
        (answer.status, answer.json())
    }

    fn metric(&self, name: &str) -> u64 {
        let metrics = Request::get("/metrics").send(self.shim.admin);
        let line = metrics.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name}")).parse::<f64>().unwrap() as u64
    }

    fn complains(&self, of: &str) {
        eventually(of, || {
            let ready = Request::get("/readyz").send(self.shim.admin);
            assert_eq!(ready.status, 200, "{}", ready.text());
            ready.text().contains(of).then_some(())
        });
    }

    fn probes(&self) {
        for target in ["/healthz", "/readyz", "/metrics"] {
            assert_eq!(Request::get(target).send(self.shim.admin).status, 200, "{target}");
        }
    }
}

/// Returns the lines of a pipe as they arrive.
fn lines(mut pipe: File) -> Receiver<Value> {
    let (found, lines) = channel();
    thread::spawn(move || {
        let (mut text, mut part) = (Vec::new(), [0; 65_536]);
        while let Ok(length) = pipe.read(&mut part) {
            text.extend_from_slice(&part[..length]);
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                if found.send(serde_json::from_slice(&line).unwrap()).is_err() {
                    return;
                }
            }
        }
    });
    lines
}

#[test]
fn f11_nothing_is_done_without_an_audit_line_that_nobody_reads() {
    let piped = Piped::start();
    // These requests fill the pipe, and more lines than fit into the queue.
    piped.visits(10_000);
    let dropped = "origin_shim_log_lines_dropped_total";
    assert!(piped.metric(dropped) > 0);
    let (mut accepted, mut number) = (Vec::new(), 0);
    let refused = loop {
        let (status, answer) = piped.purge(number);
        number += 1;
        match status {
            202 => accepted.push(answer["id"].as_str().unwrap().to_owned()),
            _ => break (status, answer),
        }
        assert!(number < 5_000, "it is never full");
    };
    assert_eq!(refused.0, 503, "{}", refused.1);
    assert!(refused.1["detail"].as_str().unwrap().starts_with("Nobody reads the log"), "{}", refused.1);
    piped.complains("nobody reads the log");
    piped.probes();
    piped.visits(100);
    // A caller without a valid token is refused without waiting for the log.
    let wrong = [("authorization", "Bearer of-nobody")];
    let strangers: Vec<_> =
        (0..100).map(|_| Request::get("/v1/sites").headers(&wrong).send(piped.shim.admin).status).collect();
    assert!(strangers.iter().all(|status| [401, 429, 503].contains(status)), "{strangers:?}");
    let pending: Vec<_> = accepted
        .iter()
        .filter(|id| eventually("it ended", || Some(piped.shim.look_up(id)["state"].clone())) != "done")
        .cloned()
        .collect();
    for id in pending {
        eventually("what was accepted is done", || {
            (piped.shim.look_up(&id)["state"] == "done").then_some(())
        });
    }

    // The reader is back. Each accepted purge has its line, in their order, and the refused one has none.
    let lines = lines(piped.pipe.try_clone().unwrap());
    let mut told = Vec::new();
    while told.len() < accepted.len() {
        let line = lines.recv_timeout(PATIENCE).unwrap();
        if line["target"] == "audit" && line["message"] == "purge accepted" {
            told.push(line["purge"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(told, accepted);
    let after = eventually("changes are made again", || match piped.purge(number) {
        (202, answer) => Some(answer["id"].as_str().unwrap().to_owned()),
        _ => None,
    });
    let next = std::iter::from_fn(|| lines.recv_timeout(PATIENCE).ok())
        .find(|line| line["message"] == "purge accepted")
        .unwrap();
    assert_eq!(next["purge"], after, "the purge that was refused has a line");
    eventually("all is well again", || {
        let ready = Request::get("/readyz").send(piped.shim.admin);
        (!ready.text().contains("the log")).then_some(())
    });
    assert_eq!(piped.metric("origin_shim_audit_lines_lost_total"), 0);
    println!(
        "F11: nobody reads: {} purges accepted and done, all with their line, then 503; {} other lines dropped; 10100 \
         visits and all probes answered",
        accepted.len(),
        piped.metric(dropped)
    );
}

#[test]
fn f11_a_closed_log_ends_and_blocks_nothing_and_is_told() {
    let Piped { cdns, shim, pipe } = Piped::start();
    drop(pipe);
    // A placeholder for the closed pipe.
    let pipe = File::open("/dev/null").unwrap();
    let piped = Piped { cdns, shim, pipe };
    let client = Client::of(&piped.shim);
    assert_eq!(client.purges(300), [Some(202); 300]);
    piped.visits(1_000);
    piped.probes();
    piped.complains("the log cannot be written");
    let lost = eventually("all of them are counted", || {
        let lost = piped.metric("origin_shim_audit_lines_lost_total");
        (lost >= 300).then_some(lost)
    });
    assert!(piped.metric("origin_shim_log_lines_dropped_total") >= 1_000);
    let checker = Checker::new(&piped.cdns, &client);
    checker.wait(&piped.shim, PATIENCE);
    println!(
        "F11: closed: 300 of 300 purges accepted and done, {lost} audit lines lost and counted, 1000 visits answered"
    );
}
