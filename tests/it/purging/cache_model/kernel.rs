//! The send queue of a connection: the bytes that the shim's kernel was given, and those that the edge has
//! read.

use origin_shim::guard::in_flight::outlet::{Queue, Sent};
use std::cell::Cell;
use std::rc::Rc;

#[derive(Debug)]
pub struct Kernel {
    clock: Rc<Cell<i64>>,
    /// For the fault: whether bytes leave as soon as they are given.
    lies: bool,
    given: Cell<u64>,
    taken: Cell<u64>,
    heard_ms: Cell<i64>,
    over: Cell<bool>,
}

impl Kernel {
    pub fn new(clock: &Rc<Cell<i64>>, lies: bool) -> Self {
        let heard_ms = Cell::new(clock.get());
        let (given, taken, over) = (Cell::new(0), Cell::new(0), Cell::new(false));
        Self { clock: Rc::clone(clock), lies, given, taken, heard_ms, over }
    }

    pub fn give(&self, bytes: u64) {
        self.given.set(self.given.get() + bytes);
        if self.lies {
            self.take_all();
        }
    }

    pub fn take_all(&self) {
        self.taken.set(self.given.get());
        self.heard_ms.set(self.clock.get());
    }

    pub fn abort(&self) {
        self.over.set(true);
    }
}

impl Queue for Kernel {
    fn given(&self) -> u64 {
        self.given.get()
    }

    fn ask(&self) -> Option<Sent> {
        let quiet_ms = self.clock.get() - self.heard_ms.get();
        Some(Sent { acknowledged: self.taken.get(), quiet_ms, over: self.over.get() })
    }

    fn finish(&self) {}

    fn close(&self, _aborted: bool) {
        self.over.set(true);
    }
}
