//! Other event stores, as the programs that `bench/peers/install.sh` makes.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::process::Command;

use crate::load::Ran;

/// The programs; what each of them is says bench/peers/README.md.
pub(crate) const PEERS: [&str; 5] =
    ["emmett", "message-db", "eventsourcing", "postgres-es", "disintegrate"];

/// Runs a peer.
pub(crate) async fn run(
    directory: &Path,
    peer: &str,
    url: &str,
    operation: &str,
    (callers, long): (u64, Duration),
) -> Result<Ran> {
    let output = Command::new(directory.join("bin").join(peer))
        .args(["--url", url, "--op", operation])
        .args(["--callers", &callers.to_string(), "--seconds", &long.as_secs().to_string()])
        .stdin(Stdio::null())
        .output()
        .await
        .with_context(|| format!("starting {peer}"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{peer} ended with {}: {complaint}", output.status);
    let said: Value = serde_json::from_slice(&output.stdout).context("what it printed")?;
    Ok(Ran {
        events: said["events"].as_u64().context("events")?,
        seconds: said["seconds"].as_f64().context("seconds")?,
        p50: said["p50_ms"].as_f64(),
        p99: said["p99_ms"].as_f64(),
    })
}
