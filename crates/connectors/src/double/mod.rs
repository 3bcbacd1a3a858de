//! Servers on loopback that stand in for the outside world in tests; the sockets are real.

mod smtp;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

pub(crate) use smtp::{Mail, Sink};

/// Serves these routes on a free port of this loopback address.
pub(crate) async fn http_on(ip: &str, routes: Router) -> SocketAddr {
    let listener = TcpListener::bind((ip, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

/// Serves these routes on a free port of 127.0.0.1.
pub(crate) async fn http(routes: Router) -> SocketAddr {
    http_on("127.0.0.1", routes).await
}

/// Counts connections and closes them at once.
#[derive(Debug, Clone)]
pub(crate) struct Counter {
    pub(crate) port: u16,
    connections: Arc<AtomicUsize>,
}

impl Counter {
    /// Listens on one port of 127.0.0.1 and, where the machine has it, of `::1`.
    pub(crate) async fn start() -> Self {
        let v4 = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = v4.local_addr().unwrap().port();
        let counter = Self { port, connections: Arc::default() };
        counter.count(v4);
        if let Ok(v6) = TcpListener::bind(("::1", port)).await {
            counter.count(v6);
        }
        counter
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn count(&self, listener: TcpListener) {
        let connections = Arc::clone(&self.connections);
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                connections.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
}

/// Answers each request with these bytes and closes the connection.
pub(crate) async fn raw(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            read_head(&mut stream).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

/// Speaks first, says these bytes and closes the connection.
pub(crate) async fn blurting(words: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(words.as_bytes()).await;
        }
    });
    address
}

/// Takes each request and never answers.
pub(crate) async fn silent() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    address
}

/// A port on which nobody listens.
pub(crate) async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Reads until the empty line after the header fields.
pub(crate) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}
