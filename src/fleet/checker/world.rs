//! The world in which members live: their processes, the database, one page and the CDN that keeps it.

use super::rules::{Rule, Rules};
use crate::fleet::{Asked, Barrier, Census, Member, Position, Sight, Standing, Terms};
use std::collections::BTreeMap;
use std::rc::Rc;
use uuid::Uuid;

/// What is being examined.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub rules: Rules,
    pub members: usize,
    pub purges: usize,
    pub faults: usize,
    /// How many responses are followed. Each may be the one that fails, so one is enough unless they interfere.
    pub responses: usize,
    /// Whether a failover may lose what was committed, because no standby is synchronous.
    pub loses_commits: bool,
    /// Whether members that nothing keeps from it answer within a tick.
    pub is_prompt: bool,
    /// Whether the last member's clock is slow.
    pub is_slow: bool,
}

/// Moments are counted in ticks. Within one, anything may happen any number of times.
pub const TERMS: Terms = Terms { lease_ms: 2, margin_ms: 1, longest_response_ms: 2 };
/// A slow clock loses one tick in so many.
const SLOW: i64 = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    Running,
    Stopped,
    Killed,
}

/// A statement of a member that is not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statement {
    Join,
    Renew,
    /// Reads the log and applies the next entry.
    Read,
    Acknowledge {
        entry: Position,
        purge: usize,
        found: bool,
    },
}

/// An answer that the member has not received yet, because it is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Head(Option<Position>),
    Joined { head: Position, has_all: bool },
    Done,
}

#[derive(Clone, Copy, Debug)]
pub struct Pending {
    pub statement: Statement,
    pub asked: Asked,
    pub answer: Option<Answer>,
}

/// A response, from its request to the last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    /// The origin was asked, and answered with this version. If the guard learns of a purge, the response will not be
    /// kept for long, and is followed no further.
    Requested { version: u8, at: i64 },
    /// The head was written, with a long lifetime. `until`: when the response is aborted, if the member joined
    /// meanwhile.
    OnItsWay { version: u8, until: i64 },
}

