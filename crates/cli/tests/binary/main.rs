//! The binary itself, as people and scripts use it: what it prints where, and its exit codes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod api;
mod audit;
mod database;
mod dev;
mod journey;
mod messages;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The binary with these arguments, in an environment that configures nothing.
fn everstep(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_everstep"));
    command.env_clear().args(args).current_dir("/").stdin(Stdio::null());
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

/// What became of a command that ends by itself.
#[derive(Debug)]
struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Ended {
    fn of(command: &mut Command) -> Self {
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: status.code().unwrap_or(-1), out: text(stdout), err: text(stderr) }
    }

    #[track_caller]
    fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

fn run(args: &[&str]) -> Ended {
    Ended::of(&mut everstep(args))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
