//! Sends the webhooks, as an impatient GitHub would: some twice, one forged, all until answered.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use reqwest::Method;
use serde_json::Value;
use testkit::api::{Answer, Client};
use testkit::example::Applied;
use testkit::github::{Delivery, payloads};
use tokio::time::sleep;

use crate::WEBHOOK_SECRET;
use crate::options::Options;
use crate::progress::Progress;
use crate::settle::ended;
use crate::stage::Stage;

const EVENTS: [&str; 3] = ["issues", "pull_request", "issue_comment"];
/// Every so manieth delivery comes twice.
const TWICE: usize = 8;
/// How long a delivery is tried while nobody answers.
const PATIENCE: Duration = Duration::from_mins(1);

/// What is to be delivered.
pub(crate) struct Deliveries(Vec<Delivery>);

/// What became of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Posted {
    /// Deliveries, each counted once.
    pub(crate) accepted: usize,
    /// Those that were accepted although they repeat another; they must not run again.
    pub(crate) repeated: usize,
    /// Those whose signature was wrong.
    pub(crate) refused: usize,
    /// How many of them were comments on issues.
    pub(crate) comments: usize,
}

impl fmt::Display for Deliveries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |event: &str| self.0.iter().filter(|delivery| delivery.event == event).count();
        let [issues, pulls, comments] = EVENTS.map(count);
        write!(f, "real webhooks: {issues} issues, {pulls} pull requests, {comments} comments")
    }
}

impl Deliveries {
    pub(crate) fn read(index: &Path) -> Result<Self> {
        let deliveries = payloads(index, &EVENTS)?;
        for event in EVENTS {
            let there = deliveries.iter().any(|delivery| delivery.event == event);
            ensure!(there, "{} has no payloads of `{event}`", index.display());
        }
        Ok(Self(deliveries))
    }

    /// Who sent the fewest, and how many: the integration names them as whom the data is about.
    pub(crate) fn rarest_sender(&self) -> Result<(String, usize)> {
        let mut counts = BTreeMap::<String, usize>::new();
        for delivery in &self.0 {
            let body: Value = serde_json::from_str(&delivery.body)?;
            let login = body["sender"]["login"].as_str().context("a delivery without sender")?;
            *counts.entry(login.to_owned()).or_default() += 1;
        }
        counts.into_iter().min_by_key(|(_, count)| *count).context("nothing was delivered")
    }

    /// Posts all of them, with at most `window` executions under way.
    pub(crate) async fn post_all(
        &self,
        stage: &Stage,
        applied: &Applied,
        options: &Options,
        window: usize,
    ) -> Result<Posted> {
        let sender = Sender { client: stage.client().await, path: applied.webhook_path.clone() };
        let total = self.0.len();
        let progress = Progress::new("delivered", total);
        let comments = self.0.iter().filter(|delivery| delivery.event == "issue_comment").count();
        let mut posted = Posted { accepted: 0, repeated: 0, refused: 0, comments };
        for (number, delivery) in self.0.iter().enumerate() {
            sender.wait_for_room(posted.accepted, window).await?;
            sender.post(delivery).await?;
            posted.accepted += 1;
            progress.set(posted.accepted);
            if number % TWICE == 0 {
                sender.post_again(delivery).await?;
                posted.repeated += 1;
            }
            if posted.accepted == total / 2 {
                sender.forge(delivery).await?;
                posted.refused += 1;
                if let Some(part) = options.chaos {
                    stage.kill(part).await?;
                }
            }
        }
        progress.finish();
        println!("   {} of them sent twice, and one forged: refused with 401", posted.repeated);
        Ok(posted)
    }
}

/// Somebody who sends webhooks.
struct Sender {
    client: Client,
    path: String,
}

impl Sender {
    /// Waits until fewer than `window` of the executions that `accepted` deliveries started run.
    async fn wait_for_room(&self, accepted: usize, window: usize) -> Result<()> {
        let began = Instant::now();
        loop {
            let running = ended(&self.client).await.map(|ended| accepted.saturating_sub(ended));
            if running.is_ok_and(|running| running < window) {
                return Ok(());
            }
            ensure!(began.elapsed() < 3 * PATIENCE, "no execution ended for a long time");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Delivers, again and again until there is an answer. One that was lost may have arrived, so
    /// that a second attempt may be a duplicate.
    async fn post(&self, delivery: &Delivery) -> Result<()> {
        let (answer, attempts) = self.until_answered(delivery, WEBHOOK_SECRET).await?;
        match (answer.status, answer.body["status"].as_str()) {
            (202, Some("accepted")) => Ok(()),
            (200, Some("duplicate")) if attempts > 1 => Ok(()),
            _ => bail!("{} {} was answered {answer:?}", delivery.event, delivery.id),
        }
    }

    async fn post_again(&self, delivery: &Delivery) -> Result<()> {
        let (answer, _) = self.until_answered(delivery, WEBHOOK_SECRET).await?;
        let status = answer.expect(200)?.body["status"].clone();
        ensure!(status == "duplicate", "the same delivery again was answered {status}");
        Ok(())
    }

    /// Somebody who does not know the secret pretends to be GitHub.
    async fn forge(&self, delivery: &Delivery) -> Result<()> {
        let forged = Delivery::new(&delivery.event, "forged", &delivery.body);
        let (answer, _) = self.until_answered(&forged, "not the secret").await?;
        let code = answer.expect(401)?.body["code"].clone();
        ensure!(code == "webhook_signature_invalid", "a forged delivery was answered {code}");
        Ok(())
    }

    /// The answer, and how many attempts it took.
    async fn until_answered(&self, delivery: &Delivery, secret: &str) -> Result<(Answer, u32)> {
        let began = Instant::now();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let request = self.client.at_root(Method::POST, &self.path);
            let request = delivery.sign(request, secret).timeout(Duration::from_secs(10));
            let answer = self.client.send(request).await;
            match answer {
                Ok(answer) if answer.status < 500 => return Ok((answer, attempts)),
                Ok(_) | Err(_) if began.elapsed() < PATIENCE => {
                    sleep(Duration::from_millis(200)).await;
                }
                Ok(answer) => return Ok((answer, attempts)),
                Err(error) => return Err(error).context("nobody takes the webhook"),
            }
        }
    }
}
