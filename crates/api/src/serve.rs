//! Serving HTTP until told to stop, and not a connection less. `axum::serve` closes its socket at some
//! moment after that, and the kernel resets whoever is connected and not yet accepted.

use std::io;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::{App, router};

/// How long a client may take to send the head of a request. Also how long a connection may lie idle, so it
/// is longer than clients and proxies keep theirs: whoever closes first may cut the other off.
const HEAD: Duration = Duration::from_mins(2);
/// How long whoever has just connected has to say what they want.
const FIRST_WORDS: Duration = Duration::from_millis(200);
/// How long to wait when no connection can be accepted: this process has too many open.
const BREATH: Duration = Duration::from_millis(100);

/// Serves the whole API on every connection that is made before `stopped`; then waits for the answers to
/// all that was asked.
pub async fn serve(listener: TcpListener, app: App, stopped: impl Future<Output = ()>) {
    let router = router(app);
    let open = GracefulShutdown::new();
    let mut stopped = pin!(stopped);
    loop {
        tokio::select! {
            // Whoever has got through to us comes before the end.
            biased;
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => answer(stream, router.clone(), &open),
                Err(error) if is_theirs(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted");
                    sleep(BREATH).await;
                }
            },
            () = &mut stopped => break,
        }
    }
    drop(listener);
    // A connection on which nothing was read is closed at once, whatever is on its way.
    sleep(FIRST_WORDS).await;
    open.shutdown().await;
}

/// Answers what comes on a connection, until it is closed or everything is to end.
fn answer(stream: TcpStream, router: Router, open: &GracefulShutdown) {
    // Answers are small, and whoever waits for one sends nothing that they could go with.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let watched = open.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = watched.await {
            tracing::debug!(%error, "a connection broke");
        }
    });
}

/// Whether it says something about a connection, not about us.
fn is_theirs(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}
