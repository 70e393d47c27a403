//! Bodies are streamed. None is held in memory, and no download waits for another.

use crate::harness::HOST;
use crate::harness::http::{Download, Request};
use crate::harness::nginx::Nginx;
use crate::harness::shim::Shim;
use crate::harness::site::Site;
use crate::harness::{eventually, origin};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

const GIB: u64 = 1 << 30;
const ALLOWED_GROWTH: u64 = 16 << 20;
const PARALLEL: usize = 200;

fn shim_before(origin: SocketAddr) -> Shim {
    Shim::start(Site::www(origin))
}

/// Runs `exchange` a first time to warm up, and then checks how much it adds to the shim's peak memory.
fn check_memory(shim: &Shim, mut exchange: impl FnMut(u64)) {
    exchange(1 << 20);
    let (before, _) = shim.memory();
    exchange(GIB);
    let (_, highest) = shim.memory();
    let growth = highest.saturating_sub(before);
    assert!(growth < ALLOWED_GROWTH, "the shim grew by {} KiB", growth / 1024);
}

#[test]
fn a_download_of_1_gib_passes_without_being_held_in_memory() {
    let nginx = Nginx::start();
    let shim = shim_before(nginx.address);
    check_memory(&shim, |bytes| {
        nginx.publish_zeros("/large.bin", bytes);
        let mut download = Request::get("/large.bin").open(shim.address).unwrap();
        assert_eq!(download.head.header("content-length"), bytes.to_string());
        assert_eq!(io::copy(&mut download, &mut io::sink()).unwrap(), bytes);
    });
}

#[test]
fn an_upload_of_1_gib_passes_without_being_held_in_memory() {
    let origin = origin::serve(|mut exchange| {
        let length = exchange.asked.header("content-length").parse().unwrap();
        let arrived = exchange.swallow(length);
        exchange.answer(200, &[], &arrived.to_string());
    });
    let shim = shim_before(origin);
    check_memory(&shim, |bytes| {
        let mut stream = TcpStream::connect(shim.address).unwrap();
        let head = format!(
            "POST /upload HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: {bytes}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        io::copy(&mut io::repeat(0).take(bytes), &mut stream).unwrap();
        let mut answer = Download::new(io::BufReader::new(stream), false).unwrap();
        let mut arrived = String::new();
        answer.read_to_string(&mut arrived).unwrap();
        assert_eq!(arrived, bytes.to_string());
    });
}

/// A door that opens one time, for all waiting threads.
#[derive(Default)]
struct Door {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Door {
    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    fn wait(&self) {
        let closed = self.open.lock().unwrap();
        drop(self.opened.wait_while(closed, |open| !*open).unwrap());
    }
}

#[test]
fn slow_downloads_do_not_wait_for_each_other() {
    const FIRST: usize = 10_000;
    const REST: usize = 50_000;
    let door = Arc::new(Door::default());
    let slow = door.clone();
    let origin = origin::serve(move |mut exchange| {
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", FIRST + REST);
        exchange.writer.write_all(head.as_bytes()).unwrap();
        exchange.writer.write_all(&[b'a'; FIRST]).unwrap();
        slow.wait();
        exchange.writer.write_all(&[b'b'; REST]).unwrap();
    });
    let shim = shim_before(origin);

    // No download can end before the door opens, and it opens only after all have begun.
    let mut downloads: Vec<Download> =
        (0..PARALLEL).map(|_| Request::get("/slow").open(shim.address).unwrap()).collect();
    for download in &mut downloads {
        let mut first = [0; FIRST];
        download.read_exact(&mut first).unwrap();
        assert_eq!(first, [b'a'; FIRST]);
    }
    door.open();
    for download in &mut downloads {
        let mut rest = Vec::new();
        download.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, [b'b'; REST]);
    }
}

#[test]
fn visitors_who_do_not_read_hold_up_nobody() {
    let nginx = Nginx::start();
    nginx.publish_zeros("/large.bin", 64 << 20);
    let shim = shim_before(nginx.address);
    let unread: Vec<Download> =
        (0..PARALLEL).map(|_| Request::get("/large.bin").open(shim.address).unwrap()).collect();
    for _ in 0..PARALLEL {
        assert_eq!(Request::get("/products/42.html").send(shim.address).text(), "/products/42.html 1");
    }
    drop(unread);
    // The connections of these downloads to nginx end, too.
    eventually("a page after all have gone", || {
        (Request::get("/").send(shim.address).text() == "home 1").then_some(())
    });
}
