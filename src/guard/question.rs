//! The question that a purge asks every worker: which responses that it covers are already in flight, and when
//! will they have arrived?

use crate::rewrite::keys::Key;
use crate::rewrite::{CdnType, CdnTypes};
use std::sync::Arc;
use tokio::sync::mpsc;

/// A purge's question. Each worker answers with one [`Report::Found`]. Before that, it sends a
/// [`Report::Untagged`] for each response found that has none of our tags. A [`Report::Ends`] for each response
/// follows when its end is known. The channel is closed when no more reports will come.
#[derive(Clone, Debug)]
pub struct Question {
    /// The site's number.
    pub site: u32,
    /// Responses generated after this moment are not concerned. In milliseconds since the epoch.
    pub until_ms: i64,
    /// The items of the purge, by job.
    pub jobs: Arc<[JobItems]>,
    /// The channel for the answers.
    pub answers: mpsc::UnboundedSender<Report>,
}

/// A job of a purge, by its position.
pub type Job = usize;

/// The items that concern a response in flight: the job, and the number of the item within the job.
pub type Found = Vec<(Job, u32)>;

/// A worker's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The items that concern responses in flight.
    Found(Found),
    /// A response without our tags is in flight to a CDN of one of these types.
    Untagged(CdnTypes),
    /// One of the responses found has ended. Its last bytes have arrived by this moment, in milliseconds since
    /// the epoch.
    Ends(i64),
}

/// The items of one job.
#[derive(Clone, Debug)]
pub struct JobItems {
    cdn: CdnType,
    /// The items with a key, sorted by key.
    keys: Vec<(Key, u32)>,
    /// Items that concern every response.
    all: Vec<u32>,
    count: u32,
}

impl JobItems {
    /// Collects the items of a job for a CDN of this type. Items without a key concern every response.
    pub fn new(cdn: CdnType, items: impl Iterator<Item = Option<Key>>) -> Self {
        let (mut keys, mut all, mut count) = (Vec::new(), Vec::new(), 0);
        for key in items {
            match key {
                Some(key) => keys.push((key, count)),
                None => all.push(count),
            }
            count += 1;
        }
        keys.sort_unstable();
        Self { cdn, keys, all, count }
    }

    /// Returns whether the job may concern responses for CDNs of these types.
    pub fn concerns(&self, cdns: CdnTypes) -> bool {
        cdns.contains(self.cdn)
    }

    /// Returns the items that concern a response with these keys. Without known keys, every item does.
    pub fn matching<'a>(&'a self, keys: Option<&'a [Key]>) -> impl Iterator<Item = u32> + 'a {
        let every = if keys.is_none() { 0..self.count } else { 0..0 };
        let of_key = |key: &Key| {
            let start = self.keys.partition_point(|(known, _)| known < key);
            let same = self.keys[start..].iter().take_while(move |(known, _)| *known == *key);
            same.map(|(_, item)| *item).collect::<Vec<_>>()
        };
        let all = if keys.is_some() { &self.all[..] } else { &[] };
        let by_key = keys.unwrap_or_default().iter().flat_map(of_key);
        all.iter().copied().chain(by_key).chain(every)
    }

    /// Returns every item.
    pub fn every(&self) -> std::ops::Range<u32> {
        0..self.count
    }
}

/// The questions to one worker.
#[derive(Debug)]
pub struct Inbox(pub(super) mpsc::UnboundedReceiver<Question>);

impl Inbox {
    /// Waits for the next question. Returns `None` when nobody can ask any more.
    pub async fn next(&mut self) -> Option<Question> {
        self.0.recv().await
    }

    /// Returns the next question if one has already arrived.
    pub fn now(&mut self) -> Option<Question> {
        self.0.try_recv().ok()
    }
}
