//! A mail server that takes everything, delivers nothing and remembers all of it.

mod message;
mod session;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use message::Message;

/// A mail server (RFC 5321) on loopback that ends when this is dropped.
///
/// It speaks PIPELINING, 8BITMIME and SMTPUTF8 and wants neither TLS nor a password.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    mailbox: Arc<Mutex<Mailbox>>,
    task: JoinHandle<()>,
}

/// What happens to a message instead of being accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is refused with this code, 400 to 599.
    Refuse(u16),
    /// It is accepted, and the connection ends before the sender learns of it.
    HangUp,
}

#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    messages: Vec<Message>,
    faults: VecDeque<Fault>,
}

impl Sink {
    /// Starts one.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mailbox = Arc::<Mutex<Mailbox>>::default();
        let shared = mailbox.clone();
        let task = tokio::spawn(async move {
            // Sessions live in a set of this task, so that they end with it.
            let mut sessions = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                sessions.spawn(session::run(stream, shared.clone()));
                while sessions.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, mailbox, task })
    }

    /// Where it is, such as `smtp://127.0.0.1:40125`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// All messages it accepted, in order.
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        self.mailbox().messages.clone()
    }

    /// The next `times` messages meet this fault, after those that were told before.
    pub fn fail_next(&self, times: usize, fault: Fault) {
        self.mailbox().faults.extend(std::iter::repeat_n(fault, times));
    }

    fn mailbox(&self) -> MutexGuard<'_, Mailbox> {
        lock(&self.mailbox)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(mailbox: &Mutex<Mailbox>) -> MutexGuard<'_, Mailbox> {
    mailbox.lock().expect("nobody panics while holding it")
}
