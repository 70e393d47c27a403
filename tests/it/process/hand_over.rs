//! An upgrade on one machine: the new process runs beside the old one, and then takes its place. Visitors send
//! requests all the while, and purges arrive.

use crate::harness::fake_cdn::{FakeCdn, Node};
use crate::harness::http::Request;
use crate::harness::process::Process;
use crate::harness::shim::{Shim, program};
use crate::harness::site::Site;
use crate::harness::{HOST, PATIENCE, eventually, free_address};
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const VISITORS: usize = 8;
const PAUSE: Duration = Duration::from_millis(20);

/// Visitors who keep their connection for as long as possible, and visitors who open one for each request.
struct Visitors {
    stop: Arc<AtomicBool>,
    /// Connections that were reset before the first byte of an answer, and replaced at once, as CDNs do.
    again: Arc<AtomicU32>,
    threads: Vec<JoinHandle<Result<u32, String>>>,
}

impl Visitors {
    fn of(address: SocketAddr) -> Self {
        let (stop, again) = (Arc::<AtomicBool>::default(), Arc::<AtomicU32>::default());
        let threads = (0..VISITORS)
            .map(|number| {
                let (stop, again) = (Arc::clone(&stop), Arc::clone(&again));
                thread::spawn(move || {
                    let mut asked = 0;
                    while !stop.load(Ordering::SeqCst) {
                        asked += visit(address, number % 2 == 0, &stop, &again)?;
                    }
                    Ok(asked)
                })
            })
            .collect();
        Self { stop, again, threads }
    }

    /// How many requests were answered, and how many connections were asked again; a request that failed is the test's
    /// end.
    fn leave(self) -> (u32, u32) {
        self.stop.store(true, Ordering::SeqCst);
        let asked = self.threads.into_iter().map(|thread| thread.join().unwrap().unwrap()).sum();
        (asked, self.again.load(Ordering::SeqCst))
    }
}

/// Sends requests over one connection. Returns the number of answers.
fn visit(address: SocketAddr, keeps: bool, stop: &AtomicBool, again: &AtomicU32) -> Result<u32, String> {
    let connect = || {
        let stream = TcpStream::connect(address).map_err(|error| format!("not connected: {error}"))?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Ok::<_, String>(BufReader::new(stream))
    };
    let mut connection = connect()?;
    let mut asked = 0;
    loop {
        let closes = match ask(&mut connection, keeps) {
            Ok(closes) => closes,
            // The kernel had accepted the connection for a listener that closed (without `tcp_migrate_req`).
            Err(Failed::Unheard(_)) if asked == 0 => {
                again.fetch_add(1, Ordering::SeqCst);
                connection = connect()?;
                ask(&mut connection, keeps).map_err(|failed| format!("asked again: {failed:?}"))?
            }
            Err(failed) => return Err(format!("after {asked} answers: {failed:?}")),
        };
        asked += 1;
        thread::sleep(PAUSE);
        if closes || !keeps || stop.load(Ordering::SeqCst) {
            return Ok(asked);
        }
    }
}

