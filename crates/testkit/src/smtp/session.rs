//! One connection of the mail server: commands in, replies out (RFC 5321).

use std::io;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::{Fault, Mailbox, Message, lock};

/// The longest line that is read (RFC 5321 asks for 1000 in a message).
const LINE_LIMIT: u64 = 64 * 1024;
/// The longest message that is kept.
const MESSAGE_LIMIT: usize = 16 * 1024 * 1024;

/// The envelope so far.
#[derive(Default)]
struct Envelope {
    from: Option<String>,
    to: Vec<String>,
}

/// What a command leads to.
enum Step {
    Reply(&'static str),
    Data,
    Quit,
}

/// Talks until the other side quits or goes away.
pub(super) async fn run(stream: TcpStream, mailbox: Arc<Mutex<Mailbox>>) {
    // The other side going away is how most sessions end; there is nobody to tell.
    let _ = talk(stream, &mailbox).await;
}

async fn talk(mut stream: TcpStream, mailbox: &Mutex<Mailbox>) -> io::Result<()> {
    let (read, mut write) = stream.split();
    let mut read = BufReader::new(read);
    let mut envelope = Envelope::default();
    write.write_all(b"220 sink.invalid ESMTP\r\n").await?;
    while let Some(line) = read_line(&mut read).await? {
        let reply = match step(line.trim_end(), &mut envelope) {
            Step::Reply(reply) => reply.to_owned(),
            Step::Quit => {
                return write.write_all(b"221 2.0.0 goes\r\n").await;
            }
            Step::Data => {
                write.write_all(b"354 goes on until a dot alone on a line\r\n").await?;
                let raw = read_message(&mut read).await?;
                let Envelope { from, to } = std::mem::take(&mut envelope);
                let message = Message { from: from.unwrap_or_default(), to, raw };
                let Some(reply) = accept(mailbox, message) else { return Ok(()) };
                reply
            }
        };
        write.write_all(reply.as_bytes()).await?;
        write.write_all(b"\r\n").await?;
    }
    Ok(())
}

fn step(line: &str, envelope: &mut Envelope) -> Step {
    let upper = line.to_ascii_uppercase();
    let verb = upper.split([' ', ':']).next().unwrap_or_default();
    Step::Reply(match verb {
        "EHLO" => {
            *envelope = Envelope::default();
            "250-sink.invalid\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SMTPUTF8"
        }
        "HELO" => {
            *envelope = Envelope::default();
            "250 sink.invalid"
        }
        "MAIL" if envelope.from.is_some() => "503 5.5.1 there is a sender already",
        "MAIL" => match address(line, "MAIL FROM:") {
            Some(from) => {
                envelope.from = Some(from);
                "250 2.1.0 sender taken"
            }
            None => "501 5.5.4 MAIL FROM:<address>",
        },
        "RCPT" if envelope.from.is_none() => "503 5.5.1 MAIL comes first",
        "RCPT" => match address(line, "RCPT TO:") {
            Some(to) if !to.is_empty() => {
                envelope.to.push(to);
                "250 2.1.5 recipient taken"
            }
            Some(_) | None => "501 5.5.4 RCPT TO:<address>",
        },
        "DATA" if envelope.to.is_empty() => "503 5.5.1 RCPT comes first",
        "DATA" => return Step::Data,
        "RSET" => {
            *envelope = Envelope::default();
            "250 2.0.0 forgotten"
        }
        "NOOP" => "250 2.0.0 nothing done",
        "VRFY" => "252 2.1.5 try it",
        "QUIT" => return Step::Quit,
        _ => "500 5.5.2 no such command",
    })
}

/// What stands between `<` and `>` behind `prefix`; parameters behind it are ignored.
fn address(line: &str, prefix: &str) -> Option<String> {
    let rest = line.get(prefix.len()..)?;
    let matches = line.get(..prefix.len())?.eq_ignore_ascii_case(prefix);
    let (path, _) = rest.trim_start().strip_prefix('<')?.split_once('>')?;
    matches.then(|| path.to_owned())
}

/// Keeps the message unless a fault waits for it; no reply means hanging up.
fn accept(mailbox: &Mutex<Mailbox>, message: Message) -> Option<String> {
    let mut mailbox = lock(mailbox);
    let fault = mailbox.faults.pop_front();
    if let Some(Fault::Refuse(code)) = fault {
        return Some(format!("{code} refused, as the test wants it"));
    }
    mailbox.messages.push(message);
    match fault {
        Some(Fault::HangUp) => None,
        Some(Fault::Refuse(_)) | None => {
            Some(format!("250 2.0.0 kept as {}", mailbox.messages.len()))
        }
    }
}

/// A line with its end; none at the end of the connection.
async fn read_line(read: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let length = read.take(LINE_LIMIT).read_until(b'\n', &mut line).await?;
    Ok((length > 0).then(|| String::from_utf8_lossy(&line).into_owned()))
}

/// A message up to the dot, with the dots that were doubled on the way made single.
async fn read_message(read: &mut (impl AsyncBufRead + Unpin)) -> io::Result<String> {
    let mut message = String::new();
    loop {
        let line = read_line(read).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if line == ".\r\n" || line == ".\n" {
            return Ok(message);
        }
        message.push_str(line.strip_prefix('.').unwrap_or(&line));
        if message.len() > MESSAGE_LIMIT {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}
