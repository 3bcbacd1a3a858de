//! A proxy before Postgres that cuts connections where it hurts. It reads the frames of the
//! protocol (one byte of type, four of length), so it knows which step each Sync asks for and each
//! `ReadyForQuery` confirms. `es.append` is a transaction of its own, which its Sync commits.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::step;

/// The step that appends.
const APPENDS: [&str; 2] = ["es.append", "es.append_one"];

fn is_append(step: Option<&str>) -> bool {
    step.is_some_and(|step| APPENDS.contains(&step))
}

/// Which side of a step something happens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    /// The server has not heard of it.
    Before,
    /// The server has done it, and the client has not heard of that.
    After,
}

/// A place to stop a process at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Which.
    pub(crate) side: Side,
    /// Of which step.
    pub(crate) step: String,
    /// The how manyth time from now on that it is come to.
    pub(crate) nth: u32,
}

/// What the proxy does to connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Nothing.
    Pass,
    /// Cuts the next appends before they are committed.
    CutBefore,
    /// Cuts the next appends when they are committed, before the client hears of it.
    CutAfter,
    /// Lets nothing through, in either direction, and says nothing.
    Blackhole,
    /// Lets requests through and no answers.
    OneWay,
    /// Holds each frame back for so long.
    Delay(Duration),
}

/// A proxy that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    listener: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    mode: watch::Sender<Mode>,
    /// Counts resets: connections that see it change end.
    resets: watch::Sender<u64>,
    /// How many appends were cut.
    cuts: AtomicU64,
    /// How often each step was seen.
    seen: Mutex<BTreeMap<String, u32>>,
    /// Where everything is to stop; nowhere once it has.
    trap: watch::Sender<Option<Place>>,
}

/// What is under way on a connection: a step, or something else, for each answer that is due.
type UnderWay = Arc<Mutex<VecDeque<Option<String>>>>;

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.abort();
        self.reset();
    }
}

impl Proxy {
    /// Starts a proxy before the server at `port` of this machine.
    pub(crate) async fn start(server: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            mode: watch::channel(Mode::Pass).0,
            resets: watch::channel(0).0,
            cuts: AtomicU64::new(0),
            seen: Mutex::default(),
            trap: watch::channel(None).0,
        });
        let listener = tokio::spawn(accept(listener, server, shared.clone()));
        Ok(Self { port, shared, listener })
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What it does from now on, to connections that are open as well.
    pub(crate) fn set(&self, mode: Mode) {
        self.shared.mode.send_replace(mode);
    }

    /// Ends all connections.
    pub(crate) fn reset(&self) {
        self.shared.resets.send_modify(|resets| *resets += 1);
    }

    /// How many appends were cut.
    pub(crate) fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::Relaxed)
    }

    /// The steps that went through since this was last asked, and how often.
    pub(crate) fn steps(&self) -> BTreeMap<String, u32> {
        std::mem::take(&mut *locked(&self.shared.seen))
    }

    /// Stops everything at this place when it is come to: nothing gets through from then on, in
    /// either direction, until [`Proxy::release`].
    pub(crate) fn trap(&self, place: Place) {
        self.shared.trap.send_replace(Some(place));
    }

    /// Waits until that has happened.
    pub(crate) async fn trapped(&self) {
        // The sender lives as long as this.
        let _ = self.shared.trap.subscribe().wait_for(Option::is_none).await;
    }

    /// Takes the trap away, ends all connections and lets new ones through.
    pub(crate) fn release(&self) {
        self.shared.trap.send_replace(None);
        self.reset();
        self.set(Mode::Pass);
    }
}

async fn accept(listener: TcpListener, server: u16, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(serve(client, server, shared.clone()));
    }
}

/// Passes one connection on until one side ends or it is cut; both are closed then.
async fn serve(client: TcpStream, server: u16, shared: Arc<Shared>) {
    let mut resets = shared.resets.subscribe();
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // The server is ready once before it is asked anything.
    let under_way = Arc::new(Mutex::new(VecDeque::from([None])));
    let up = Up {
        statements: HashMap::new(),
        bound: None,
        written: None,
        under_way: under_way.clone(),
        shared: shared.clone(),
    };
    let down = Down { under_way, shared };
    tokio::select! {
        _ = up.run(from_client, to_server) => {}
        _ = down.run(from_server, to_client) => {}
        _ = resets.changed() => {}
    }
}

/// From the client to the server.
struct Up {
    /// Prepared statements by their names.
    statements: HashMap<Vec<u8>, String>,
    /// What the next Sync asks for.
    bound: Option<String>,
    /// What was written last in this transaction.
    written: Option<String>,
    under_way: UnderWay,
    shared: Arc<Shared>,
}

