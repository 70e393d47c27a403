//! Whole exchanges against an origin that plays a script. Nothing here waits or depends on time.

mod differential;
mod responses;
mod script;
mod uploads;
