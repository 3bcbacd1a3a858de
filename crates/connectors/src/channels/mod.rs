//! The ways to reach people.

pub mod email;
