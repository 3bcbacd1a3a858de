//! A mail server that keeps what it gets, and refuses by recipient: `nobody@` for good (550),
//! `later@` for now (451), `full@` after the message itself (552), `cut@` by hanging up.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A message as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mail {
    /// The recipients of the envelope; empty where there is no envelope.
    pub(crate) to: Vec<String>,
    /// Header fields and body, lines ending in CRLF.
    pub(crate) data: String,
}

/// A mail server.
#[derive(Debug, Clone)]
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    mails: Arc<Mutex<Vec<Mail>>>,
}

impl Sink {
    /// Listens on a free port. Who logs in needs the password `right`.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sink = Self { address: listener.local_addr().unwrap(), mails: Arc::default() };
        let mails = Arc::clone(&sink.mails);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let session = Session { mails: Arc::clone(&mails), mail: Mail::default() };
                tokio::spawn(session.serve(stream));
            }
        });
        sink
    }

    pub(crate) fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    pub(crate) fn mails(&self) -> Vec<Mail> {
        self.mails.lock().unwrap().clone()
    }
}

struct Session {
    mails: Arc<Mutex<Vec<Mail>>>,
    mail: Mail,
}

impl Session {
    async fn serve(mut self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        write.write_all(b"220 sink.test ESMTP\r\n").await?;
        while let Some(line) = lines.next_line().await? {
            let verb = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
            if verb == "DATA" {
                write.write_all(b"354 go ahead\r\n").await?;
                let mut data = String::new();
                while let Some(line) = lines.next_line().await?.filter(|line| line != ".") {
                    data.push_str(line.strip_prefix('.').unwrap_or(&line));
                    data.push_str("\r\n");
                }
                self.mail.data = data;
            }
            let reply = self.reply(&verb, &line);
            if reply.is_empty() {
                return Ok(());
            }
            write.write_all(format!("{reply}\r\n").as_bytes()).await?;
        }
        Ok(())
    }

    fn reply(&mut self, verb: &str, line: &str) -> &'static str {
        match verb {
            "EHLO" => "250-sink.test\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 AUTH PLAIN",
            "MAIL" => {
                self.mail = Mail::default();
                "250 2.1.0 sender"
            }
            "RCPT" => {
                let to = line.split(['<', '>']).nth(1).unwrap_or_default();
                self.mail.to.push(to.to_owned());
                match to.split('@').next() {
                    Some("nobody") => "550 5.1.1 no such user",
                    Some("later") => "451 4.7.1 greylisted",
                    _ => "250 2.1.5 recipient",
                }
            }
            "DATA" if self.mail.to.iter().any(|to| to.starts_with("cut@")) => "",
            "DATA" if self.mail.to.iter().any(|to| to.starts_with("full@")) => {
                "552-5.2.2 the mailbox\r\n552 5.2.2 is full"
            }
            "DATA" => {
                self.mails.lock().unwrap().push(std::mem::take(&mut self.mail));
                "250 2.0.0 queued"
            }
            // base64 of "\0user\0right"
            "AUTH" if line == "AUTH PLAIN AHVzZXIAcmlnaHQ=" => "235 2.7.0 welcome",
            "AUTH" => "535 5.7.8 who are you",
            "NOOP" | "RSET" => "250 2.0.0 yes",
            "QUIT" => "221 2.0.0 bye",
            _ => "502 5.5.1 what",
        }
    }
}
