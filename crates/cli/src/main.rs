//! everstep
fn main() {}
