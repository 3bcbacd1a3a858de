use super::{Command, Event, Refusal, Subject};
use crate::{Aggregate, Timestamp};

impl Aggregate for Subject {
    const NAME: &'static str = "subject";
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    /// Both may be said twice.
    fn decide(&self, command: &Command, _now: Timestamp) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Erase if self.is_requested => Ok(vec![]),
            Command::Erase => Ok(vec![Event::ErasureRequested {}]),
            Command::RecordErased if !self.is_requested => Err(Refusal::NotRequested),
            Command::RecordErased if self.is_erased => Ok(vec![]),
            Command::RecordErased => Ok(vec![Event::Erased {}]),
        }
    }

    fn evolve(&mut self, event: &Event) {
        self.note(event);
    }
}
