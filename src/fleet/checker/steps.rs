//! What may happen next.

use super::rules::Rule;
use super::world::{Answer, Peer, Pending, Process, Purge, Response, Statement, TERMS, World};
use crate::fleet::{Asked, Barrier, Position, Standing};

/// Something that happens. Numbers are those of members, unless they are called purges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Time passes.
    Tick,
    /// A page is requested, and the origin answers.
    Request(usize),
    /// The head of the response is written.
    Head(usize),
    /// The last byte of the response arrives, and the CDN keeps it.
    Arrive(usize),
    /// A new version is published: the guard learns of the purge, and its commit is on its way.
    Publish(usize),
    /// The purge is committed.
    Accept(usize),
    /// A statement is sent.
    Begin(usize, Verb),
    /// A statement is sent, executed and answered.
    Ask(usize, Verb),
    /// The statement is executed and answered, if somebody is there to hear it.
    Execute(usize),
    /// The arrival of what was on its way is reported.
    Tell(usize),
    /// A row is removed that was seen to be gone.
    Remove(usize),
    /// Nothing of a run without a row is on its way any more: what waits for it waits for a limited time.
    Expire(usize),
    /// A purge is sent to the CDN.
    Send {
        purge: usize,
    },
    Fault(Fault),
    /// A stopped process goes on.
    Resume(usize),
    /// A member can reach the database again.
    Heal(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Join,
    Renew,
    Read,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Kill(usize),
    /// The process is stopped, perhaps when it has just sent a statement.
    Stop {
        member: usize,
        asks: Option<Verb>,
    },
    /// Statements under way are lost, before or after they are executed.
    Cut {
        member: usize,
        asks: Option<Verb>,
        executes: bool,
    },
    /// The primary is replaced by its standby.
    Failover,
    /// A notification gets lost.
    Unheard(usize),
}

impl World {
    /// Everything that may happen now. If no response can fail any more, nothing needs to.
    pub fn steps(&self) -> Vec<Step> {
        let may_fail = |version: u8| version < self.version || self.purges_left > 0;
        let versions = self.peers.iter().filter_map(|peer| peer.response.map(Response::version));
        if self.responses_left == 0 && !versions.chain(self.copy).any(may_fail) {
            return Vec::new();
        }
        let mut steps = vec![Step::Tick];
        for index in 0..self.peers.len() {
            self.steps_of(index, &mut steps);
        }
        let sendable = self.database.barriers.iter().filter(|(_, barrier)| barrier.may_leave(true));
        steps.extend(sendable.map(|(purge, _)| Step::Send { purge: *purge }));
        if self.faults_left > 0 {
            self.faults(&mut steps);
        }
        steps
    }

    fn steps_of(&self, index: usize, steps: &mut Vec<Step>) {
        let peer = &self.peers[index];
        match peer.response {
            Some(Response::OnItsWay { .. }) => steps.push(Step::Arrive(index)),
            Some(Response::Requested { .. }) if peer.process == Process::Running => {
                steps.push(Step::Head(index));
            }
            None if peer.process == Process::Running && self.responses_left > 0 && self.purges_left > 0 => {
                steps.push(Step::Request(index));
            }
            _ => {}
        }
        let is_executable = !peer.is_cut && peer.pending.is_some_and(|pending| pending.answer.is_none());
        if is_executable && peer.process != Process::Killed {
            steps.push(Step::Execute(index));
        }
        if peer.accepting.is_some() && !peer.is_cut && peer.process != Process::Killed {
            steps.push(Step::Accept(index));
        }
        if self.can_expire(index) {
            steps.push(Step::Expire(index));
        }
        match peer.process {
            Process::Stopped => steps.push(Step::Resume(index)),
            Process::Running if peer.is_cut => steps.push(Step::Heal(index)),
            Process::Running => {
                if self.purges_left > 0 && peer.accepting.is_none() {
                    steps.push(Step::Publish(index));
                }
                if peer.pending.is_none() {
                    // Only if something goes wrong meanwhile, it matters how long a statement takes.
                    let step = if self.setting.is_prompt { Step::Ask } else { Step::Begin };
                    steps.extend(self.verbs(index).map(|verb| step(index, verb)));
                }
                if self.can_tell(index) {
                    steps.push(Step::Tell(index));
                }
                if !peer.doomed.is_empty() {
                    steps.push(Step::Remove(index));
                }
            }
            Process::Killed => {}
        }
    }