impl Response {
    pub fn version(self) -> u8 {
        match self {
            Self::Requested { version, .. } | Self::OnItsWay { version, .. } => version,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Peer {
    pub run: Uuid,
    pub process: Process,
    pub is_cut: bool,
    pub is_slow: bool,
    pub member: Member,
    pub census: Census,
    /// Rows that were seen to be gone, and are about to be removed.
    pub doomed: Vec<Sight>,
    pub pending: Option<Pending>,
    /// A purge that is about to be committed: the purge, and whether something was on its way.
    pub accepting: Option<(usize, bool)>,
    pub is_woken: bool,
    /// The last renewal's answer came at this moment, by its own clock; for the rule that it does not count.
    pub answered: i64,
    /// The purges whose arrival is to be reported.
    pub to_tell: Vec<usize>,
    /// The purges of which an acknowledgement may have been lost.
    pub in_doubt: Vec<usize>,
    pub response: Option<Response>,
    /// The server's term in which it joined.
    pub server: u8,
    /// The purges that the member knows to be accepted.
    pub knows: Vec<usize>,
}

/// A purge that somebody asked for.
#[derive(Clone, Debug)]
pub struct Purge {
    /// Pages of lower versions are from before it.
    pub version: u8,
    pub asked: i64,
    pub is_accepted: bool,
    /// Whether somebody purges everything because the log lost something.
    pub is_repair: bool,
}

/// An entry of the log.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub id: Uuid,
    pub purge: usize,
    /// The run that accepted it.
    pub by: Uuid,
}

/// What the database contains.
#[derive(Clone, Debug, Default)]
pub struct Database {
    /// The entries; the first one has the number 1.
    pub log: Vec<Entry>,
    pub rows: BTreeMap<Uuid, i64>,
    /// What the purges wait for, as long as they are in the log.
    pub barriers: BTreeMap<usize, Barrier>,
}

#[derive(Clone, Debug)]
pub struct World {
    pub setting: Setting,
    pub now: i64,
    pub version: u8,
    pub peers: Vec<Rc<Peer>>,
    pub purges: Vec<Purge>,
    pub database: Rc<Database>,
    /// What a failover keeps.
    pub durable: Rc<Database>,
    /// The server's term of office.
    pub term: u8,
    /// The version of the oldest copy with a long lifetime in the CDN.
    pub copy: Option<u8>,
    pub faults_left: usize,
    pub purges_left: usize,
    pub responses_left: usize,
    pub next_id: u128,
    /// What was found to be wrong.
    pub failure: Option<String>,
}

impl World {
    /// Begins with members that have joined.
    pub fn new(setting: Setting) -> Self {
        let mut world = Self {
            setting,
            now: 0,
            version: 0,
            peers: Vec::new(),
            purges: Vec::new(),
            database: Rc::default(),
            durable: Rc::default(),
            term: 0,
            copy: None,
            faults_left: setting.faults,
            purges_left: setting.purges,
            responses_left: setting.responses,
            next_id: 1,
            failure: None,
        };
        for index in 0..setting.members {
            let is_slow = setting.is_slow && index + 1 == setting.members;
            let peer = world.new_peer(is_slow);
            world.peers.push(Rc::new(peer));
        }
        for index in 0..setting.members {
            let (run, head) = (world.peers[index].run, world.head());
            world.database_mut().rows.insert(run, 0);
            let peer = world.peer_mut(index);
            peer.member.joined(peer.member.ask(0), (head, "0"), true);
            peer.answered = 0;
        }
        world.durable = world.database.clone();
        world.look();
        world
    }

    pub fn new_peer(&mut self, is_slow: bool) -> Peer {
        Peer {
            run: self.id(),
            process: Process::Running,
            is_cut: false,
            is_slow,
            member: Member::new(self.terms()),
            census: Census::default(),
            doomed: Vec::new(),
            pending: None,
            accepting: None,
            is_woken: false,
            answered: 0,
            to_tell: Vec::new(),
            in_doubt: Vec::new(),
            response: None,
            server: 0,
            knows: Vec::new(),
        }
    }

    pub fn peer_mut(&mut self, index: usize) -> &mut Peer {
        Rc::make_mut(&mut self.peers[index])
    }

    pub fn database_mut(&mut self) -> &mut Database {
        Rc::make_mut(&mut self.database)
    }

    pub fn hold(&self, rule: Rule) -> bool {
        self.setting.rules.hold(rule)
    }

    pub fn terms(&self) -> Terms {
        let margin_ms = if self.hold(Rule::Margin) { TERMS.margin_ms } else { 0 };
        let longest_response_ms =
            if self.hold(Rule::LongestResponse) { TERMS.longest_response_ms } else { 0 };
        Terms { margin_ms, longest_response_ms, ..TERMS }
    }

    pub fn id(&mut self) -> Uuid {
        self.next_id += 1;
        Uuid::from_u128(self.next_id)
    }

    /// Where the log ends.
    pub fn head(&self) -> Position {
        self.entry(self.database.log.len())
    }

    /// The entry of this number.
    pub fn entry(&self, n: usize) -> Position {
        let entry = if n == 0 { Uuid::nil() } else { self.database.log[n - 1].id };
        let entry = if self.hold(Rule::EntryIds) { entry } else { Uuid::nil() };
        Position { n: n as i64, entry }
    }

    /// The moment by a member's clock.
    pub fn local(&self, index: usize) -> i64 {
        if self.peers[index].is_slow { self.now - self.now / SLOW } else { self.now }
    }

    pub fn can_talk(&self, index: usize) -> bool {
        self.peers[index].process == Process::Running && !self.peers[index].is_cut
    }

    /// When this member's window ends, by its clock.
    pub fn until(&self, index: usize) -> i64 {
        let peer = &self.peers[index];
        match peer.member.position() {
            Some(_) if !self.hold(Rule::WindowFromSending) => {
                peer.answered + TERMS.lease_ms - self.terms().margin_ms
            }
            _ => peer.member.until_ms(),
        }
    }

    /// Makes what was committed durable, as the next synchronous commit does with all before it.
    pub fn commit(&mut self, is_synchronous: bool) {
        if is_synchronous && !self.setting.loses_commits {
            self.durable = self.database.clone();
        }
    }

    /// Every member that can looks at the rows, which is when it sees them earliest.
    pub fn look(&mut self) {
        let term = if self.hold(Rule::WatchAnew) { self.term } else { 0 };
        let rows: Vec<Sight> =
            self.database.rows.iter().map(|(run, beat)| Sight { run: *run, beat: *beat }).collect();
        let terms = self.terms();
        for index in 0..self.peers.len() {
            if self.can_talk(index) {
                let now = self.local(index);
                let peer = self.peer_mut(index);
                let gone = peer.census.look((now, now), &term.to_string(), &rows, terms);
                for row in gone {
                    if row.run != peer.run && !peer.doomed.contains(&row) {
                        peer.doomed.push(row);
                    }
                }
            }
        }
    }

    /// Records a failure: a copy that is older than a purge that is done, or a false alarm.
    pub fn check(&mut self) {
        let is_done = |purge: &usize| self.database.barriers.get(purge).is_some_and(Barrier::is_done);
        let mut done = (0..self.purges.len()).filter(is_done);
        if let Some(purge) =
            done.find(|purge| self.copy.is_some_and(|copy| copy < self.purges[*purge].version))
        {
            self.failure.get_or_insert(format!("purge {purge} is done, and the CDN has an older copy"));
        }
    }

    /// The member had to learn that the database lost something.
    pub fn lost(&mut self, index: usize, standing: Standing) {
        if standing != Standing::Lost {
            return;
        }
        if !self.setting.loses_commits && self.setting.rules.forbid_alarms() {
            self.failure.get_or_insert(format!("member {index} believes that something was lost"));
        }
        // It purges everything.
        self.version += 1;
        self.purges.push(Purge {
            version: self.version,
            asked: self.now,
            is_accepted: false,
            is_repair: true,
        });
        let (purge, found) = (self.purges.len() - 1, self.learn(index, None));
        self.accept(index, purge, found);
    }

    /// A member learns of a purge, which another one accepted at `accepted`. Returns whether it has something on its
    /// way.
    pub fn learn(&mut self, index: usize, accepted: Option<i64>) -> bool {
        let accepted = accepted.filter(|_| !self.hold(Rule::OwnMoment));
        let makes_old = self.hold(Rule::ApplyMakesOld);
        match self.peers[index].response {
            // By the acceptor's clock, which is late, the request came after the purge.
            Some(Response::Requested { at, .. })
                if makes_old && accepted.is_none_or(|accepted| at + 1 < accepted) =>
            {
                self.peer_mut(index).response = None;
                false
            }
            Some(Response::OnItsWay { .. }) => true,
            _ => false,
        }
    }

    /// Commits a purge.
    pub fn accept(&mut self, index: usize, purge: usize, found: bool) {
        let (id, run) = (self.id(), self.peers[index].run);
        self.database_mut().log.push(Entry { id, purge, by: run });
        let wait = self.hold(Rule::WaitToApply);
        let found = found && self.hold(Rule::TellFollowUps);
        let members = self.database.rows.keys().copied().filter(|_| wait);
        let barrier = Barrier::new(members, run, found);
        self.database_mut().barriers.insert(purge, barrier);
        self.purges[purge].is_accepted = true;
        self.commit(true);
        let head = self.head();
        let peer = self.peer_mut(index);
        peer.member.accepted(head);
        peer.knows.push(purge);
        if found {
            peer.to_tell.push(purge);
        }
        for index in 0..self.peers.len() {
            self.peer_mut(index).is_woken = true;
        }
    }
}
