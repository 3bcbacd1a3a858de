//! Somebody who takes their time to answer.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A server on loopback that answers a call with its body, late. It ends when this is dropped.
#[derive(Debug)]
pub struct Slow {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Slow {
    /// Starts one that answers so much later.
    pub async fn start(late: Duration) -> Result<Self> {
        let answer = move |Json(body): Json<Value>| async move {
            tokio::time::sleep(late).await;
            Json(body)
        };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let router = Router::new().route("/", post(answer));
        let task = tokio::spawn(async move {
            // It ends by being aborted; an error of `accept` shows as a refused connection.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, task })
    }

    /// Where it answers.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.task.abort();
    }
}
