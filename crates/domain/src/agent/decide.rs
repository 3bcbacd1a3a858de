use super::{Agent, Command, Event, Refusal, Spec};
use crate::{Aggregate, Timestamp, name};

impl Aggregate for Agent {
    const NAME: &'static str = "agent";
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, command: &Command, _now: Timestamp) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Create { name, spec } => match self.current() {
                Some(_) => Err(Refusal::Exists),
                None => self.revise(name, spec),
            },
            Command::Revise { spec } => match self.current() {
                None => Err(Refusal::NotFound),
                Some((_, current)) if *current == **spec => Ok(vec![]),
                Some(_) => self.revise(&self.name, spec),
            },
            Command::Delete => {
                self.current().ok_or(Refusal::NotFound)?;
                Ok(vec![Event::Deleted {}])
            }
        }
    }

    fn evolve(&mut self, event: &Event) {
        self.note(event);
    }
}

impl Agent {
    fn revise(&self, name: &str, spec: &Spec) -> Result<Vec<Event>, Refusal> {
        let mut faults = spec.faults();
        name::check(name, &mut faults);
        if !faults.is_empty() {
            return Err(Refusal::Invalid(faults));
        }
        let revision = self.number() + 1;
        let spec = Box::new(spec.clone());
        Ok(vec![Event::Revised { name: name.to_owned(), revision, spec }])
    }
}
