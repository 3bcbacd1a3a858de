//! The whole platform under faults: the real binary on a Postgres of its own, callers of two tenants
//! over HTTP, and in the end what every reader was told, the read models against a second fold of
//! the log, and the audit.

mod callers;
mod checks;
mod crashes;
mod ledger;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use domain::api_key::{Access, ApiKey, Command as Change, Token};
use domain::{Actor, Id, Tenant};
use eventstore::{Clock, Metadata, PgEventStore, Request, Role};
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sqlx::Connection;
use tempfile::TempDir;
use testkit::api::Client;
use testkit::everstep::{Server, Setup};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::check::{Invariant, Violation};
use crate::cluster::Cluster;
use crate::proxy::Proxy;
use crate::report::{self, TOLD};
use crate::world::open;
pub(crate) use crashes::run as crash;
use ledger::{Ledger, Noted};

/// How many callers a tenant has.
const CALLERS: usize = 3;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// F1, F2: the process is killed: its API, its engine, its projectors.
    KillEverstep,
    /// F17: the process is asked to stop, and another is started.
    StopEverstep,
    /// F3: Postgres is killed, and the process has to live on.
    KillPostgres,
    /// F4: Postgres is stopped, and the process has to live on.
    RestartPostgres,
    /// All read models are rebuilt while they are read.
    Rebuild,
    /// A rebuild is killed on its way.
    KillRebuild,
}

/// All of them.
const ALL: [Fault; 6] = [
    Fault::KillEverstep,
    Fault::StopEverstep,
    Fault::KillPostgres,
    Fault::RestartPostgres,
    Fault::Rebuild,
    Fault::KillRebuild,
];

/// What is checked.
const INVARIANTS: [Invariant; 7] = [
    Invariant::I1,
    Invariant::I2,
    Invariant::I8,
    Invariant::I9,
    Invariant::I16,
    Invariant::I18,
    Invariant::I20,
];

impl Fault {
    /// Its number in docs/reliability.md; rebuilds are no faults and have none.
    fn number(self) -> &'static str {
        match self {
            Self::KillEverstep => "F1, F2",
            Self::StopEverstep => "F17",
            Self::KillPostgres => "F3",
            Self::RestartPostgres => "F4",
            Self::Rebuild | Self::KillRebuild => "–",
        }
    }
}

/// A bug on purpose.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bug {
    /// How it is called.
    pub(crate) name: &'static str,
    /// Plants it in the private database.
    sql: &'static str,
    /// What must be found broken.
    pub(crate) breaks: Invariant,
}

/// All of them.
pub(crate) const BUGS: [Bug; 3] = [
    Bug {
        name: "`now()` in a projection",
        sql: "CREATE FUNCTION rm.torture() RETURNS trigger LANGUAGE plpgsql AS
              'BEGIN NEW.started_at := clock_timestamp(); RETURN NEW; END';
              CREATE TRIGGER torture BEFORE INSERT ON rm.executions
              FOR EACH ROW EXECUTE FUNCTION rm.torture()",
        breaks: Invariant::I8,
    },
    // What a crash between the two transactions of such a projector leaves behind: its checkpoint.
    Bug {
        name: "checkpoint before rows",
        sql: "CREATE FUNCTION rm.torture() RETURNS trigger LANGUAGE plpgsql AS
              'BEGIN IF random() < 0.02 THEN RETURN NULL; END IF; RETURN NEW; END';
              CREATE TRIGGER torture BEFORE INSERT ON rm.executions
              FOR EACH ROW EXECUTE FUNCTION rm.torture()",
        breaks: Invariant::I8,
    },
    // What such a query would show. Without the filter alone, or without the row policies alone,
    // nothing is to be seen: the other stands in the way.
    Bug {
        name: "query without tenant filter",
        sql: "CREATE FUNCTION rm.torture() RETURNS trigger LANGUAGE plpgsql AS
              'DECLARE theirs rm.workflows; BEGIN
                  FOR theirs IN SELECT * FROM rm.workflows WHERE tenant <> NEW.tenant LOOP
                      theirs.tenant := NEW.tenant;
                      INSERT INTO rm.workflows SELECT theirs.*;
                  END LOOP;
                  RETURN NEW;
              END';
              CREATE TRIGGER torture AFTER INSERT ON rm.workflows
              FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION rm.torture()",
        breaks: Invariant::I18,
    },
];

