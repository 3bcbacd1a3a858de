//! What the demo runs on: the world around Everstep, and Everstep, which is started again
//! whenever it dies.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use domain::api_key::Token;
use nix::sys::signal::Signal;
use tempfile::TempDir;
use testkit::api::Client;
use testkit::everstep::{Server, Setup};
use testkit::example::Applied;
use testkit::processes;
use testkit::{github, smtp};
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::model::Model;
use crate::options::Chaos;

/// The token of the GitHub double; it takes any, and the ledger shows which.
pub(crate) const GITHUB_TOKEN: &str = "demo-github-token";
/// How often Everstep may die before the demo gives up.
const DEATHS: u32 = 5;
/// How long it may take until questions are answered whose connections were cut.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// How long it may take until nothing is left.
const CLEAR_LIMIT: Duration = Duration::from_secs(10);

/// Everything that is up.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) mail: smtp::Sink,
    pub(crate) github: github::Stub,
    pub(crate) setup: Setup,
    everstep: Mutex<Server>,
    files: TempDir,
}

impl Stage {
    pub(crate) async fn set(model: &Model) -> Result<Self> {
        // The database's account must get through when root runs this; secrets in it are
        // private on their own.
        let readable = Permissions::from_mode(0o755);
        let mut builder = tempfile::Builder::new();
        let files = builder.prefix("everstep-demo.").permissions(readable).tempdir()?;
        let mail = smtp::Sink::start().await?;
        let github = github::Stub::start(Some(&files.path().join("github.ndjson"))).await?;
        // Comments are reacted to, and GitHub has a bad moment before each reaction.
        github.fail_first("reactions", 503);
        println!("   a mail server at {}", mail.url());
        println!("   a double of GitHub's API at {}", github.url());

        let mut setup = Setup::new(files.path().join("data"))?
            .env("SMTP_URL", &mail.url())
            .env("EVERSTEP_EGRESS_ALLOW", "127.0.0.1/32");
        for (name, value) in &model.env {
            setup = setup.env(name, value);
        }
        let began = Instant::now();
        let everstep = setup.clone().start().await?;
        let took = began.elapsed().as_secs_f64();
        println!("   Everstep at {}, ready in {took:.1} s, its database included", setup.url());
        Ok(Self { mail, github, setup, everstep: Mutex::new(everstep), files })
    }

    /// A client with the admin token, which outlives restarts.
    pub(crate) async fn client(&self) -> Client {
        self.everstep.lock().await.client()
    }

    /// Starts Everstep again whenever it ends; comes back only when that does not help.
    pub(crate) async fn keep_running(&self) -> Result<()> {
        for _ in 0..DEATHS {
            let status = loop {
                if let Some(status) = self.everstep.lock().await.ended()? {
                    break status;
                }
                sleep(Duration::from_millis(50)).await;
            };
            println!("   everstep died ({status}), starting it again");
            let mut everstep = self.everstep.lock().await;
            let token = everstep.dev().token.clone();
            everstep.start_again().await.context("it does not start again")?;
            ensure!(everstep.dev().token == token, "its token changed with the restart");
        }
        anyhow::bail!("everstep died {DEATHS} times")
    }

    /// `kill -9` of a part, in the middle of everything.
    pub(crate) async fn kill(&self, part: Chaos) -> Result<()> {
        let mut everstep = self.everstep.lock().await;
        let (name, pid) = match part {
            Chaos::Everstep => ("everstep", everstep.pid()),
            Chaos::Postgres => {
                ("Postgres", everstep.postgres().context("everstep has no Postgres of its own")?)
            }
        };
        println!("   CHAOS: kill -9 {pid} ({name})");
        match part {
            Chaos::Everstep => everstep.kill(),
            Chaos::Postgres => {
                processes::signal(pid, Signal::SIGKILL);
                Ok(())
            }
        }
    }

    /// Runs the binary on the instance, such as `replay --verify`.
    pub(crate) async fn run(&self, args: &[&str]) -> Result<Output> {
        self.run_on(None, args).await
    }

    /// Runs the binary, on another database if one is named.
    pub(crate) async fn run_on(&self, database: Option<&str>, args: &[&str]) -> Result<Output> {
        let setup = self.setup.clone();
        let setup = database.map_or(setup.clone(), |url| setup.database(url));
        let output = tokio::process::Command::from(setup.command(args)).output();
        output.await.with_context(|| format!("everstep {}", args.join(" ")))
    }

    /// Where the database is, with all rights.
    pub(crate) async fn database_url(&self) -> String {
        self.everstep.lock().await.dev().database_url.clone()
    }

    /// The tenant whose everything is.
    pub(crate) async fn tenant(&self) -> Result<String> {
        let token = Token::parse(&self.everstep.lock().await.dev().token)?;
        Ok(token.tenant.to_string())
    }

    /// A place for a file that goes with everything else.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Waits until questions are answered again.
    pub(crate) async fn wait_until_ready(&self) -> Result<()> {
        let (client, began) = (self.client().await, Instant::now());
        while !client.get("/executions").await.is_ok_and(|answer| answer.status == 200) {
            ensure!(began.elapsed() < READY_LIMIT, "it does not answer any more");
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Lines to try next.
    pub(crate) async fn print_next(&self, applied: &Applied, keep: bool, person: &str) {
        if !keep {
            println!(
                "\nTry next: `make demo KEEP=1` leaves everything up and tells you how to look"
            );
            println!("around; `make dev` starts an Everstep that keeps its data.");
            return;
        }
        let server = self.everstep.lock().await;
        let url = &server.dev().api_url;
        let data = self.setup.data_dir().display();
        let binary = self.setup.binary().display();
        let workflow = &applied.workflow;
        println!("\nTry next, in another terminal:");
        println!("  export EVERSTEP_DATA_DIR={data}");
        println!("  {binary} execution list");
        println!("  {binary} workflow get examples/issue-triage");
        println!("  {binary} replay --verify");
        println!("  {binary} subject erase {person}");
        println!("  TOKEN=$(sed -n 's/.*\"token\": *\"\\([^\"]*\\)\".*/\\1/p' {data}/dev.json)");
        println!("  curl -H \"Authorization: Bearer $TOKEN\" {url}/api/v1/analytics/dashboard");
        println!(
            "  curl -H \"Authorization: Bearer $TOKEN\" '{url}/api/v1/workflows/{workflow}/executions?limit=1'"
        );
        println!("  open {url}/docs");
    }

    /// Stops everything and sees to it that nothing is left. What was shown decides the outcome.
    pub(crate) async fn clear(self, model: Model, shown: Result<()>) -> Result<()> {
        let mut everstep = self.everstep.into_inner();
        let mut started = processes::descendants(std::process::id());
        started.extend(everstep.postgres());
        let log = self.setup.log();
        let stopped = everstep.stop().await;
        model.stop().await?;
        let left = processes::wait_until_gone(&started, CLEAR_LIMIT).await;

        let outcome = shown.and_then(|()| {
            println!("\nEverstep stopped in {:.1} s.", stopped?.as_secs_f64());
            ensure!(left.is_empty(), "processes are left: {left:?}");
            println!("No process is left.");
            Ok(())
        });
        outcome.with_context(|| {
            let kept: PathBuf = self.files.keep();
            format!("{} and what else is in {} may tell more", log.display(), kept.display())
        })
    }
}