impl Up {
    async fn run(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> std::io::Result<()> {
        // The first message has no type.
        let first = body(&mut from).await?;
        to.write_all(&first).await?;
        loop {
            let kind = from.read_u8().await?;
            let frame = body(&mut from).await?;
            self.look(kind, &frame[4..]);
            self.shared.hold(&[Mode::Blackhole]).await;
            // Sync, or a query that is not prepared.
            if kind == b'S' || kind == b'Q' {
                let asked = self.bound.take();
                if is_append(asked.as_deref()) && self.shared.cuts_in(Mode::CutBefore) {
                    return Ok(());
                }
                self.shared.come_to(Side::Before, asked.as_deref()).await;
                locked(&self.under_way).push_back(asked);
            }
            to.write_all(&[&[kind], &*frame].concat()).await?;
        }
    }

    /// Takes note of what statements are prepared (Parse) and which is used (Bind, Query).
    fn look(&mut self, kind: u8, frame: &[u8]) {
        let mut fields = frame.split(|byte| *byte == 0).map(<[u8]>::to_vec);
        let (first, second) = (fields.next().unwrap_or_default(), fields.next());
        match (kind, second) {
            (b'P', Some(sql)) => {
                self.statements.insert(first, String::from_utf8_lossy(&sql).into_owned());
            }
            (b'B', Some(name)) => {
                let sql = self.statements.get(&name).cloned();
                self.use_statement(&sql.unwrap_or_default());
            }
            (b'Q', _) => self.use_statement(&String::from_utf8_lossy(&first)),
            _ => {}
        }
    }

    fn use_statement(&mut self, sql: &str) {
        let step = step::of_statement(sql);
        if sql.get(..5).is_some_and(|verb| verb.eq_ignore_ascii_case("begin")) {
            self.written = None;
        }
        self.written = step.clone().or(self.written.take());
        self.bound = step.or_else(|| step::of_commit(sql, self.written.as_deref()));
        if let Some(step) = &self.bound {
            *locked(&self.shared.seen).entry(step.clone()).or_default() += 1;
        }
    }
}

/// From the server to the client.
struct Down {
    under_way: UnderWay,
    shared: Arc<Shared>,
}

impl Down {
    async fn run(self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> std::io::Result<()> {
        // What was answered to a step is held back until the server is ready for more, that is, has
        // committed or goes on with the transaction.
        let mut held = vec![];
        loop {
            let kind = from.read_u8().await?;
            held.push(kind);
            held.extend(body(&mut from).await?);
            let is_step = locked(&self.under_way).front().is_some_and(Option::is_some);
            if kind == b'Z' {
                let done = locked(&self.under_way).pop_front().flatten();
                if is_append(done.as_deref()) && self.shared.cuts_in(Mode::CutAfter) {
                    return Ok(());
                }
                self.shared.come_to(Side::After, done.as_deref()).await;
            }
            // Whoever copies waits to be asked for the rows.
            if kind == b'Z' || kind == b'G' || !is_step {
                self.shared.hold(&[Mode::Blackhole, Mode::OneWay]).await;
                to.write_all(&held).await?;
                held.clear();
            }
        }
    }
}

impl Shared {
    /// Whether appends are to be cut so; counts one that is.
    fn cuts_in(&self, mode: Mode) -> bool {
        let is_cut = *self.mode.borrow() == mode;
        self.cuts.fetch_add(u64::from(is_cut), Ordering::Relaxed);
        is_cut
    }

    /// Passes a step, unless that is where everything is to stop: then this never returns.
    async fn come_to(&self, side: Side, step: Option<&str>) {
        let Some(step) = step else { return };
        // Of several connections that come here, one springs the trap.
        let is_sprung = self.trap.send_if_modified(|trap| {
            let is_here = |place: &&mut Place| place.side == side && place.step == step;
            let Some(place) = trap.as_mut().filter(is_here) else { return false };
            place.nth = place.nth.saturating_sub(1);
            let is_now = place.nth == 0;
            if is_now {
                self.mode.send_replace(Mode::Blackhole);
                *trap = None;
            }
            is_now
        });
        if is_sprung {
            std::future::pending::<()>().await;
        }
    }

    /// Waits while one of these modes is on, or as long as frames are to be delayed.
    async fn hold(&self, modes: &[Mode]) {
        let mut now = self.mode.subscribe();
        let delay = match *now.borrow() {
            Mode::Delay(delay) => Some(delay),
            Mode::Pass | Mode::CutBefore | Mode::CutAfter | Mode::Blackhole | Mode::OneWay => None,
        };
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await;
        }
        // Whoever sets the mode lives as long as this.
        let _ = now.wait_for(|mode| !modes.contains(mode)).await;
    }
}

/// The length of a frame and what it counts: itself and the body.
async fn body(from: &mut OwnedReadHalf) -> std::io::Result<Vec<u8>> {
    let length = from.read_u32().await?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.resize(usize::try_from(length).unwrap_or(4).max(4), 0);
    from.read_exact(&mut frame[4..]).await?;
    Ok(frame)
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
