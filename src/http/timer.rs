//! A worker's clock, set by one sweep per tick, and the tasks that wait for it. There is no timer per request.

use slab::Slab;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// The interval at which a worker sets its clock. Deadlines end no earlier than specified, and at most two ticks
/// later.
pub const TICK: Duration = Duration::from_millis(250);

/// The time at the last tick.
#[derive(Debug)]
pub struct Clock {
    now: Cell<Instant>,
    waiting: RefCell<Slab<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    until: Instant,
    waker: Waker,
}

impl Clock {
    /// Creates a clock that shows `now` until its next tick.
    pub fn new(now: Instant) -> Rc<Self> {
        Rc::new(Self { now: Cell::new(now), waiting: RefCell::default() })
    }

    /// The time, at most one tick ago.
    pub fn now(&self) -> Instant {
        self.now.get()
    }

    /// Whether more than `limit` has certainly passed since the clock showed `since`.
    pub fn is_late(&self, since: Instant, limit: Duration) -> bool {
        self.now.get().saturating_duration_since(since) > limit + TICK
    }

    /// Sets the time, and wakes all tasks whose time is over.
    pub fn tick(&self, now: Instant) {
        self.now.set(now);
        for (_, waiting) in self.waiting.borrow().iter().filter(|(_, waiting)| waiting.until < now) {
            waiting.waker.wake_by_ref();
        }
    }
}

/// A limit on the time until the next part of something that arrives or leaves in parts, such as a body. It costs
/// nothing while no task has to wait.
#[derive(Debug)]
pub struct IdleTimeout {
    clock: Rc<Clock>,
    limit: Duration,
    /// The place among the waiting tasks.
    place: Option<usize>,
}

impl IdleTimeout {
    /// Creates a limit that allows each part this long.
    pub fn new(clock: &Rc<Clock>, limit: Duration) -> Self {
        Self { clock: Rc::clone(clock), limit, place: None }
    }

    /// Creates a limit of another length for the next phase.
    pub fn with_limit(&self, limit: Duration) -> Self {
        Self { clock: Rc::clone(&self.clock), limit, place: None }
    }

    /// Creates the same limit for something else.
    pub fn renewed(&self) -> Self {
        self.with_limit(self.limit)
    }

    /// Restarts the limit because a part has arrived or left.
    pub fn reset(&mut self) {
        if let Some(place) = self.place.take() {
            self.clock.waiting.borrow_mut().remove(place);
        }
    }

    /// Becomes ready when the limit has passed since the first call after the last [`reset`](Self::reset).
    pub fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut all = self.clock.waiting.borrow_mut();
        let now = self.clock.now();
        match self.place.and_then(|place| all.get_mut(place)) {
            None => {
                // One tick is added because the clock may be that much behind.
                let until = now + self.limit + TICK;
                self.place = Some(all.insert(Waiting { until, waker: cx.waker().clone() }));
                Poll::Pending
            }
            Some(waiting) if waiting.until < now => Poll::Ready(()),
            Some(waiting) => {
                waiting.waker.clone_from(cx.waker());
                Poll::Pending
            }
        }
    }
}

impl Drop for IdleTimeout {
    fn drop(&mut self) {
        self.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A reader with a limit of ten seconds.
    struct Case {
        start: Instant,
        clock: Rc<Clock>,
        idle_timeout: IdleTimeout,
        woken: Arc<Woken>,
    }

    impl Case {
        fn new() -> Self {
            let start = Instant::now();
            let clock = Clock::new(start);
            let idle_timeout = IdleTimeout::new(&clock, Duration::from_secs(10));
            Self { start, clock, idle_timeout, woken: Arc::default() }
        }

        fn is_lost(&mut self) -> bool {
            self.idle_timeout
                .poll_expired(&mut Context::from_waker(&Arc::clone(&self.woken).into()))
                .is_ready()
        }

        /// Sets the clock to this time, and returns how often the reader has been woken.
        fn woken_at(&self, millis: u64) -> usize {
            self.clock.tick(self.start + Duration::from_millis(millis));
            self.woken.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn whoever_waits_is_woken_after_the_limit_and_not_before() {
        let mut case = Case::new();
        assert!(!case.is_lost());
        assert_eq!(case.woken_at(10_250), 0);
        assert!(!case.is_lost());
        assert_eq!(case.woken_at(10_251), 1);
        assert!(case.is_lost());
    }

    #[test]
    fn a_part_begins_a_new_limit() {
        let mut case = Case::new();
        assert!(!case.is_lost());
        case.idle_timeout.reset();
        assert_eq!(case.woken_at(20_000), 0);
        assert!(!case.is_lost());
        assert_eq!(case.woken_at(30_000), 0);
        assert!(!case.is_lost());
        assert_eq!(case.woken_at(30_251), 1);
        assert!(case.is_lost());
    }

    #[test]
    fn who_leaves_is_forgotten() {
        let mut case = Case::new();
        assert!(!case.is_lost());
        let Case { clock, idle_timeout, .. } = case;
        drop(idle_timeout);
        assert!(clock.waiting.borrow().is_empty());
    }
}
