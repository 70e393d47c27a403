//! The question that a purge asks of every worker: which responses that it covers are on their way already, and when will
//! they have arrived?

use crate::rewrite::keys::Key;
use crate::rewrite::{CdnType, CdnTypes};
use std::sync::Arc;
use tokio::sync::mpsc;

/// The question. Workers answer with one [`Report::Found`], before that with a [`Report::Untagged`] for each response found that
/// has none of our tags, and with a [`Report::Ends`] for each one when it is known. The channel is closed when nothing more will come.
#[derive(Clone, Debug)]
pub struct Question {
    /// The site's number.
    pub site: u32,
    /// What was generated later is not meant; milliseconds since the epoch.
    pub until_ms: i64,
    /// What the purge purges, by job.
    pub jobs: Arc<[JobItems]>,
    /// Where the answers go.
    pub answers: mpsc::UnboundedSender<Report>,
}

/// A job of a purge by its place.
pub type Job = usize;

/// The items that concern a response: job, and number of the item within the job.
pub type Found = Vec<(Job, u32)>;

/// A worker's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// These items concern responses on their way.
    Found(Found),
    /// A response without our tags is on its way to a CDN of one of these types.
    Untagged(CdnTypes),
    /// One of these responses has ended; by then, in milliseconds since the epoch, its last bytes have arrived.
    Ends(i64),
}

/// What one job purges.
#[derive(Clone, Debug)]
pub struct JobItems {
    cdn: CdnType,
    /// By key.
    keys: Vec<(Key, u32)>,
    /// Items that concern every response.
    all: Vec<u32>,
    count: u32,
}

impl JobItems {
    /// The items of a job for a CDN of this type; those without a key concern every response.
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

    /// Whether responses for CDNs of these types may be meant.
    pub fn concerns(&self, cdns: CdnTypes) -> bool {
        cdns.contains(self.cdn)
    }

    /// The items that concern a response with these keys, of which not all may be known.
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

    /// Every item.
    pub fn every(&self) -> std::ops::Range<u32> {
        0..self.count
    }
}

/// The questions to one worker.
#[derive(Debug)]
pub struct Inbox(pub(super) mpsc::UnboundedReceiver<Question>);

impl Inbox {
    /// The next question; none when nobody will ask any more.
    pub async fn next(&mut self) -> Option<Question> {
        self.0.recv().await
    }

    /// The next question if it is there already.
    pub fn now(&mut self) -> Option<Question> {
        self.0.try_recv().ok()
    }
}
