use super::{Command, Event, Prompt, Refusal, Version};
use crate::{Aggregate, Timestamp, jinja, name};

impl Aggregate for Prompt {
    const NAME: &'static str = "prompt";
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, command: &Command, _now: Timestamp) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Create { name, system, user, message } => match self.newest() {
                Some(_) => Err(Refusal::Exists),
                None => Self::add(name, self.drafted(system.as_ref(), user, message.as_ref())),
            },
            Command::Revise { system, user, message } => {
                let newest = self.newest().ok_or(Refusal::NotFound)?;
                let version = self.drafted(system.as_ref(), user, message.as_ref());
                if newest.system == version.system && newest.user == version.user {
                    return Ok(vec![]);
                }
                Self::add(&self.name, version)
            }
            Command::Delete => {
                self.newest().ok_or(Refusal::NotFound)?;
                Ok(vec![Event::Deleted {}])
            }
        }
    }

    fn evolve(&mut self, event: &Event) {
        self.note(event);
    }
}

impl Prompt {
    fn drafted(&self, system: Option<&String>, user: &str, message: Option<&String>) -> Version {
        Version {
            version: self.next(),
            system: system.cloned(),
            user: user.to_owned(),
            message: message.cloned(),
        }
    }

    fn add(name: &str, version: Version) -> Result<Vec<Event>, Refusal> {
        let mut faults = vec![];
        name::check(name, &mut faults);
        if let Some(system) = &version.system {
            jinja::check("/system", system, &mut faults);
        }
        jinja::check("/user", &version.user, &mut faults);
        if !faults.is_empty() {
            return Err(Refusal::Invalid(faults));
        }
        let name = name.to_owned();
        let Version { version, system, user, message } = version;
        Ok(vec![Event::VersionCommitted { name, version, system, user, message }])
    }
}