    /// What a member may ask next. It need not ask for anything that brings nothing new.
    fn verbs(&self, index: usize) -> impl Iterator<Item = Verb> + use<> {
        let peer = &self.peers[index];
        let verbs = match peer.member.position() {
            None => [Some(Verb::Join), None],
            Some(position) => {
                let full = self.local(index) + TERMS.lease_ms - self.terms().margin_ms;
                let is_stale = peer.member.until_ms() < full;
                let is_behind = position.n != self.head().n;
                [is_stale.then_some(Verb::Renew), is_behind.then_some(Verb::Read)]
            }
        };
        verbs.into_iter().flatten()
    }

    /// Whether something waits for a run that has no row, and that has nothing on its way.
    pub fn can_expire(&self, index: usize) -> bool {
        let Peer { run, response, .. } = &*self.peers[index];
        let is_on_its_way = matches!(response, Some(Response::OnItsWay { .. }));
        let waits = |barrier: &Barrier| barrier.awaited().any(|awaited| awaited == *run);
        self.hold(Rule::WaitLimited)
            && !is_on_its_way
            && !self.database.rows.contains_key(run)
            && self.database.barriers.values().any(waits)
    }

    pub fn can_tell(&self, index: usize) -> bool {
        let peer = &self.peers[index];
        !peer.to_tell.is_empty() && !matches!(peer.response, Some(Response::OnItsWay { .. }))
    }

    fn faults(&self, steps: &mut Vec<Step>) {
        for (index, peer) in self.peers.iter().enumerate() {
            if peer.process == Process::Killed {
                continue;
            }
            let mut add = |fault| steps.push(Step::Fault(fault));
            add(Fault::Kill(index));
            let is_running = peer.process == Process::Running;
            let can_ask = is_running && peer.pending.is_none() && !peer.is_cut;
            let is_member = peer.member.position().is_some();
            let asks = can_ask.then_some(if is_member { Verb::Renew } else { Verb::Join });
            if is_running {
                add(Fault::Stop { member: index, asks: None });
            }
            if is_running && asks.is_some() {
                add(Fault::Stop { member: index, asks });
            }
            if !peer.is_cut {
                add(Fault::Cut { member: index, asks: None, executes: false });
                if peer.pending.is_some() || peer.accepting.is_some() {
                    add(Fault::Cut { member: index, asks: None, executes: true });
                } else if asks == Some(Verb::Join) {
                    add(Fault::Cut { member: index, asks, executes: true });
                }
            }
            if peer.is_woken {
                steps.push(Step::Fault(Fault::Unheard(index)));
            }
        }
        steps.push(Step::Fault(Fault::Failover));
    }

    /// Lets something happen.
    pub fn step(&mut self, step: Step) {
        match step {
            Step::Tick => self.tick(),
            Step::Request(index) => {
                let at = self.now;
                self.responses_left -= 1;
                let version = self.version;
                self.peer_mut(index).response = Some(Response::Requested { version, at });
            }
            Step::Head(index) => self.write_head(index),
            Step::Arrive(index) => self.arrive(index),
            Step::Publish(index) => {
                self.version += 1;
                self.purges_left -= 1;
                self.purges.push(Purge {
                    version: self.version,
                    asked: self.now,
                    is_accepted: false,
                    is_repair: false,
                });
                let found = self.learn(index, None);
                self.peer_mut(index).accepting = Some((self.purges.len() - 1, found));
            }
            Step::Accept(index) => {
                if let Some((purge, found)) = self.peer_mut(index).accepting.take() {
                    self.accept(index, purge, found);
                }
            }
            Step::Begin(index, verb) => self.begin(index, verb),
            Step::Ask(index, verb) => {
                self.begin(index, verb);
                self.execute(index);
            }
            Step::Execute(index) => self.execute(index),
            Step::Tell(index) => self.tell(index),
            Step::Remove(index) => self.remove(index),
            Step::Expire(index) => {
                let run = self.peers[index].run;
                self.database_mut().barriers.values_mut().for_each(|barrier| barrier.gone(run));
            }
            Step::Send { purge } => {
                if let Some(barrier) = self.database_mut().barriers.get_mut(&purge) {
                    barrier.leaves();
                }
                self.copy = None;
                self.commit(true);
            }
            Step::Fault(fault) => self.fail(fault),
            Step::Resume(index) => {
                self.peer_mut(index).process = Process::Running;
                self.hear(index);
                self.look();
            }
            Step::Heal(index) => {
                self.peer_mut(index).is_cut = false;
                self.look();
            }
        }
        self.check();
    }

