//! The number of requests in progress on a connection.

use crate::http::timer::Clock;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

/// The requests of one connection.
#[derive(Debug)]
pub(super) struct Streams {
    clock: Rc<Clock>,
    open: Cell<usize>,
    /// When the last request ended, or when the connection was made.
    idle_since: Cell<Instant>,
}

impl Streams {
    pub(super) fn new(clock: &Rc<Clock>) -> Rc<Self> {
        Rc::new(Self { clock: Rc::clone(clock), open: Cell::new(0), idle_since: Cell::new(clock.now()) })
    }

    /// Returns the number of requests in progress.
    pub(super) fn open(&self) -> usize {
        self.open.get()
    }

    /// Returns since when no request has been in progress, or `None` while there is one.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        (self.open() == 0).then(|| self.idle_since.get())
    }
}

/// A request's place on a connection, held until it is dropped.
#[derive(Debug)]
pub(super) struct Place(Rc<Streams>);

impl Place {
    pub(super) fn take(streams: &Rc<Streams>) -> Self {
        streams.open.set(streams.open.get() + 1);
        Self(Rc::clone(streams))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.idle_since.set(self.0.clock.now());
    }
}
