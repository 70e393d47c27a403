//! Searches for histories in which the protocol fails: a copy from before a purge that lives in the CDN after the
//! purge is done, or a purge that is never done. All decisions are those of [`super::Member`], [`super::Barrier`] and
//! [`super::Census`]; around them is a world of processes that are killed, stopped and cut off, of a database that
//! fails over, and of pages that are requested at the worst moment.
//!
//! Of two members, two purges and two faults, all histories are examined; of more, random ones. For each rule of the
//! protocol, a test leaves it out, and has to find a failure.

mod explore;
mod key;
mod left_out;
mod random;
mod rules;
mod settle;
mod steps;
mod world;
