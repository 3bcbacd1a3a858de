//! What the doubles and the clients share of HTTP: one way to make a client, one to serve.

use std::net::SocketAddr;
use std::sync::OnceLock;

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The HTTP client of tests: calls loopback, follows no redirect, waits for as long as it takes
/// unless the caller sets a limit.
///
/// # Panics
/// If TLS cannot be set up, which no input can cause.
#[must_use]
pub fn client() -> reqwest::Client {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    CLIENT.get_or_init(build).clone()
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests stand outside the house: they call it, and it has no egress client for that"
)]
fn build() -> reqwest::Client {
    // Somebody else in this process may have chosen the provider before; either will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .expect("the options are constant and known to work")
}

/// A server on loopback that ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Serving {
    pub(crate) async fn start(router: Router) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            // It ends by being aborted; an error of `accept` shows as a refused connection.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, task })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}
