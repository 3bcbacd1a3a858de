//! `make demo`: a real AI workflow on real GitHub webhooks, from the first start to the audit
//! trail, with everything it promises checked. `scripts/demo.sh` builds and starts this.

mod deliver;
mod expect;
mod model;
mod options;
mod progress;
mod report;
mod settle;
mod stage;
mod tamper;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use testkit::example;
use tokio::signal::unix::{SignalKind, signal};

use crate::deliver::Deliveries;
use crate::model::Model;
use crate::options::Options;
use crate::report::Report;
use crate::stage::Stage;

/// The secret that the sender of webhooks and the integration share; made up, as all in here is.
const WEBHOOK_SECRET: &str = "demo-webhook-secret";
const EXAMPLE: &str = "examples/issue-triage";

#[tokio::main]
async fn main() -> ExitCode {
    match demo().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nThe demo failed: {error:?}");
            ExitCode::FAILURE
        }
    }
}

async fn demo() -> Result<()> {
    let options = Options::read()?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;

    let model = tokio::select! {
        model = Model::start(&options) => model?,
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("terminated"),
    };
    let stage = tokio::select! {
        stage = Stage::set(&model) => stage?,
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("terminated"),
    };
    let shown = tokio::select! {
        shown = show(&options, &model, &stage) => shown,
        lost = stage.keep_running() => lost,
        _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted")),
        _ = terminate.recv() => Err(anyhow::anyhow!("terminated")),
    };
    if shown.is_ok() && options.keep {
        println!("\nEverything stays up until Ctrl-C (KEEP=1).");
        tokio::select! {
            lost = stage.keep_running() => lost?,
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
    stage.clear(model, shown).await
}

/// Steps 2 to 7: all that happens while everything is up.
async fn show(options: &Options, model: &Model, stage: &Stage) -> Result<()> {
    step(2, &format!("Applies {EXAMPLE} through the API"));
    let values = [
        ("GITHUB_API_URL", &*stage.github.url()),
        ("GITHUB_TOKEN", stage::GITHUB_TOKEN),
        ("GITHUB_WEBHOOK_SECRET", WEBHOOK_SECRET),
    ];
    let applied = example::apply(&stage.setup, EXAMPLE.as_ref(), &values).await.context(EXAMPLE)?;
    for thing in &applied.things {
        println!("   {thing}");
    }
    println!("   webhooks come in at {}{}", stage.setup.url(), applied.webhook_path);

    let deliveries = Deliveries::read(&options.payloads)?;
    step(3, &format!("Posts {deliveries}"));
    let began = Instant::now();
    let posted = deliveries.post_all(stage, &applied, options, model.window).await?;

    step(4, "Runs them to their ends");
    settle::wait(stage, &applied, posted.accepted).await?;
    println!("   all ended {:.1} s after the first delivery", began.elapsed().as_secs_f64());

    step(5, "What came of it");
    let report = Report::gather(stage, &applied, posted).await?;
    report.print();
    report.check()?;

    step(6, "Proves it from the log");
    expect::replay_verifies(stage).await?;
    expect::audit_verifies(stage).await?;
    expect::audit_exports(stage).await?;

    step(7, "Tampers with copies, and erases a person");
    let (bundle, of_bundle) = tamper::bundle(stage).await?;
    let of_database = tamper::database(stage).await?;
    let (person, count) = deliveries.rarest_sender()?;
    // Whoever looks around afterwards finds something to look at.
    if !options.keep {
        tamper::erase(stage, &bundle, &person, count).await?;
    }
    tamper::print(&of_bundle, &of_database, (!options.keep).then_some(&*person));
    stage.print_next(&applied, options.keep, &person).await;
    Ok(())
}

fn step(number: u8, what: &str) {
    println!("\n{number}. {what}");
}
