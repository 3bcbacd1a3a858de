//! How workflows run: documents in, answers and timers by hand, events and outputs out.

mod calls;
mod cancel;
mod data;
mod errors;
mod fork;
mod invariants;
mod keys;
mod kit;
mod limits;
mod random;
mod retry;
mod run;
mod timeouts;

use run::{Run, broken, failure, start, unknown};
