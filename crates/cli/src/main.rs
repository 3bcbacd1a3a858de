//! The only binary: everything that Everstep does, by subcommand.
mod postgres;
fn main() {}
