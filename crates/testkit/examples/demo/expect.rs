//! What the log alone must prove: the read models come out of it again, and so does the audit
//! trail.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::time::timeout;

use crate::stage::Stage;

/// How long the notary may need on a busy machine.
const SEALED_WITHIN: Duration = Duration::from_secs(20);

/// `everstep replay --verify`: all read models, rebuilt beside the live ones, are identical.
pub(crate) async fn replay_verifies(stage: &Stage) -> Result<()> {
    println!("   $ everstep replay --verify");
    let output = stage.run(&["replay", "--verify"]).await?;
    let said = [&*output.stdout, &*output.stderr].map(String::from_utf8_lossy).concat();
    for line in said.lines() {
        println!("     {line}");
    }
    ensure!(output.status.success(), "replay --verify ended with {}", output.status);
    Ok(())
}

/// `everstep audit verify --live`: every event is what was sealed, a second after the last one at
/// the latest.
pub(crate) async fn audit_verifies(stage: &Stage) -> Result<()> {
    println!("   $ everstep audit verify --live");
    let sealed = async {
        loop {
            let output = stage.run(&["audit", "verify", "--live", "--output", "json"]).await?;
            let complaint = String::from_utf8_lossy(&output.stderr);
            ensure!(
                output.status.success(),
                "audit verify ended with {}: {complaint}",
                output.status
            );
            let said: Value = serde_json::from_slice(&output.stdout).context("audit verify")?;
            if said["unsealed"] == 0 {
                return Ok(said);
            }
        }
    };
    let said =
        timeout(SEALED_WITHIN, sealed).await.context("the end of the log is not sealed")??;
    let (events, checkpoints) = (&said["events"], &said["checkpoints"]);
    println!(
        "     {events} events are what was sealed, {checkpoints} signed checkpoints are right"
    );
    Ok(())
}

/// `everstep audit export`: every line one of `CloudEvents` 1.0, no id twice.
pub(crate) async fn audit_exports(stage: &Stage) -> Result<()> {
    println!("   $ everstep audit export");
    let output = stage.run(&["audit", "export"]).await?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "audit export ended with {}: {complaint}", output.status);
    let text = String::from_utf8(output.stdout).context("audit export is not UTF-8")?;
    let mut ids = BTreeSet::new();
    let mut types = BTreeMap::<String, usize>::new();
    for line in text.lines() {
        let event: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let attribute = |name: &str| {
            let value = event[name].as_str().filter(|value| !value.is_empty());
            value.with_context(|| format!("{name} is missing: {line}"))
        };
        ensure!(attribute("specversion")? == "1.0", "not CloudEvents 1.0: {line}");
        attribute("source")?;
        *types.entry(attribute("type")?.to_owned()).or_default() += 1;
        ensure!(ids.insert(attribute("id")?.to_owned()), "an id comes twice: {line}");
    }
    ensure!(!ids.is_empty(), "audit export wrote nothing");
    println!("     {} events, each a CloudEvent 1.0, no id twice:", ids.len());
    for (kind, count) in types {
        println!("     {count:>6} {kind}");
    }
    Ok(())
}