#[derive(Debug)]
enum Failed {
    /// The connection failed before the first byte of an answer.
    Unheard(#[expect(dead_code, reason = "for the message")] String),
    Answer(#[expect(dead_code, reason = "for the message")] String),
}

/// Sends a request. Returns whether the answer is the last one of its connection.
fn ask(connection: &mut BufReader<TcpStream>, keeps: bool) -> Result<bool, Failed> {
    let close = if keeps { "" } else { "connection: close\r\n" };
    let request = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n{close}\r\n");
    let unheard = |error: std::io::Error| Failed::Unheard(error.to_string());
    connection.get_mut().write_all(request.as_bytes()).map_err(unheard)?;
    if connection.fill_buf().map_err(unheard)?.is_empty() {
        return Err(Failed::Unheard("closed".to_owned()));
    }
    let (mut head, mut line) = (String::new(), String::new());
    while line != "\r\n" {
        line.clear();
        if connection.read_line(&mut line).map_err(|error| Failed::Answer(error.to_string()))? == 0 {
            return Err(Failed::Answer(head));
        }
        head += &line;
    }
    let mut body = [0; 4];
    connection.read_exact(&mut body).map_err(|error| Failed::Answer(error.to_string()))?;
    if !head.starts_with("HTTP/1.1 200 ") || body != *b"page" {
        return Err(Failed::Answer(head));
    }
    Ok(!keeps || head.to_ascii_lowercase().contains("\r\nconnection: close\r\n"))
}

/// Whether the kernel gives connections that it accepted for a closing listener to another one.
fn migrates() -> bool {
    std::fs::read_to_string("/proc/sys/net/ipv4/tcp_migrate_req").is_ok_and(|text| text.trim() == "1")
}

fn ready(shim: &Shim) -> serde_json::Value {
    Request::get("/readyz").try_send(shim.admin).map_or(serde_json::Value::Null, |answer| answer.json())
}

struct World {
    node: FakeCdn<Node>,
    shim: Shim,
}

fn world() -> World {
    let page = crate::harness::origin::Page::default();
    page.set(200, &[("cache-control", "max-age=60")], "page");
    let node = FakeCdn::start(Node::default());
    let shim = Shim::start(Site::www(page.serve()).cdn(&node.settings()));
    shim.wait_until_healthy();
    World { node, shim }
}

#[test]
fn r70_an_upgrade_has_no_moment_in_which_nobody_serves() {
    let World { node, mut shim } = world();
    let visitors = Visitors::of(shim.address);
    let lifetime = |shim: &Shim| shim.as_cdn("varnish", "/").header("surrogate-control").to_owned();
    let long = lifetime(&shim);
    assert_eq!(long, "max-age=172800");
    shim.purge(&json!({ "tags": ["before"] }));

    let socket = shim.config.with_file_name("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut successor = shim.successor(&socket);
    let mut message = [0; 512];
    let length = manager.recv(&mut message).unwrap();
    let message = std::str::from_utf8(&message[..length]).unwrap();
    assert!(message.starts_with("READY=1"), "{message}");
    // Both processes serve and report each other. Purges go to the one that has the store. The new process does
    // not see purges, so its responses must not stay cached.
    eventually("the new one serves", || (lifetime(&shim) == "max-age=1").then_some(()));
    let waits = format!("process {} (version {})", successor.id(), env!("CARGO_PKG_VERSION"));
    eventually("the old one knows that another waits", || {
        let ready = ready(&shim);
        assert_eq!(ready["process"]["id"], shim.id());
        ready["degraded"].to_string().contains(&waits).then_some(())
    });
    eventually("the new one names the old one", || {
        successor.output().contains(&format!("other=\"process {} (version", shim.id())).then_some(())
    });
    shim.purge(&json!({ "tags": ["between"] }));

    // Purges continue to arrive while one process takes the place of the other.
    let mut accepted = Vec::new();
    for number in 0..5 {
        accepted.push(shim.accept(&json!({ "tags": [format!("late-{number}")] })));
    }
    shim.stop();
    let mut refused = 0;
    eventually("the new one has taken over", || {
        match shim.try_accept(&json!({ "tags": [format!("during-{}", accepted.len())] })) {
            Some(id) => accepted.push(id),
            None => refused += 1,
        }
        let ready = ready(&shim);
        (ready["process"]["id"] == successor.id() && ready["degraded"] == json!([])).then_some(())
    });
    shim.wait_until_ended();
    assert_eq!(shim.purge(&json!({ "tags": ["after"] }))["state"], "done");
    for id in &accepted {
        eventually("what either accepted is done", || (shim.look_up(id)["state"] == "done").then_some(()));
    }
    let purged: String =
        node.calls().iter().map(|call| format!("{:?}", call.headers.get_all("xkey-purge"))).collect();
    for tag in ["before", "between", "after", "late-0", "late-4"] {
        assert!(purged.contains(tag), "{tag} in {purged}");
    }
    eventually("lifetimes are long again", || (lifetime(&shim) == long).then_some(()));

    let (asked, again) = visitors.leave();
    assert!(!migrates() || again == 0, "{again} connections were reset, though the kernel hands them over");
    assert_eq!(successor.terminate().code(), Some(0), "{}", successor.output());
    println!(
        "an upgrade: {asked} requests, none failed, {again} asked again; {} purges accepted and done, {refused} refused",
        accepted.len() + 3
    );
}

/// Two processes do not share a port by mistake.
#[test]
fn r70_a_second_process_serves_beside_the_first_only_where_it_is_told_to() {
    let World { shim, node: _node } = world();
    let dir = tempfile::tempdir().unwrap();
    let refused = |arguments: &[&str], config: &std::path::Path| {
        let mut command = program();
        command.arg("serve").arg("--config").arg(config).args(arguments);
        let mut process = Process::start("second", command, dir.path());
        let status = process.wait_until_ended();
        assert_eq!(status.code(), Some(1));
        assert!(process.output().to_lowercase().contains("address already in use"), "{}", process.output());
    };
    refused(&[], &shim.config);
    // The visitors' port alone is never shared, whatever the arguments, because the process that has it uses
    // another admin address.
    let other = dir.path().join("other.toml");
    let text = std::fs::read_to_string(&shim.config).unwrap();
    std::fs::write(&other, text.replace(&shim.admin.to_string(), &free_address().to_string())).unwrap();
    refused(&[], &other);
    refused(&["--take-over"], &other);
    assert_eq!(ready(&shim)["degraded"], json!([]));
    for _ in 0..20 {
        assert_eq!(Request::get("/").send(shim.address).status, 200);
    }
}

/// A unit may always start the program with `--take-over`.
#[test]
fn r70_who_is_to_take_over_and_finds_nobody_just_starts() {
    let World { mut shim, node: _node } = world();
    shim.kill();
    shim.start_again_as(|mut command| {
        command.arg("--take-over");
        command
    });
    shim.wait_until_healthy();
    shim.purge(&json!({ "tags": ["alone"] }));
    // The place of a killed process is free at once.
    let socket = shim.config.with_file_name("notify");
    let _manager = UnixDatagram::bind(&socket).unwrap();
    let mut successor = shim.successor(&socket);
    eventually("it waits", || successor.output().contains("beside another process").then_some(()));
    shim.kill();
    eventually("it has taken over", || (ready(&shim)["process"]["id"] == successor.id()).then_some(()));
    shim.wait_until_healthy();
    shim.purge(&json!({ "tags": ["killed"] }));
    assert_eq!(successor.terminate().code(), Some(0));
}
