//! The processes: two servers and three engines on one Postgres, and what they call.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use reqwest::Method;
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use testkit::api::Client;
use testkit::clock::SteppedClock;
use testkit::everstep::{Server, Setup};
use testkit::outside::Outside;
use testkit::process::Process;
use testkit::processes::free_port;
use tokio::sync::Mutex;
use tokio::time::sleep;

use super::history::{Record, Window};
use super::load::Caller;
use super::{Bug, documents};
use crate::cluster::Cluster;
use crate::history::Writer;
use crate::world::open;

/// How many processes serve the API.
pub(super) const SERVERS: usize = 2;
/// How many processes are engines.
pub(super) const ENGINES: usize = 3;
/// The engine whose clock is stepped.
const STEPPED: usize = ENGINES - 1;
/// How long a process may take until it is up; those that Postgres is not there for are started again.
const START: Duration = Duration::from_mins(1);
/// Who runs so long has started, and has no reason to end by itself.
const STARTED: Duration = Duration::from_secs(10);
/// Until then it may not have come so far that it hears signals.
const UP: Duration = Duration::from_secs(3);
/// Five processes with three pools each.
const SETTINGS: [&str; 1] = ["max_connections=250"];

/// All of it. When it is dropped, everything goes but the history of a round that found something.
pub(super) struct Fleet {
    pub(super) servers: Vec<Mutex<Member>>,
    pub(super) engines: Vec<Mutex<Member>>,
    pub(super) outside: Outside,
    pub(super) cluster: Mutex<Cluster>,
    /// The wall clock of one engine, if clocks can be stepped here.
    pub(super) clock: Option<SteppedClock>,
    /// How often a process that had started ended by itself.
    pub(super) ended: AtomicU32,
    pub(super) writer: Writer,
    /// The instance that made the database; it has stopped.
    maker: Server,
    ports: Vec<u16>,
    home: TempDir,
}

/// What a process is.
#[derive(Debug, Clone, Copy)]
enum Role {
    Serve(u16),
    Work,
}

/// A process that is started again whenever it ends.
pub(super) struct Member {
    role: Role,
    setup: Setup,
    url: String,
    pub(super) process: Process,
    started: Instant,
}

impl Member {
    fn start(role: Role, setup: &Setup, url: &str) -> Result<Mutex<Self>> {
        let process = spawn(role, setup, url)?;
        let (setup, url) = (setup.clone(), url.to_owned());
        Ok(Mutex::new(Self { role, setup, url, process, started: Instant::now() }))
    }

    pub(super) fn start_again(&mut self) -> Result<()> {
        self.process = spawn(self.role, &self.setup, &self.url)?;
        self.started = Instant::now();
        Ok(())
    }

    /// Whether it may not have come so far that it could be asked to stop.
    pub(super) fn is_young(&self) -> bool {
        self.started.elapsed() < UP
    }

    /// Starts it again if it has ended by itself; whether it had been up before.
    fn revive(&mut self) -> Result<bool> {
        if self.process.ended()?.is_none() {
            return Ok(false);
        }
        let was_up = self.started.elapsed() >= STARTED;
        self.start_again()?;
        Ok(was_up)
    }

