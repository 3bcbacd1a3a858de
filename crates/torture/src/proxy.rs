//! A proxy before Postgres that cuts connections where it hurts. It reads the frames of the
//! protocol (one byte of type, four of length), so it knows when an append is sent and when its
//! commit is confirmed: `es.append` is a transaction of its own, which the client's Sync commits
//! and the server's `ReadyForQuery` confirms.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

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
}

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
    let appending = Arc::new(AtomicBool::new(false));
    let up = Up { appends: HashSet::new(), appending: appending.clone(), shared: shared.clone() };
    let down = Down { appending, shared };
    tokio::select! {
        _ = up.run(from_client, to_server) => {}
        _ = down.run(from_server, to_client) => {}
        _ = resets.changed() => {}
    }
}

/// From the client to the server.
struct Up {
    /// Names of prepared statements that append.
    appends: HashSet<Vec<u8>>,
    /// Whether an append was sent that is not confirmed.
    appending: Arc<AtomicBool>,
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
            let is_append = kind == b'S' && self.appending.load(Ordering::Acquire);
            if is_append && self.shared.mode_is(Mode::CutBefore) {
                self.shared.cuts.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            to.write_all(&[&[kind], &*frame].concat()).await?;
        }
    }

    /// Takes note of statements that append (Parse) and of their use (Bind).
    fn look(&mut self, kind: u8, frame: &[u8]) {
        let mut fields = frame.split(|byte| *byte == 0);
        let (first, second) = (fields.next(), fields.next());
        let (Some(first), Some(second)) = (first, second) else { return };
        if kind == b'P' && second.windows(10).any(|part| part == b"es.append(") {
            self.appends.insert(first.to_vec());
        }
        if kind == b'B' && self.appends.contains(second) {
            self.appending.store(true, Ordering::Release);
        }
    }
}

/// From the server to the client.
struct Down {
    appending: Arc<AtomicBool>,
    shared: Arc<Shared>,
}

impl Down {
    async fn run(self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> std::io::Result<()> {
        // What was answered is held back until the server is ready for more, that is, has committed.
        let mut held = vec![];
        loop {
            let kind = from.read_u8().await?;
            held.push(kind);
            held.extend(body(&mut from).await?);
            if kind == b'Z'
                && self.appending.swap(false, Ordering::AcqRel)
                && self.shared.mode_is(Mode::CutAfter)
            {
                self.shared.cuts.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            if kind == b'Z' || !self.appending.load(Ordering::Acquire) {
                self.shared.hold(&[Mode::Blackhole, Mode::OneWay]).await;
                to.write_all(&held).await?;
                held.clear();
            }
        }
    }
}

impl Shared {
    fn mode_is(&self, mode: Mode) -> bool {
        *self.mode.borrow() == mode
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
