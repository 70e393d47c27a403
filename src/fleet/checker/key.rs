//! What tells one state of the world from another: moments only by how long ago they are, and ids not at all.

use super::rules::Rule;
use super::world::{Answer, Database, Peer, Pending, Process, Response, Statement, TERMS, World};
use crate::fleet::{Position, Sight};
use std::hash::{DefaultHasher, Hasher};
use uuid::Uuid;

impl World {
    /// Returns a number that is the same for states from which the same may follow.
    pub fn key(&self) -> u64 {
        let order: Vec<usize> = (0..self.peers.len()).collect();
        let is_symmetric = self.peers.len() == 2 && !self.setting.is_slow;
        let mirrored = if is_symmetric { self.key_in(&[1, 0]) } else { u64::MAX };
        self.key_in(&order).min(mirrored)
    }

    /// The same, with the members in this order.
    fn key_in(&self, order: &[usize]) -> u64 {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend([self.version, self.copy.map_or(0xff, |copy| copy)]);
        bytes.extend([self.faults_left as u8, self.purges_left as u8, self.responses_left as u8]);
        if self.peers.iter().any(|peer| peer.is_slow) {
            bytes.push((self.now % 8) as u8);
        }
        for purge in &self.purges {
            bytes.push(u8::from(purge.is_accepted));
        }
        for index in order {
            self.peer(*index, order, &mut bytes);
        }
        self.of_database(&self.database, order, &mut bytes);
        // What a failover keeps differs only after commits that are not synchronous.
        if self.faults_left > 0 {
            self.of_database(&self.durable, order, &mut bytes);
        }
        let mut hasher = DefaultHasher::new();
        hasher.write(&bytes);
        hasher.finish()
    }

    fn name(&self, run: Uuid, order: &[usize]) -> u8 {
        order.iter().position(|index| self.peers[*index].run == run).map_or(0xfe, |place| place as u8)
    }

    fn of_database(&self, database: &Database, order: &[usize], bytes: &mut Vec<u8>) {
        bytes.push(0xd0);
        for entry in &database.log {
            bytes.extend([entry.purge as u8, self.name(entry.by, order)]);
        }
        bytes.push(0xd1);
        for index in order {
            let run = self.peers[*index].run;
            // Only whether a renewal would be forgotten matters.
            let row = database.rows.get(&run);
            bytes.push(row.map_or(2, |beat| u8::from(self.database.rows.get(&run) == Some(beat))));
        }
        for (purge, barrier) in &database.barriers {
            let awaited: u8 = barrier.awaited().map(|run| 1 << self.name(run, order).min(7)).sum();
            bytes.extend([*purge as u8, awaited]);
            for index in order {
                bytes.push(u8::from(barrier.is_under_way(self.peers[*index].run)));
            }
            bytes
                .extend([barrier.may_leave(true), barrier.may_leave(false), barrier.is_done()].map(u8::from));
        }
    }

    fn peer(&self, index: usize, order: &[usize], bytes: &mut Vec<u8>) {
        let peer = &self.peers[index];
        let now = self.local(index);
        bytes.push(match peer.process {
            Process::Running => 0,
            Process::Stopped => 1,
            Process::Killed => 2,
        });
        bytes.extend([peer.is_cut, peer.is_woken && !self.hold(Rule::Poll)].map(u8::from));
        let age = |moment: i64| {
            (now.saturating_sub(moment)).clamp(0, TERMS.lease_ms + TERMS.longest_response_ms + 1) as u8
        };
        bytes.push(peer.member.position().map_or(0xff, |Position { n, .. }| n as u8));
        bytes.push(u8::from(peer.server == self.term));
        // The lease is counted from the same moment as the window.
        bytes.push(age(peer.member.until_ms().saturating_sub(TERMS.lease_ms)));
        if !self.hold(Rule::WindowFromSending) {
            bytes.push(age(peer.answered));
        }
        self.sights(peer, now, order, bytes);
        self.pending(peer, &age, bytes);
        let accepting = peer.accepting.map_or(0xff, |(purge, found)| purge as u8 * 2 + u8::from(found));
        bytes.push(accepting);
        let set = |purges: &[usize]| purges.iter().fold(0, |set, purge| set | 1u8 << purge.min(&7));
        bytes.extend([set(&peer.to_tell), set(&peer.in_doubt)]);
        match peer.response {
            None => bytes.push(0xff),
            Some(Response::OnItsWay { version, until }) => {
                bytes.extend([0x40 + version, (until - now).clamp(0, TERMS.longest_response_ms + 1) as u8]);
            }
            Some(Response::Requested { version, at }) => {
                let matters = !self.hold(Rule::OwnMoment);
                let age = if matters { (self.now - at).min(2) } else { 0 };
                bytes.extend([0x80 + version, age as u8]);
            }
        }
    }

    fn sights(&self, peer: &Peer, now: i64, order: &[usize], bytes: &mut Vec<u8>) {
        for other in order.iter().map(|index| self.peers[*index].run).filter(|run| *run != peer.run) {
            let row = self.database.rows.get(&other).map(|beat| Sight { run: other, beat: *beat });
            let age = row.and_then(|row| peer.census.age_ms(row, now));
            bytes.push(age.map_or(0xff, |age| age.min(self.terms().gone_after_ms()) as u8));
        }
        for row in &peer.doomed {
            let is_same = self.database.rows.get(&row.run) == Some(&row.beat);
            bytes.extend([0xdd, self.name(row.run, order), u8::from(is_same)]);
        }
    }

    fn pending(&self, peer: &Peer, age: &dyn Fn(i64) -> u8, bytes: &mut Vec<u8>) {
        let Some(Pending { statement, asked, answer }) = peer.pending else { return bytes.push(0xff) };
        match statement {
            Statement::Join => bytes.push(1),
            Statement::Renew => bytes.push(2),
            Statement::Read => bytes.push(3),
            Statement::Acknowledge { entry, found, .. } => {
                bytes.extend([4, entry.n as u8, u8::from(found)]);
            }
        }
        if matches!(statement, Statement::Join | Statement::Renew) {
            bytes.push(age(asked.at_ms));
        }
        bytes.push(match answer {
            None => 0xff,
            Some(Answer::Done) => 0xfe,
            Some(Answer::Joined { head, .. }) => head.n as u8,
            Some(Answer::Head(head)) => head.map_or(0xfd, |head| head.n as u8),
        });
    }
}
