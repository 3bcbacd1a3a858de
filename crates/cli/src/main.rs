//! The only binary: everything that Everstep does, by subcommand.
mod config;
mod data_dir;
mod postgres;
fn main() {}
