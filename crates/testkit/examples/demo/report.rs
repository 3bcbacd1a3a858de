//! What came of it, seen from all sides: the API's, the mail server's, GitHub's.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use comfy_table::{Table, presets};
use serde_json::Value;
use testkit::example::Applied;
use testkit::github::Call;
use testkit::smtp::Message;

use crate::deliver::Posted;
use crate::stage::{GITHUB_TOKEN, Stage};

/// What came of it.
#[derive(Debug)]
pub(crate) struct Report {
    posted: Posted,
    /// Executions by status, from their list.
    executions: BTreeMap<String, usize>,
    /// The analytics service's view.
    dashboard: Value,
    mails: Vec<Message>,
    calls: Vec<Call>,
}

impl Report {
    pub(crate) async fn gather(stage: &Stage, applied: &Applied, posted: Posted) -> Result<Self> {
        let client = stage.client().await;
        let mut executions = BTreeMap::new();
        for execution in client.all(&format!("/workflows/{}/executions", applied.workflow)).await? {
            let status = execution["status"].as_str().context("no status")?;
            *executions.entry(status.to_owned()).or_default() += 1;
        }
        let dashboard = client.get("/analytics/dashboard").await?.expect(200)?.body;
        let (mails, calls) = (stage.mail.messages(), stage.github.calls());
        Ok(Self { posted, executions, dashboard, mails, calls })
    }

    /// E-mails, each counted once: one that was sent again has the same Message-ID.
    fn distinct_mails(&self) -> usize {
        self.mails
            .iter()
            .filter_map(|mail| mail.header("Message-ID"))
            .collect::<BTreeSet<_>>()
            .len()
    }

    /// Calls that were answered with `status`, each counted once: one that was made again has the
    /// same key.
    fn distinct_calls(&self, status: u16) -> usize {
        let answered = self.calls.iter().filter(|call| call.status == status && !call.repeated);
        answered.count()
    }

    fn done_calls(&self) -> usize {
        self.distinct_calls(200) + self.distinct_calls(201)
    }

    /// How often each category stands in the subject of an e-mail.
    fn categories(&self) -> String {
        let mut counts = BTreeMap::<String, BTreeSet<String>>::new();
        for mail in &self.mails {
            let subject = mail.header("Subject").unwrap_or_default();
            let category = subject.rsplit(": ").next().unwrap_or_default().to_owned();
            counts.entry(category).or_default().extend(mail.header("Message-ID"));
        }
        let parts = counts.iter().map(|(category, ids)| format!("{} {category}", ids.len()));
        parts.collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn print(&self) {
        let of = |status: &str| self.executions.get(status).copied().unwrap_or_default();
        let seconds = |which: &str| {
            let milliseconds = self.dashboard["duration_ms"][which].as_f64().unwrap_or_default();
            format!("{:.2} s", milliseconds / 1000.0)
        };
        let tokens = |which: &str| self.dashboard["tokens"][which].as_u64().unwrap_or_default();
        let Posted { accepted, repeated, refused, .. } = self.posted;

        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY);
        table.add_row(row(
            "Deliveries",
            format!("{accepted} accepted, {repeated} repeated, {refused} forged"),
        ));
        table.add_row(row(
            "Executions",
            format!(
                "{} completed, {} faulted, {} cancelled",
                of("completed"),
                of("faulted"),
                of("cancelled")
            ),
        ));
        table.add_row(row("Duration", format!("p50 {}, p95 {}", seconds("p50"), seconds("p95"))));
        table.add_row(row("Tokens", format!("{} in, {} out", tokens("input"), tokens("output"))));
        table.add_row(row("Sorted as", self.categories()));
        table.add_row(row("E-mails", format!("{} received", self.distinct_mails())));
        table.add_row(row(
            "Calls",
            format!(
                "{} done, {} refused with 503 and tried again",
                self.done_calls(),
                self.distinct_calls(503)
            ),
        ));
        println!("{table}");
        let again = self.mails.len() - self.distinct_mails();
        let repeated = self.calls.iter().filter(|call| call.repeated).count();
        if again + repeated > 0 {
            println!("   Outcome unknown at the kill, so sent again with the same key:");
            println!("   {again} e-mails, {repeated} calls. The receivers know them by it.");
        }
    }

    /// Whether all sides tell the same story.
    pub(crate) fn check(&self) -> Result<()> {
        let wanted = self.posted.accepted;
        let executions = BTreeMap::from([("completed".to_owned(), wanted)]);
        ensure!(self.executions == executions, "executions: {:?}", self.executions);
        let completed = &self.dashboard["executions"]["completed"];
        ensure!(*completed == wanted, "the dashboard counts {completed} completed executions");
        let tokens = self.dashboard["tokens"]["output"].as_u64();
        ensure!(tokens.is_some_and(|tokens| tokens > 0), "the dashboard counts no tokens");
        let mails = self.distinct_mails();
        ensure!(mails == wanted, "{mails} e-mails came for {wanted} executions");
        let done = self.done_calls();
        ensure!(done == wanted, "{done} calls were done for {wanted} executions");
        let refused = self.distinct_calls(503);
        ensure!(refused == self.posted.comments, "{refused} calls met a 503");
        let bearer = format!("Bearer {GITHUB_TOKEN}");
        for call in &self.calls {
            ensure!(call.key.is_some(), "a call without a key: {call:?}");
            ensure!(call.authorization.as_ref() == Some(&bearer), "a call without token: {call:?}");
        }
        Ok(())
    }
}

fn row(name: &str, value: String) -> [String; 2] {
    [name.to_owned(), value]
}
