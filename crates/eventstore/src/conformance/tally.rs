//! A small aggregate of the suite's own: sums numbers until it is closed.

use domain::{Aggregate, Event, Kind, Refusal, Timestamp};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Tally {
    pub(super) sum: i64,
    opened: bool,
    closed: bool,
}

pub(super) enum Command {
    Add(i64),
    Remark(String),
    Close,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub(super) enum Happened {
    #[serde(rename = "tally.added")]
    Added { number: i64 },
    #[serde(rename = "tally.remarked")]
    Remarked { text: String },
    #[serde(rename = "tally.closed")]
    Closed {},
}

impl Event for Happened {}

#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum Refused {
    #[error("there is no such tally")]
    NotFound,
    #[error("the tally is closed")]
    Closed,
}

impl Refusal for Refused {
    fn kind(&self) -> Kind {
        match self {
            Self::NotFound => Kind::NotFound,
            Self::Closed => Kind::Conflict,
        }
    }

    fn code(&self) -> &'static str {
        "tally"
    }
}

impl Aggregate for Tally {
    const NAME: &'static str = "tally";
    type Command = Command;
    type Event = Happened;
    type Refusal = Refused;

    fn decide(&self, command: &Command, _: Timestamp) -> Result<Vec<Happened>, Refused> {
        match command {
            Command::Add(_) | Command::Remark(_) if self.closed => Err(Refused::Closed),
            Command::Remark(text) => Ok(vec![Happened::Remarked { text: text.clone() }]),
            Command::Add(number) => Ok(vec![Happened::Added { number: *number }]),
            Command::Close if !self.opened => Err(Refused::NotFound),
            Command::Close if self.closed => Ok(vec![]),
            Command::Close => Ok(vec![Happened::Closed {}]),
        }
    }

    fn evolve(&mut self, event: &Happened) {
        self.opened = true;
        match event {
            Happened::Added { number } => self.sum += number,
            Happened::Remarked { .. } => {}
            Happened::Closed {} => self.closed = true,
        }
    }

    fn snapshot(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }

    fn restore(snapshot: &str) -> Option<Self> {
        serde_json::from_str(snapshot).ok()
    }
}