/// What a round came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// How many commands were accepted.
    pub(crate) accepted: usize,
    /// How many requests had no answer that says anything.
    pub(crate) unknown: usize,
    /// How many answers were read and checked.
    pub(crate) read: usize,
    /// What happened.
    pub(crate) faults: BTreeMap<Fault, u32>,
    /// What was broken.
    pub(crate) violations: Vec<Violation>,
}

impl Outcome {
    /// What was broken, each once.
    pub(crate) fn broken(&self) -> Vec<Invariant> {
        let broken: BTreeSet<_> = self.violations.iter().map(|found| found.invariant).collect();
        broken.into_iter().collect()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { accepted, unknown, read, faults, violations } = self;
        let (faults, broken): (u32, _) = (faults.values().sum(), violations.len());
        write!(
            out,
            "{accepted} executions, {read} answers read, {unknown} requests without answer, {faults} \
             faults, {broken} violations"
        )?;
        for Violation { invariant, what } in violations.iter().take(TOLD) {
            write!(out, "\n  {invariant}: {what}")?;
        }
        Ok(())
    }
}

/// Rounds without bugs until the time is over; whether every promise was kept.
pub(crate) async fn run(minutes: f64, length: u64, seed: u64) -> Result<bool> {
    let (began, mut rounds) = (Instant::now(), vec![]);
    for seed in seed.. {
        let done = round(seed, None, Duration::from_secs(length)).await?;
        println!("seed {seed}: {done}");
        rounds.push(done);
        if began.elapsed().as_secs_f64() >= minutes * 60.0 {
            break;
        }
    }
    let faults = rounds.iter().flat_map(|round| &round.faults);
    let faults = faults.map(|(fault, count)| (format!("{} {fault:?}", fault.number()), *count));
    let broken: Vec<_> = rounds.iter().map(Outcome::broken).collect();
    print!("\n{}", report::tables(faults, &INVARIANTS, &broken));
    let promised = |round: &Outcome| round.accepted > 0 && round.read > 0;
    Ok(rounds.iter().all(|round| round.violations.is_empty() && promised(round)))
}

/// A tenant that has published the workflow.
#[derive(Debug, Clone)]
struct User {
    client: Client,
    workflow: String,
}

struct Platform {
    server: Server,
    /// Between the server and Postgres.
    door: Proxy,
    /// Between rebuilds and Postgres.
    side_door: Proxy,
    cluster: Cluster,
    tenants: Vec<User>,
    found: Vec<Violation>,
    _home: TempDir,
}

/// Callers at work.
struct Load {
    go_on: watch::Sender<bool>,
    callers: JoinSet<Noted>,
}

/// One round: load, faults one after another, healing, and the checks.
pub(crate) async fn round(seed: u64, bug: Option<&Bug>, length: Duration) -> Result<Outcome> {
    let mut platform = Platform::make(bug).await?;
    let mut random = StdRng::seed_from_u64(seed);
    let load = platform.load(&mut random, 5..60);
    let faults = platform.suffer(&mut random, bug, length).await?;
    platform.end(load, faults).await
}

impl Platform {
    async fn make(bug: Option<&Bug>) -> Result<Self> {
        let home = tempfile::tempdir()?;
        open(home.path())?;
        let postgres = home.path().join("pg");
        std::fs::create_dir(&postgres)?;
        let cluster = Cluster::make(&postgres, &[]).await?;
        let setup = Setup::new(home.path().join("data"))?;
        let (door, side_door) =
            (Proxy::start(cluster.port()).await?, Proxy::start(cluster.port()).await?);
        let server = setup.database(&Cluster::url(door.port())).start().await?;
        if let Some(bug) = bug {
            let mut db = cluster.connect().await?;
            sqlx::raw_sql(bug.sql).execute(&mut db).await.context("planting a bug")?;
            db.close().await?;
        }
        let (first, url) = (server.client(), server.dev().api_url.clone());
        let other = Client::new(url, Some(another_tenant(&cluster).await?));
        let mut tenants = vec![];
        for client in [first, other] {
            let made = client.post_document("/workflows", callers::ECHO).await?.expect(201)?;
            let workflow = made.body["id"].as_str().context("no id")?.to_owned();
            tenants.push(User { client, workflow });
        }
        Ok(Self { server, door, side_door, cluster, tenants, found: vec![], _home: home })
    }

