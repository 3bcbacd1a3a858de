//! What the journeys share: an instance of the real binary on a database of its own, a client
//! that sees what it did, and another system for it to call.

mod api;
mod database;
mod stub;
mod world;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

pub(crate) use api::{Api, ok};
pub(crate) use database::Database;
pub(crate) use stub::{Call, Stub};
pub(crate) use world::World;

/// How long anything may take that is waited for, on a machine that does much else.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Looks again and again until there is something to see, and fails if there never is.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "this never came: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace")
}

/// A file beside the project, of the material that it is built from. If it is not there this is
/// said past the test runner, which hides what tests say that pass.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let file = root().parent()?.join("shared").join(path);
    if file.exists() {
        return Some(file);
    }
    let line = format!("SKIPPED, NOT TESTED: {} is not there\n", file.display());
    std::io::stderr().write_all(line.as_bytes()).expect("standard error");
    None
}
