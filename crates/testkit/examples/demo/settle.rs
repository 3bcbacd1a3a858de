//! Waits until every execution has ended.

use std::fmt::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use testkit::api::Client;
use testkit::example::Applied;
use tokio::time::sleep;

use crate::progress::Progress;
use crate::stage::Stage;

/// How long nothing may end before the demo gives up.
const PATIENCE: Duration = Duration::from_mins(3);

/// How many executions have ended, as the dashboard counts them.
pub(crate) async fn ended(client: &Client) -> Result<usize> {
    let dashboard = client.get("/analytics/dashboard").await?.expect(200)?.body;
    let executions = &dashboard["executions"];
    let count = |outcome: &str| executions[outcome].as_u64().context(format!("no {outcome}"));
    let all = count("completed")? + count("faulted")? + count("cancelled")?;
    Ok(usize::try_from(all)?)
}

/// Waits until `wanted` executions have ended; tells why if they do not.
pub(crate) async fn wait(stage: &Stage, applied: &Applied, wanted: usize) -> Result<()> {
    let client = stage.client().await;
    let progress = Progress::new("ended", wanted);
    let mut last = (0, Instant::now());
    loop {
        // While it is being started again there is no answer, which is no reason to give up.
        let done = ended(&client).await.unwrap_or(last.0);
        progress.set(done);
        if done >= wanted {
            progress.finish();
            return Ok(());
        }
        if done != last.0 {
            last = (done, Instant::now());
        }
        if last.1.elapsed() > PATIENCE {
            bail!("{done} of {wanted} ended, then nothing\n{}", reasons(&client, applied).await?);
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// What the executions that have not ended say they wait for.
async fn reasons(client: &Client, applied: &Applied) -> Result<String> {
    let path = format!("/workflows/{}/executions", applied.workflow);
    let mut lines = String::new();
    for execution in client.all(&path).await? {
        let open = matches!(execution["status"].as_str(), Some("running" | "waiting"));
        let Some(id) = execution["id"].as_str().filter(|_| open) else { continue };
        let shown = client.get(&format!("{path}/{id}")).await?.body;
        let why = shown["why"].as_array().into_iter().flatten().map(Value::to_string);
        writeln!(lines, "{id}: {}", why.collect::<Vec<_>>().join(", "))?;
    }
    Ok(lines)
}