    fn tick(&mut self) {
        if self.setting.is_prompt {
            (0..self.peers.len()).for_each(|index| self.catch_up(index));
        }
        self.now += 1;
        if self.setting.loses_commits {
            // A standby that nobody waits for is not far behind.
            self.durable = self.database.clone();
        }
        if self.setting.is_prompt {
            (0..self.peers.len()).for_each(|index| self.renew(index));
        }
        for index in 0..self.peers.len() {
            let peer = &self.peers[index];
            let Some(Response::OnItsWay { until, .. }) = peer.response else { continue };
            let ends = self.until(index).saturating_add(TERMS.longest_response_ms).min(until);
            let overstays = self.local(index) > ends;
            // Of a process that has ended, the kernel hands out what it has got, and no more.
            let is_aborted = peer.process == Process::Killed || self.hold(Rule::AbortOverstaying);
            if overstays && is_aborted {
                self.peer_mut(index).response = None;
            }
        }
        self.look();
    }

    fn write_head(&mut self, index: usize) {
        let is_fenced = self.hold(Rule::Fence) && self.local(index) >= self.until(index);
        let peer = self.peer_mut(index);
        peer.response = match peer.response {
            Some(Response::Requested { version, .. }) if !is_fenced => {
                Some(Response::OnItsWay { version, until: i64::MAX })
            }
            // A copy that is kept for a moment does not matter.
            _ => None,
        };
    }

    fn arrive(&mut self, index: usize) {
        if let Some(Response::OnItsWay { version, .. }) = self.peer_mut(index).response.take() {
            self.copy = Some(self.copy.map_or(version, |copy| copy.min(version)));
        }
    }

    fn begin(&mut self, index: usize, verb: Verb) {
        let asked = self.peers[index].member.ask(self.local(index));
        let statement = match verb {
            Verb::Join => Statement::Join,
            Verb::Renew => Statement::Renew,
            Verb::Read => Statement::Read,
        };
        self.peer_mut(index).is_woken &= verb != Verb::Read;
        self.peer_mut(index).pending = Some(Pending { statement, asked, answer: None });
    }

    fn execute(&mut self, index: usize) {
        let run = self.peers[index].run;
        let Some(Pending { statement, asked, .. }) = self.peers[index].pending else { return };
        let answer = match statement {
            Statement::Join => {
                let anew = if self.hold(Rule::FreshBeat) { self.now * 1_000 + 1 } else { 0 };
                let beat = self.database.rows.get(&run).map_or(anew, |beat| beat + 1);
                self.database_mut().rows.insert(run, beat);
                if self.hold(Rule::JoinReleases) {
                    self.database_mut().barriers.values_mut().for_each(|barrier| barrier.applied(run, true));
                }
                self.commit(self.hold(Rule::DurableJoin));
                let has =
                    |entry: &Position| entry.n <= self.head().n && self.entry(entry.n as usize) == *entry;
                let has_all = asked.sought(&self.peers[index].member).iter().all(has);
                Answer::Joined { head: self.head(), has_all }
            }
            Statement::Renew => {
                let row = self.database_mut().rows.get_mut(&run);
                let is_there = row.map(|beat| *beat += 1).is_some();
                Answer::Head(is_there.then(|| self.head()))
            }
            // Nothing changes, so it is as if it were executed when it is answered.
            Statement::Read => Answer::Done,
            Statement::Acknowledge { purge, found, .. } => {
                let again_if_late = self.hold(Rule::AgainIfLate);
                if let Some(barrier) = self.database_mut().barriers.get_mut(&purge) {
                    acknowledge(barrier, run, found, again_if_late);
                }
                Answer::Done
            }
        };
        if let Some(pending) = &mut self.peer_mut(index).pending {
            pending.answer = Some(answer);
        }
        self.look();
        if self.peers[index].process == Process::Running {
            self.hear(index);
        }
    }

