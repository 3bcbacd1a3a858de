//! What the benchmarks have in common.

pub mod cost;
pub mod databases;
