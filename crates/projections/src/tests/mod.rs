//! Views on a real Postgres, fed with histories.

mod erasing;
mod folds;
mod history;
mod remembering;
mod replaying;
mod running;
mod story;
mod switching;
mod tenants;
