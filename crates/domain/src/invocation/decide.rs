use super::{Command, Event, Invocation, NewInvocation, Refusal};
use crate::subject::Subject;
use crate::{Aggregate, Id, Timestamp};

impl Aggregate for Invocation {
    const NAME: &'static str = "invocation";
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    /// Asking twice is fine, and so is answering twice: the first answer counts.
    fn decide(&self, command: &Command, _now: Timestamp) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Request(new) => Ok(self.ask(new)),
            Command::Complete { output, report } => self.end(|new| Event::Completed {
                output: output.clone().into(),
                report: report.clone(),
                caller: new.caller,
            }),
            Command::Fail { class, detail, report } => self.end(|new| Event::Failed {
                class: *class,
                detail: detail.clone().into(),
                report: report.clone(),
                caller: new.caller,
            }),
        }
    }

    fn evolve(&mut self, event: &Event) {
        self.note(event);
    }

    fn subject(&self) -> Option<Id<Subject>> {
        self.request.as_ref().and_then(|request| request.subject)
    }
}

impl Invocation {
    fn ask(&self, new: &NewInvocation) -> Vec<Event> {
        if self.request.is_some() {
            return vec![];
        }
        let NewInvocation { agent, revision, prompt, input, subject, caller } = new.clone();
        let input = input.into();
        vec![Event::Requested { agent, revision, prompt, input, subject, caller }]
    }

    fn end(&self, ended: impl FnOnce(&NewInvocation) -> Event) -> Result<Vec<Event>, Refusal> {
        let new = self.request.as_ref().ok_or(Refusal::NotFound)?;
        Ok(self.outcome.is_none().then(|| ended(new)).into_iter().collect())
    }
}