    /// A member receives its answer.
    fn hear(&mut self, index: usize) {
        let Some(Pending { statement, asked, answer: Some(answer) }) = self.peers[index].pending else {
            return;
        };
        self.peer_mut(index).pending = None;
        let (now, is_noticed) = (self.local(index), self.hold(Rule::NoticeLoss));
        let (run, moves) = (self.peers[index].run, self.hold(Rule::JoinIfMoved));
        let term = if moves { self.term } else { 0 };
        match (statement, answer) {
            (Statement::Join, Answer::Joined { head, has_all }) => {
                let makes_old = self.hold(Rule::JoinMakesOld);
                let peer = self.peer_mut(index);
                peer.answered = now;
                peer.server = term;
                let is_known = peer.member.joined(asked, (head, &term.to_string()), has_all);
                match &mut peer.response {
                    Some(Response::Requested { .. }) if makes_old => peer.response = None,
                    Some(Response::OnItsWay { until, .. }) => *until = now + TERMS.longest_response_ms,
                    _ => {}
                }
                // What was doubtful is told now, too.
                peer.in_doubt.clear();
                let barriers = self.database.barriers.iter();
                let waiting = barriers.filter(|(_, barrier)| barrier.is_under_way(run));
                let to_tell: Vec<usize> = waiting.map(|(purge, _)| *purge).collect();
                self.peer_mut(index).to_tell.extend(to_tell);
                if !is_known && is_noticed {
                    self.lost(index, Standing::Lost);
                }
            }
            (Statement::Renew, Answer::Head(head)) => {
                let polls = self.hold(Rule::Poll);
                let peer = self.peer_mut(index);
                let before = peer.member.clone();
                let server = term.to_string();
                let mut standing = peer.member.renewed(asked, now, head.map(|head| (head, &*server)));
                if let (Standing::Lost, Some(head), false) = (standing, head, is_noticed) {
                    peer.member = before;
                    peer.member.joined(asked, (head, &server), true);
                    standing = Standing::Member { is_behind: false };
                }
                peer.answered = now;
                peer.is_woken |= polls && standing == Standing::Member { is_behind: true };
                self.lost(index, standing);
            }
            (Statement::Read, _) => self.apply_next(index, asked),
            (Statement::Acknowledge { entry, purge, found }, _) => {
                let is_first = self.hold(Rule::AcknowledgeFirst);
                let peer = self.peer_mut(index);
                if is_first {
                    peer.member.applied(entry);
                }
                peer.knows.push(purge);
                if found || peer.in_doubt.contains(&purge) {
                    peer.to_tell.push(purge);
                }
                peer.in_doubt.retain(|doubted| *doubted != purge);
            }
            (Statement::Join | Statement::Renew, _) => {}
        }
    }

    /// Applies the next entry of the log that is not the member's own.
    fn apply_next(&mut self, index: usize, asked: Asked) {
        let Some(Position { n, .. }) = self.peers[index].member.position() else { return };
        let entries: Vec<Position> =
            (n.min(self.head().n)..=self.head().n).map(|n| self.entry(n as usize)).collect();
        let is_noticed = self.hold(Rule::NoticeLoss);
        if !self.peer_mut(index).member.follows(entries.iter().copied()) {
            if is_noticed {
                return self.lost(index, Standing::Lost);
            }
            let (head, server) = (self.head(), self.peers[index].server.to_string());
            self.peer_mut(index).member.joined(asked, (head, &server), true);
            return;
        }
        for position in entries.into_iter().filter(|entry| entry.n > n) {
            let entry = self.database.log[position.n as usize - 1];
            if entry.by == self.peers[index].run {
                self.peer_mut(index).member.applied(position);
                continue;
            }
            let accepted = self.purges[entry.purge].asked;
            let found = self.learn(index, Some(accepted)) && self.hold(Rule::TellFollowUps);
            let is_first = self.hold(Rule::AcknowledgeFirst);
            let peer = self.peer_mut(index);
            if !is_first {
                peer.member.applied(position);
            }
            let statement = Statement::Acknowledge { entry: position, purge: entry.purge, found };
            peer.pending = Some(Pending { statement, asked, answer: None });
            return;
        }
    }

