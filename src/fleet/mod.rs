//! A model of how the instances of a fleet keep the promise of a single one: no cache keeps a page from before a
//! purge, whichever instance accepted the purge and whichever handed out the page. Everything here is pure: moments
//! are arguments, each by the clock of the machine on which the code runs, and no moment of one machine is compared
//! with that of another. `checker/` searches for failures. The program itself follows the same rules in
//! `store/postgres/` and `app/fleet.rs`, but it does not run this code.
//!
//! # The protocol
//!
//! **The log.** Accepted purges have numbers without gaps, in the order in which they become visible, and a random id
//! each. An instance wakes the others after its commit, but that may get lost: the log is what counts, and everyone
//! reads it once a second at least.
//!
//! **Joining** ([`Member`]). An instance inserts its row, synchronously committed, and gets the log's last number.
//! Every purge that is accepted while the row exists waits for the instance. It may have missed all earlier ones, so
//! everything that it requested before the answer came is old to it. If it took part before, purges may still wait for
//! it; they are sent once more when what it has on its way now has arrived.
//!
//! **The window.** A member renews its row every second. It may give long lifetimes until the renewal was *sent* +
//! lease - margin. Counting from the answer would be wrong: the others count from the moment at which the row
//! changed, and a process may be stopped between the two. The check is made where the head of a response is
//! written (`guard/fence.rs`), and by no timer: a process that was stopped for a minute must know it at its first
//! instruction. Outside its window, a member is *fenced*: it goes on proxying, with fallback lifetimes, and what it
//! requested while the window was open gets the guard's.
//!
//! **Applying a purge.** A member applies the log in order. What was requested before the moment at which *this
//! member* learns of a purge is old to it. That is later than the acceptance, so it covers a little too much, and
//! never too little, however wrong the machine's clock is. Then it looks which responses that the purge covers are on
//! their way to a CDN, and acknowledges: it has applied the purge, and it has these follow-ups. Both are one commit,
//! and its position in the log moves only after that. If the answer is lost, it applies the purge once more, and
//! reports the arrival in any case: the lost acknowledgement may have left follow-ups that wait for it. When the
//! responses have arrived, it reports that.
//!
//! **Sending** ([`Barrier`]). The first send waits for all members, but only for a moment: a slow one must not hold
//! it up. What left before a member had applied the purge is sent once more afterwards, because that member may
//! have filled a cache in between. What was on its way is sent once more when it has arrived. The purge is done after
//! the last of these sends.
//!
//! **Members that are gone** ([`Census`]). A member that was killed, stopped or cut off is waited for until nothing of
//! it can reach a cache any more: until its row has not changed for lease + longest response + margin. Whoever watches
//! counts that by its own clock, from when it saw the row. So it matters neither what the database's clock shows nor
//! whether that jumps in a failover. Of a database that was restarted or promoted, the watch begins anew: renewals
//! that were answered may be forgotten there. Only a row that is still as it was seen is removed.
//!
//! **Overstaying.** A member cannot promise how long a client takes to read. So a response with a long lifetime is
//! aborted if it is still on its way when the window has been over for the longest response, or when the member joined
//! anew that long ago: nobody waits for it any more.
//!
//! **A log that lost something.** After a failover without a synchronous standby, the log may end before what a member
//! knows of it, or go on with other entries, which the ids show. A row may be missing although its lease had not
//! ended. The member then purges everything at all sites. Acknowledgements may be lost, too, and that shows nowhere.
//! So a member that is answered by another server than before joins anew.

mod barrier;
mod census;
mod member;

#[cfg(test)]
mod checker;

pub use barrier::Barrier;
pub use census::{Census, Sight};
pub use member::{Asked, Member, Position, Standing, Terms};
