//! Tests of whole exchanges with an origin that plays a script. No test here waits or depends on time.

mod differential;
mod responses;
mod script;
mod uploads;