    fn tell(&mut self, index: usize) {
        let run = self.peers[index].run;
        for purge in std::mem::take(&mut self.peer_mut(index).to_tell) {
            if let Some(barrier) = self.database_mut().barriers.get_mut(&purge) {
                barrier.arrived(run);
            }
        }
        self.commit(true);
    }

    fn remove(&mut self, index: usize) {
        let as_seen = self.hold(Rule::RemoveAsSeen);
        if self.peers[index].doomed.is_empty() {
            return;
        }
        for row in std::mem::take(&mut self.peer_mut(index).doomed) {
            let is_same = self.database.rows.get(&row.run) == Some(&row.beat);
            if (is_same || !as_seen) && self.database_mut().rows.remove(&row.run).is_some() {
                self.database_mut().barriers.values_mut().for_each(|barrier| barrier.gone(row.run));
            }
        }
        self.commit(true);
        self.look();
    }

    fn fail(&mut self, fault: Fault) {
        self.faults_left -= 1;
        match fault {
            Fault::Kill(index) => {
                self.peer_mut(index).process = Process::Killed;
                self.peer_mut(index).pending = None;
                self.peer_mut(index).accepting = None;
                if matches!(self.peers[index].response, Some(Response::Requested { .. })) {
                    self.peer_mut(index).response = None;
                }
            }
            Fault::Stop { member, asks } => {
                asks.into_iter().for_each(|verb| self.begin(member, verb));
                self.peer_mut(member).process = Process::Stopped;
            }
            Fault::Cut { member, asks, executes } => {
                asks.into_iter().for_each(|verb| self.begin(member, verb));
                self.disconnect(member, executes);
                self.peer_mut(member).is_cut = true;
            }
            Fault::Failover => {
                for index in 0..self.peers.len() {
                    self.disconnect(index, false);
                }
                self.database = self.durable.clone();
                self.term += 1;
                self.look();
            }
            Fault::Unheard(index) => self.peer_mut(index).is_woken = false,
        }
    }

    /// A member's connections break. What is under way is executed before, or not at all.
    fn disconnect(&mut self, index: usize, executes: bool) {
        if executes {
            if let Some((purge, found)) = self.peers[index].accepting {
                self.accept(index, purge, found);
                // Nobody tells the member.
                self.peer_mut(index).knows.retain(|known| *known != purge);
            }
            let process = std::mem::replace(&mut self.peer_mut(index).process, Process::Stopped);
            if self.peers[index].pending.is_some_and(|pending| pending.answer.is_none()) {
                self.execute(index);
            }
            self.peer_mut(index).process = process;
        }
        let tells = self.hold(Rule::TellAfterLostAnswer);
        let peer = self.peer_mut(index);
        if let Some(Pending { statement: Statement::Acknowledge { purge, .. }, .. }) = peer.pending
            && tells
            && !peer.in_doubt.contains(&purge)
        {
            peer.in_doubt.push(purge);
        }
        // Whether the purge was accepted is not known either, so its arrival is reported in any case.
        peer.to_tell.extend(peer.accepting.take().filter(|_| tells).map(|(purge, _)| purge));
        peer.pending = None;
        peer.doomed.clear();
    }
}

fn acknowledge(barrier: &mut Barrier, run: uuid::Uuid, found: bool, again_if_late: bool) {
    if again_if_late || found || barrier.may_leave(true) {
        barrier.applied(run, found);
    } else {
        // What left counts for this member, too.
        barrier.applied(run, false);
        if barrier.may_leave(false) {
            barrier.leaves();
        }
    }
}
