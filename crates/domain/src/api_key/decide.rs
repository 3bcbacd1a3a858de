use super::{ApiKey, Command, Event, Refusal};
use crate::{Aggregate, Fault, Timestamp};

/// The longest name, in characters.
const NAME_LIMIT: usize = 100;

impl Aggregate for ApiKey {
    const NAME: &'static str = "api_key";
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, command: &Command, _now: Timestamp) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Create { .. } if self.made.is_some() => Err(Refusal::Exists),
            Command::Create { name, access, digest } => {
                check(name)?;
                let (name, access, digest) = (name.clone(), *access, digest.clone());
                Ok(vec![Event::Created { name, access, digest }])
            }
            Command::Revoke if self.made.is_none() => Err(Refusal::NotFound),
            Command::Revoke if self.revoked => Ok(vec![]),
            Command::Revoke => Ok(vec![Event::Revoked {}]),
        }
    }

    fn evolve(&mut self, event: &Event) {
        self.note(event);
    }
}

fn check(name: &str) -> Result<(), Refusal> {
    let blank = name.trim().is_empty() || name.contains(char::is_control);
    if !blank && name.chars().count() <= NAME_LIMIT {
        return Ok(());
    }
    let detail = format!("1 to {NAME_LIMIT} printable characters are wanted");
    Err(Refusal::Invalid(vec![Fault::new("/name", "malformed_name", detail)]))
}