    /// Puts callers to work, who pause so many milliseconds after each call.
    fn load(&self, random: &mut StdRng, pause: Range<u64>) -> Load {
        let (go_on, stop) = watch::channel(true);
        let mut callers = JoinSet::new();
        for (tenant, user) in self.tenants.iter().enumerate() {
            for number in 0..CALLERS {
                let (name, seed) = (format!("{tenant}.{number}"), random.random());
                let caller = callers::Caller::new(name, user.clone(), seed, pause.clone());
                callers.spawn(caller.run(stop.clone()));
            }
        }
        Load { go_on, callers }
    }

    /// Ends the load, heals everything and checks what there is.
    async fn end(mut self, mut load: Load, faults: BTreeMap<Fault, u32>) -> Result<Outcome> {
        let _ = load.go_on.send(false);
        let mut ledger = Ledger::default();
        while let Some(done) = load.callers.join_next().await {
            ledger.add(done?);
        }
        self.check(&mut ledger).await?;
        let mut violations = ledger.violations;
        violations.extend(self.found);
        let (accepted, unknown, read) = (ledger.accepted.len(), ledger.unknown, ledger.read);
        Ok(Outcome { accepted, unknown, read, faults, violations })
    }

    async fn suffer(
        &mut self,
        random: &mut StdRng,
        bug: Option<&Bug>,
        length: Duration,
    ) -> Result<BTreeMap<Fault, u32>> {
        let (began, mut happened) = (Instant::now(), BTreeMap::new());
        let mut due = vec![];
        while began.elapsed() < length {
            sleep(Duration::from_millis(random.random_range(300..1_500))).await;
            self.check_checkpoints().await?;
            if bug.is_some() {
                continue;
            }
            if due.is_empty() {
                due = ALL.to_vec();
            }
            let fault = due.swap_remove(random.random_range(0..due.len()));
            self.happen(fault, random).await.with_context(|| format!("{fault:?}"))?;
            *happened.entry(fault).or_default() += 1;
        }
        Ok(happened)
    }

    async fn happen(&mut self, fault: Fault, random: &mut StdRng) -> Result<()> {
        match fault {
            Fault::KillEverstep => {
                self.server.kill()?;
                self.server.start_again().await
            }
            Fault::StopEverstep => {
                self.server.stop().await?;
                self.server.start_again().await
            }
            Fault::KillPostgres => {
                self.cluster.kill().await?;
                self.cluster.restart().await
            }
            Fault::RestartPostgres => {
                let how = [Signal::SIGINT, Signal::SIGQUIT][random.random_range(0..2)];
                self.cluster.stop(how).await?;
                sleep(Duration::from_millis(random.random_range(0..2_000))).await;
                self.cluster.restart().await
            }
            Fault::Rebuild => self.rebuild_whole().await,
            Fault::KillRebuild => {
                let mut command = self.server.setup().command(&["replay", "--rate", "2000"]);
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                let mut child = command.spawn()?;
                sleep(Duration::from_millis(random.random_range(50..1_500))).await;
                child.kill()?;
                child.wait()?;
                Ok(())
            }
        }
    }

    async fn run(&self, args: &[&str]) -> Result<Output> {
        let mut command: Command = self.server.setup().command(args);
        command.stdin(Stdio::null());
        Ok(tokio::task::spawn_blocking(move || command.output()).await??)
    }

    fn found(&mut self, invariant: Invariant, what: String) {
        self.found.push(Violation { invariant, what });
    }
}

fn said(output: &Output) -> String {
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("exit {:?}: {}{}", output.status.code(), out.trim(), err.trim())
}

/// A key of another tenant, made where no API call could: in the log itself.
async fn another_tenant(cluster: &Cluster) -> Result<String> {
    let pool = eventstore::connect(&Cluster::url(cluster.port()), Role::Command, 2).await?;
    let clock = Clock::of(&pool).await?;
    let log = PgEventStore::new(pool);
    let tenant: Id<Tenant> = Id::from_uuid(clock.id());
    let token = Token { tenant, key: clock.id(), secret: [7; 32] };
    let (name, access) = ("theirs".to_owned(), Access::Admin);
    let create = Change::Create { name, access, digest: token.digest() };
    let meta = Metadata {
        tenant,
        actor: Actor::System,
        correlation: clock.id(),
        causation: clock.id(),
        traceparent: None,
        at: clock.now(),
    };
    let key: Id<ApiKey> = Id::from_uuid(token.key);
    eventstore::execute(&log, key, &create, &Request::new(meta)).await?;
    Ok(token.encode())
}
