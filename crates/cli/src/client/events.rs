//! The events of an execution as they happen: server-sent events that survive a lost connection.

use std::time::Duration;

use futures::StreamExt;
use reqwest::Response;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::sleep;

use super::Client;
use crate::failure::Failure;

/// The wait before a lost connection is made again.
const RECONNECT: Duration = Duration::from_millis(500);
/// How often in a row nothing comes before it is given up.
const ATTEMPTS: u32 = 20;

/// What of a `CloudEvent` people are shown.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct CloudEvent {
    /// Its name.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// When it happened.
    pub(crate) time: String,
    /// Its place in the log.
    pub(crate) position: String,
    /// Its own fields.
    #[serde(default)]
    pub(crate) data: Value,
}

impl CloudEvent {
    /// Whether an execution ends with it.
    pub(crate) fn is_last(&self) -> bool {
        let ends = ["completed", "faulted", "cancelled", "terminated"];
        self.kind.strip_prefix("execution.").is_some_and(|what| ends.contains(&what))
    }
}

/// The events at one path, in order, each once.
pub(crate) struct Events<'a> {
    client: &'a Client,
    path: Vec<String>,
    open: Option<Response>,
    parser: Parser,
    last_id: Option<String>,
    failures: u32,
}

impl<'a> Events<'a> {
    /// The events at `path`, from the first.
    pub(crate) fn new(client: &'a Client, path: &[&str]) -> Self {
        let path = path.iter().map(|part| (*part).to_owned()).collect();
        Self { client, path, open: None, parser: Parser::default(), last_id: None, failures: 0 }
    }

    /// The next event, as JSON.
    pub(crate) async fn next(&mut self) -> Result<Value, Failure> {
        loop {
            if let Some(message) = self.parser.pop() {
                self.failures = 0;
                self.last_id = message.id.or(self.last_id.take());
                let event = serde_json::from_str(&message.data).map_err(anyhow::Error::from)?;
                return Ok(event);
            }
            match self.read().await {
                Ok(true) => {}
                Ok(false) => {
                    self.lost(Failure::Other(anyhow::anyhow!("the stream ended early")))?;
                }
                Err(failure @ Failure::Other(_)) => self.lost(failure)?,
                Err(failure) => return Err(failure),
            }
            if self.open.is_none() {
                sleep(RECONNECT).await;
            }
        }
    }

    /// Reads a piece; says whether there was one.
    async fn read(&mut self) -> Result<bool, Failure> {
        if self.open.is_none() {
            let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
            let after = self.last_id.as_deref();
            self.open = Some(self.client.stream(&path, "text/event-stream", after).await?);
        }
        let Some(response) = &mut self.open else { return Ok(false) };
        match response.chunk().await.map_err(anyhow::Error::from)? {
            Some(piece) => self.parser.push(&piece),
            None => return Ok(false),
        }
        Ok(true)
    }

    /// Notes that the connection is gone, along with what was half said.
    fn lost(&mut self, failure: Failure) -> Result<(), Failure> {
        self.open = None;
        self.parser = Parser::default();
        self.failures += 1;
        if self.failures > ATTEMPTS { Err(failure) } else { Ok(()) }
    }
}

/// A message of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
struct Message {
    id: Option<String>,
    data: String,
}

/// Takes pieces of `text/event-stream` (WHATWG HTML 9.2) and gives messages.
#[derive(Debug, Default)]
struct Parser {
    rest: Vec<u8>,
    message: Message,
    done: std::collections::VecDeque<Message>,
}

impl Parser {
    fn push(&mut self, piece: &[u8]) {
        self.rest.extend_from_slice(piece);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            self.line(line.trim_end_matches(['\n', '\r']));
        }
    }

    fn pop(&mut self) -> Option<Message> {
        self.done.pop_front()
    }

    fn line(&mut self, line: &str) {
        if line.is_empty() {
            let message = std::mem::take(&mut self.message);
            if !message.data.is_empty() {
                self.done.push_back(message);
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.message.id = Some(value.to_owned()),
            "data" => {
                if !self.message.data.is_empty() {
                    self.message.data.push('\n');
                }
                self.message.data.push_str(value);
            }
            // Names of events are in the data too; comments keep the connection alive.
            _ => {}
        }
    }
}

/// The lines of a body as they come.
pub(crate) async fn lines(
    response: Response,
    mut each: impl FnMut(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut rest: Vec<u8> = Vec::new();
    let mut pieces = response.bytes_stream();
    while let Some(piece) = pieces.next().await {
        rest.extend_from_slice(&piece.map_err(anyhow::Error::from)?);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            each(String::from_utf8_lossy(&line).trim_end())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str = ": hello\r\n\r\nid: 1\nevent: a\ndata: {\"x\":\ndata: 1}\n\ndata:no id\n\n: beat\n\nid: 3\n\nid: 4\ndata: é\n\ndata: unfinished\n";

    fn message(id: Option<&str>, data: &str) -> Message {
        Message { id: id.map(str::to_owned), data: data.to_owned() }
    }

    proptest! {
        #[test]
        fn messages_do_not_depend_on_how_the_stream_is_cut(cuts in prop::collection::vec(0..STREAM.len(), 0..8)) {
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let mut parser = Parser::default();
            for pair in cuts.windows(2) {
                parser.push(&STREAM.as_bytes()[pair[0]..pair[1]]);
            }
            let expected = [
                message(Some("1"), "{\"x\":\n1}"),
                message(None, "no id"),
                message(Some("4"), "é"),
            ];
            prop_assert_eq!(parser.done.make_contiguous(), &expected);
        }
    }

    #[test]
    fn executions_end_with_four_events_and_no_other() {
        let last = |kind: &str| {
            let event = CloudEvent {
                kind: kind.to_owned(),
                time: String::new(),
                position: String::new(),
                data: Value::Null,
            };
            event.is_last()
        };
        assert!(last("execution.completed") && last("execution.faulted"));
        assert!(last("execution.cancelled") && last("execution.terminated"));
        assert!(!last("execution.started") && !last("agent.completed"));
    }
}