    /// Waits until a server is ready.
    pub(super) async fn until_ready(&mut self) -> Result<()> {
        let Role::Serve(port) = self.role else { return Ok(()) };
        let client = Client::new(url_of(port), None);
        let begun = Instant::now();
        loop {
            let ask = client.at_root(Method::GET, "/readyz").timeout(Duration::from_secs(2));
            if client.send(ask).await.is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            // Without a Postgres it does not start.
            self.revive()?;
            ensure!(begun.elapsed() < START, "a server is not ready");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

fn spawn(role: Role, setup: &Setup, url: &str) -> Result<Process> {
    match role {
        Role::Serve(port) => Process::serve(setup, url, port),
        Role::Work => Process::work(setup, url),
    }
}

fn url_of(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

impl Fleet {
    /// Makes all of it, with a bug planted, and waits until everybody serves and works.
    pub(super) async fn make(bug: Option<&Bug>) -> Result<(Self, Caller)> {
        let home = tempfile::tempdir()?;
        open(home.path())?;
        let (cluster, maker, workflows) = prepare(home.path(), bug).await?;
        let clock = SteppedClock::make(home.path())?;
        let ports = (0..SERVERS).map(|_| free_port()).collect::<Result<Vec<_>, _>>()?;
        let (setup, url) = (maker.setup(), Cluster::url(cluster.port()));
        let of_stepped = bug.map_or(url.clone(), |bug| bug.url(&url));
        let stepped = clock.as_ref().map_or(setup.clone(), |clock| clock.of(setup.clone()));
        let servers = ports.iter().map(|port| Member::start(Role::Serve(*port), setup, &url));
        let engines = (0..ENGINES).map(|nth| match nth {
            STEPPED => Member::start(Role::Work, &stepped, &of_stepped),
            _ => Member::start(Role::Work, setup, &url),
        });
        let fleet = Self {
            servers: servers.collect::<Result<_>>()?,
            engines: engines.collect::<Result<_>>()?,
            outside: Outside::start().await?,
            cluster: Mutex::new(cluster),
            clock,
            ended: AtomicU32::new(0),
            writer: Writer::create(&home.path().join("history.jsonl"))?,
            maker,
            ports,
            home,
        };
        for server in &fleet.servers {
            server.lock().await.until_ready().await?;
        }
        fleet.until_shared().await?;
        let caller = fleet.caller(workflows);
        Ok((fleet, caller))
    }

    /// Waits until each engine has a share of the work.
    async fn until_shared(&self) -> Result<()> {
        let mut db = self.connect().await?;
        let (begun, mut owners) = (Instant::now(), 0);
        while owners < i64::try_from(ENGINES)? {
            ensure!(begun.elapsed() < START, "only {owners} engines have work");
            sleep(Duration::from_millis(100)).await;
            let count = "SELECT count(DISTINCT owner) FROM ops.slice WHERE name = 'work'";
            owners = sqlx::query_scalar(count).fetch_one(&mut db).await?;
        }
        Ok(db.close().await?)
    }

    fn caller(&self, workflows: Vec<(documents::Kind, String)>) -> Caller {
        let token = &self.maker.dev().token;
        let client = |port: &u16| Client::new(url_of(*port), Some(token.clone()));
        Caller {
            clients: self.ports.iter().map(client).collect(),
            workflows,
            outside: self.outside.url(),
            writer: self.writer.clone(),
            asked: AtomicU64::new(0),
        }
    }

    /// Starts whatever ends by itself again, for ever, as whoever runs it would.
    pub(super) async fn supervise(&self) -> Result<()> {
        loop {
            sleep(Duration::from_millis(300)).await;
            for member in self.engines.iter().chain(&self.servers) {
                if let Ok(mut member) = member.try_lock()
                    && member.revive()?
                {
                    self.ended.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// A connection as the owner of everything.
    pub(super) async fn connect(&self) -> Result<PgConnection> {
        self.cluster.lock().await.connect().await
    }

    /// Notes a fault.
    pub(super) fn note(&self, window: Window) -> Result<()> {
        self.writer.add(&Record::Fault(window))
    }

    /// Where the history is.
    pub(super) fn history(&self) -> PathBuf {
        self.home.path().join("history.jsonl")
    }

    /// Runs a command of the binary, to its end.
    pub(super) async fn run(&self, args: &[&str]) -> Result<Output> {
        let mut command: Command = self.maker.setup().command(args);
        command.stdin(Stdio::null());
        Ok(tokio::task::spawn_blocking(move || command.output()).await??)
    }

    /// Keeps the files of a round that found something; where they are.
    pub(super) fn keep(mut self) -> PathBuf {
        self.home.disable_cleanup(true);
        self.home.path().to_owned()
    }
}

/// Makes a database with a bug planted and all workflows published; the instance that did so has stopped.
async fn prepare(
    home: &Path,
    bug: Option<&Bug>,
) -> Result<(Cluster, Server, Vec<(documents::Kind, String)>)> {
    let postgres = home.join("pg");
    std::fs::create_dir(&postgres)?;
    let cluster = Cluster::make(&postgres, &SETTINGS).await?;
    let setup = Setup::new(home.join("data"))?.env("EVERSTEP_EGRESS_ALLOW", "127.0.0.0/8");
    let mut maker = setup.database(&Cluster::url(cluster.port())).start().await?;
    let workflows = publish(&maker.client()).await?;
    maker.stop().await?;
    if let Some(bug) = bug {
        let mut db = cluster.connect().await?;
        bug.plant(&mut db).await.context("planting a bug")?;
        db.close().await?;
    }
    Ok((cluster, maker, workflows))
}

/// Publishes all workflows; their ids.
async fn publish(client: &Client) -> Result<Vec<(documents::Kind, String)>> {
    let (mut ids, mut all) = (BTreeMap::<String, String>::new(), vec![]);
    for kind in documents::ALL {
        let document = kind.document();
        if !ids.contains_key(&document) {
            let made = client.post_document("/workflows", &document).await?.expect(201)?;
            let Some(id) = made.body["id"].as_str() else { bail!("no id: {}", made.text) };
            ids.insert(document.clone(), id.to_owned());
        }
        all.push((kind, ids[&document].clone()));
    }
    Ok(all)
}
