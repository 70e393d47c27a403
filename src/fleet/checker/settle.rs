//! What follows when nothing fails any more: within a bounded time, every accepted purge is done, and the CDN has no
//! copy that is older than it.

use super::rules::Rule;
use super::steps::{Step, Verb};
use super::world::{Process, Response, TERMS, World};
use crate::fleet::Barrier;
use std::rc::Rc;

/// More rounds than it takes to remove a member and to join again.
const ROUNDS: i64 = 2 * (TERMS.lease_ms + TERMS.longest_response_ms + TERMS.margin_ms) + 8;

impl World {
    /// Lets everybody go on who is still there, and returns what is wrong in the end.
    pub fn settled(mut self) -> Option<String> {
        self.faults_left = 0;
        self.setting.is_prompt = true;
        for index in 0..self.peers.len() {
            if self.peers[index].process == Process::Stopped {
                self.step(Step::Resume(index));
            }
            self.step(Step::Heal(index));
        }
        if self.peers.iter().all(|peer| peer.process == Process::Killed) {
            // Somebody starts an instance again.
            let peer = self.new_peer(false);
            self.peers.push(Rc::new(peer));
        }
        for _ in 0..ROUNDS {
            for index in 0..self.peers.len() {
                match self.peers[index].response {
                    Some(Response::Requested { .. }) if self.peers[index].process == Process::Running => {
                        self.step(Step::Head(index));
                    }
                    Some(Response::OnItsWay { .. }) => self.step(Step::Arrive(index)),
                    _ => {}
                }
                self.catch_up(index);
                if self.can_expire(index) {
                    self.step(Step::Expire(index));
                }
            }
            self.send_all();
            self.step(Step::Tick);
        }
        self.failure.take().or_else(|| self.unfinished())
    }

    fn unfinished(&self) -> Option<String> {
        for (number, purge) in self.purges.iter().enumerate().filter(|(_, purge)| purge.is_accepted) {
            match self.database.barriers.get(&number).map(Barrier::is_done) {
                Some(false) => return Some(format!("purge {number} is never done")),
                None if self.is_known(number) && !self.is_repaired(number) => {
                    return Some(format!("purge {number} was accepted and is lost, and nobody noticed"));
                }
                _ => {}
            }
            if self.copy.is_some_and(|copy| copy < purge.version) && self.is_known(number) {
                return Some(format!("the CDN has a copy from before purge {number}"));
            }
        }
        None
    }

    /// Whether a purge is in the log, or known to somebody who lives.
    fn is_known(&self, purge: usize) -> bool {
        let mut living = self.peers.iter().filter(|peer| peer.process != Process::Killed);
        self.database.barriers.contains_key(&purge) || living.any(|peer| peer.knows.contains(&purge))
    }

    /// Whether everything was purged after a purge.
    fn is_repaired(&self, purge: usize) -> bool {
        self.purges[purge..].iter().any(|later| later.is_repair && later.is_accepted)
    }

    fn send_all(&mut self) {
        let purges: Vec<usize> = self.database.barriers.keys().copied().collect();
        for purge in purges {
            while self.database.barriers[&purge].may_leave(true) {
                self.step(Step::Send { purge });
            }
        }
    }

    /// What a member does within a tick, if nothing keeps it from that.
    pub fn catch_up(&mut self, index: usize) {
        if !self.can_talk(index) {
            return;
        }
        self.step(Step::Accept(index));
        self.step(Step::Execute(index));
        self.read(index);
        if self.hold(Rule::RemoveGone) {
            self.step(Step::Remove(index));
        }
        if self.can_tell(index) {
            self.step(Step::Tell(index));
        }
    }

    /// What a member does at the beginning of a tick.
    pub fn renew(&mut self, index: usize) {
        if self.can_talk(index) {
            let verb = if self.peers[index].member.position().is_some() { Verb::Renew } else { Verb::Join };
            self.ask(index, verb);
        }
    }

    fn read(&mut self, index: usize) {
        for _ in 0..=self.database.log.len() {
            let peer = &self.peers[index];
            let is_behind = peer.member.position().is_some_and(|position| position.n != self.head().n);
            if is_behind && (peer.is_woken || self.hold(Rule::Poll)) {
                self.ask(index, Verb::Read);
                self.step(Step::Execute(index));
                self.peer_mut(index).is_woken = true;
            }
        }
    }

    fn ask(&mut self, index: usize, verb: Verb) {
        if self.peers[index].pending.is_none() {
            self.step(Step::Ask(index, verb));
        }
    }
}
